// The other layers: C (rows, blocks) from A (rows, depth) and B (depth, blocks), for any order of A in memory.
#pragma once

#include "blocks.hpp"

namespace fused::FUSED_ISA {
namespace {

// Blocks of 16 floats that one pass keeps in registers, next to a row and a factor.
constexpr int kWide = FUSED_BYTES >= 64 ? 4 : 2;
// Rows of a product that share the loads of a column block.
constexpr int kRows = FUSED_BYTES >= 64 ? 5 : 2;

enum class Into { kBiases, kZero, kItself };

struct Product {
  const float* a;
  std::ptrdiff_t a_row, a_depth;
  const float* b;
  std::ptrdiff_t b_depth;
  float* c;
  std::ptrdiff_t c_row;
  int rows, depth, blocks;
  const float* biases;
};

// sum += A B, for `depth` columns of A and rows of B.
template <int R, int V>
inline void product_sum(const Product& p, const float* a, const float* b, int depth, Block (&sum)[R][V]) {
  for (int k = 0; k < depth; ++k, a += p.a_depth, b += p.b_depth) {
    Block columns[V];
    _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) columns[v] = load(b + v * kLanes);
    _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {
      const float x = a[r * p.a_row];
      _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) fma_into(sum[r][v], x, columns[v]);
    }
  }
}

// kParted: the sums are made in parts of kSummed terms.
template <Into kInto, bool kParted, int R, int V>
inline void product_tile(const Product& p, int row, int block) {
  Block sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v)
      sum[r][v] = kInto == Into::kBiases ? load(p.biases + (block + v) * kLanes) : all(0.0f);
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + block * kLanes;
  if (!kParted) {
    product_sum<R, V>(p, a, b, p.depth, sum);
  } else {
    for (int first = 0; first < p.depth; first += kSummed) {
      Block part[R][V];
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) part[r][v] = all(0.0f);
      const int depth = p.depth - first < kSummed ? p.depth - first : kSummed;
      product_sum<R, V>(p, a + first * p.a_depth, b + first * p.b_depth, depth, part);
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) sum[r][v] = sum[r][v] + part[r][v];
    }
  }
  float* c = p.c + row * p.c_row + block * kLanes;
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      float* at = c + r * p.c_row + v * kLanes;
      store(at, kInto == Into::kItself ? load(at) + sum[r][v] : sum[r][v]);
    }
}

template <Into kInto, bool kParted, int V>
inline void product_columns(const Product& p, int block) {
  int row = 0;
  for (; row + kRows <= p.rows; row += kRows) product_tile<kInto, kParted, kRows, V>(p, row, block);
  switch (p.rows - row) {
    case 1: product_tile<kInto, kParted, 1, V>(p, row, block); break;
    case 2: product_tile<kInto, kParted, 2, V>(p, row, block); break;
    case 3: product_tile<kInto, kParted, 3, V>(p, row, block); break;
    case 4: product_tile<kInto, kParted, 4, V>(p, row, block); break;
  }
}

template <Into kInto, bool kParted>
void product_parted(const Product& p) {
  int block = 0;
  for (; block + kWide <= p.blocks; block += kWide) product_columns<kInto, kParted, kWide>(p, block);
  switch (p.blocks - block) {
    case 1: product_columns<kInto, kParted, 1>(p, block); break;
    case 2: product_columns<kInto, kParted, 2>(p, block); break;
    case 3: product_columns<kInto, kParted, 3>(p, block); break;
  }
}

template <Into kInto>
void product(const Product& p) {
  p.depth <= kSummed ? product_parted<kInto, false>(p) : product_parted<kInto, true>(p);
}

// The parameters of a layer: W (n_in, padded(n_out)), W^T (n_out, padded(n_in)), always equal, and b (padded(n_out),).
struct DenseLayer {
  float* weights;
  float* transposed;
  float* biases;
  int n_in;
  int n_out;
};

// z = a W + b, for `rows` samples.
void dense_forward(const DenseLayer& layer, const float* a, float* z, int rows) {
  const int stride = padded(layer.n_out);
  product<Into::kBiases>({a, padded(layer.n_in), 1, layer.weights, stride, z, stride, rows, layer.n_in, stride / kLanes,
                          layer.biases});
}

// What W^T makes of a layer's deltas.
void dense_backward(const DenseLayer& layer, const float* delta, float* before, int rows) {
  const int height = padded(layer.n_in);
  product<Into::kZero>({delta, padded(layer.n_out), 1, layer.transposed, height, before, height, rows, layer.n_out,
                        height / kLanes, nullptr});
}

// W += a^T moves. W and its transpose by the same products in the same order, so that they stay equal to the last bit.
void dense_update(const DenseLayer& layer, const float* a, const float* moves, int rows) {
  const int stride = padded(layer.n_out), height = padded(layer.n_in);
  product<Into::kItself>({a, 1, height, moves, stride, layer.weights, stride, layer.n_in, rows, stride / kLanes, nullptr});
  product<Into::kItself>({moves, 1, stride, a, height, layer.transposed, height, layer.n_out, rows, height / kLanes,
                          nullptr});
}

}  // namespace
}  // namespace fused::FUSED_ISA
