// 16 floats at a time, for any size of the registers of an instruction set, and the functions of a sigmoid network on them.
//
// FUSED_ISA names the namespace, FUSED_BYTES is the width of a vector register. No inline function of the standard library
// may be used here: the linker would keep one copy of it for all instruction sets.
#pragma once

#include "kernel.hpp"

namespace fused::FUSED_ISA {
namespace {

typedef float Native __attribute__((vector_size(FUSED_BYTES)));
typedef std::uint32_t NativeBits __attribute__((vector_size(FUSED_BYTES)));

constexpr int kNatives = kLanes * static_cast<int>(sizeof(float)) / FUSED_BYTES;
#define FUSED_EACH _Pragma("GCC unroll 16") for (int i = 0; i < kNatives; ++i)

// 16 floats, for any size of the registers.
struct Block {
  Native part[kNatives];
};

inline Block all(float x) {
  Block r;
  FUSED_EACH r.part[i] = Native{} + x;
  return r;
}

inline Block load(const float* p) {
  Block r;
  FUSED_EACH r.part[i] = reinterpret_cast<const Native*>(p)[i];
  return r;
}

inline void store(float* p, const Block& x) {
  FUSED_EACH reinterpret_cast<Native*>(p)[i] = x.part[i];
}

inline Block operator+(const Block& x, const Block& y) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] + y.part[i];
  return r;
}

inline Block operator-(const Block& x, const Block& y) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] - y.part[i];
  return r;
}

inline Block operator*(const Block& x, const Block& y) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] * y.part[i];
  return r;
}

inline Block operator/(const Block& x, const Block& y) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] / y.part[i];
  return r;
}

// x y + z: one rounding where there is such an instruction (-ffp-contract=fast), otherwise two.
inline Block fma(const Block& x, const Block& y, const Block& z) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] * y.part[i] + z.part[i];
  return r;
}

inline void fma_into(Block& sum, float x, const Block& y) {
  FUSED_EACH sum.part[i] += x * y.part[i];
}

// NaN stays NaN.
inline Block at_most(const Block& x, float limit) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] > limit ? Native{} + limit : x.part[i];
  return r;
}

inline Block at_least(const Block& x, float limit) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] < limit ? Native{} + limit : x.part[i];
  return r;
}

inline Block negative_abs(const Block& x) {
  Block r;
  FUSED_EACH r.part[i] = x.part[i] > 0 ? -x.part[i] : x.part[i];
  return r;
}

// e^x for x <= 0, relative error about 1e-7; below -87 as at -87, which no sum here can tell from 0.
inline Block exp_of_negative(const Block& given) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const Block x = at_least(given, -87.0f);
  Block r;
  FUSED_EACH {
    const Native shifted = x.part[i] * kLog2E + kRound;
    const Native n = shifted - kRound;
    const Native f = (x.part[i] - n * kLn2High) - n * kLn2Low;  // |f| <= ln 2 / 2
    // The Taylor series to the seventh power.
    Native p = f * (1.0f / 5040) + 1.0f / 720;
    p = p * f + 1.0f / 120;
    p = p * f + 1.0f / 24;
    p = p * f + 1.0f / 6;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    r.part[i] = (Native)((NativeBits)p + ((NativeBits)shifted << 23));
  }
  return r;
}

// ln(1 + u) for 0 <= u <= 1, relative error about 1e-7: 2 artanh(u / (2 + u)) as a series.
inline Block log_of_one_plus(const Block& u) {
  const Block s = u / (u + all(2.0f));
  const Block q = s * s;
  Block p = all(1.0f / 15);
  p = fma(p, q, all(1.0f / 13));
  p = fma(p, q, all(1.0f / 11));
  p = fma(p, q, all(1.0f / 9));
  p = fma(p, q, all(1.0f / 7));
  p = fma(p, q, all(1.0f / 5));
  p = fma(p, q, all(1.0f / 3));
  p = fma(p, q, all(1.0f));
  return all(2.0f) * s * p;
}

struct Sigmoid {
  Block a;      // 1 / (1 + e^-z)
  Block slope;  // a (1 - a), with all its digits also where a rounds to 1
  Block small;  // e^-|z|
};

inline Sigmoid sigmoid(const Block& z) {
  Sigmoid r;
  r.small = exp_of_negative(negative_abs(z));
  const Block large = all(1.0f) / (r.small + all(1.0f));
  const Block little = r.small * large;
  r.slope = little * large;
  FUSED_EACH r.a.part[i] = z.part[i] < 0 ? little.part[i] : large.part[i];
  return r;
}

// 1 in the first `width` lanes, 0 in the others.
inline Block mask(int width) {
  alignas(64) float lanes[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lane < width ? 1.0f : 0.0f;
  return load(lanes);
}

}  // namespace
}  // namespace fused::FUSED_ISA
