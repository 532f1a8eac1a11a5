// The first layer: it reads and updates only the rows of its weights that an image's ink touches.
//
// W lies in memory in panels of a few columns, and a whole batch passes through a part of a panel before the next part is
// looked at: what the batch touches of it stays in the first-level cache.
#pragma once

#include "blocks.hpp"

namespace fused::FUSED_ISA {
namespace {

// Blocks in a row of a panel; the last panel may be narrower. A panel of two is passed through half by half.
constexpr int kPanel = FUSED_BYTES >= 64 ? 2 : 1;
// Partial sums, so that one addition need not wait for the one before.
constexpr int kSums = FUSED_BYTES >= 32 ? 4 : 2;
static_assert(kTogether % kSums == 0);

// Bytes stand for 0 ... 1, as pixels / 255 do: the division is done once for each sum.
constexpr float kUnit = 1.0f / 255;

struct Ink {
  const std::uint16_t* columns;
  const float* values;  // 0 ... 255
  int count;
};

// One image: its ink from the top and from its lower half on.
struct Sample {
  Ink whole;
  int upper;

  // The ink in part `number` of `parts`, which are 1 or 2.
  Ink part(int number, int parts) const {
    if (parts == 1) return whole;
    if (number == 0) return {whole.columns, whole.values, upper};
    return {whole.columns + upper, whole.values + upper, whole.count - upper};
  }
};

// A batch, ready to be passed through the panels.
struct Batch {
  Sample* samples;
  float* values;
};

// Floats of memory for the values of one image: they are written in pieces of this size.
constexpr int kPiece = 64;
inline std::size_t value_room(const Images& images) {
  return (static_cast<std::size_t>(images.most) + kPiece - 1) / kPiece * kPiece;
}

inline void widen(const std::uint8_t* __restrict bytes, float* __restrict values, int count) {
  static_assert(kPiece <= kReadBeyond);
  for (int k = 0; k < count; k += kPiece)
    for (int i = 0; i < kPiece; ++i) values[k + i] = static_cast<float>(static_cast<int>(bytes[k + i]));
}

inline const std::uint8_t* record_of(const Images& images, std::int64_t image) {
  return images.records + static_cast<std::size_t>(images.offsets[image]) * (kTogether * kInkBytes);
}

inline Sample unpacked(const Images& images, std::int64_t image, float* values) {
  const int count = static_cast<int>(images.offsets[image + 1] - images.offsets[image]) * kTogether;
  const std::uint8_t* record = record_of(images, image);
  widen(record + sizeof(std::uint16_t) * count, values, count);
  return {{reinterpret_cast<const std::uint16_t*>(record), values, count}, images.halves[image]};
}

// All images together are larger than the caches, and a batch is anywhere in them.
inline void prefetch(const Images& images, std::int64_t image) {
  const std::uint8_t* end = record_of(images, image + 1);
  for (const std::uint8_t* at = record_of(images, image); at < end; at += 64) __builtin_prefetch(at, 0, 2);
}

template <int V>
inline float* row_at(float* panel, std::uint16_t column) {
  static_assert(kLanes % kPixelScale == 0);
  return panel + static_cast<std::size_t>(column) * (V * kLanes / kPixelScale);
}

// z += x W / 255, for the V blocks of a panel.
template <int V>
inline void touch_forward(float* panel, const Ink& ink, const float* start, float* z) {
  Block sum[kSums][V];
  for (int p = 0; p < kSums; ++p)
    for (int v = 0; v < V; ++v) sum[p][v] = all(0.0f);
  for (int k = 0; k < ink.count; k += kTogether) {
    _Pragma("GCC unroll 4") for (int p = 0; p < kTogether; ++p) {
      const float* row = row_at<V>(panel, ink.columns[k + p]);
      _Pragma("GCC unroll 2") for (int v = 0; v < V; ++v)
          fma_into(sum[p % kSums][v], ink.values[k + p], load(row + v * kLanes));
    }
  }
  for (int v = 0; v < V; ++v) {
    Block total = sum[0][v];
    for (int p = 1; p < kSums; ++p) total = total + sum[p][v];
    store(z + v * kLanes, fma(total, all(kUnit), load(start + v * kLanes)));
  }
}

// W[p] += x_p move / 255 for each pixel p with ink, for the V blocks of a panel.
template <int V>
__attribute__((always_inline)) inline void touch_update(float* panel, const Ink& ink, const float* move) {
  Block by[V];
  for (int v = 0; v < V; ++v) by[v] = load(move + v * kLanes) * all(kUnit);
  for (int k = 0; k < ink.count; k += kTogether) {
    // Different pixels, different rows: all can be read before any is written. (The filling's row stays as it is.)
    Block rows[kTogether][V];
    _Pragma("GCC unroll 4") for (int p = 0; p < kTogether; ++p) {
      const float* row = row_at<V>(panel, ink.columns[k + p]);
      _Pragma("GCC unroll 2") for (int v = 0; v < V; ++v) {
        rows[p][v] = load(row + v * kLanes);
        fma_into(rows[p][v], ink.values[k + p], by[v]);
      }
    }
    _Pragma("GCC unroll 4") for (int p = 0; p < kTogether; ++p) {
      float* row = row_at<V>(panel, ink.columns[k + p]);
      _Pragma("GCC unroll 2") for (int v = 0; v < V; ++v) store(row + v * kLanes, rows[p][v]);
    }
  }
}

// The first layer's parameters: (panels, n_in + 1, panel) and (padded(n_out),). The row behind the last is the filling's.
struct FirstLayer {
  float* panels;
  float* biases;
  int n_in;
  int n_out;

  float* panel(int block) const { return panels + static_cast<std::size_t>(n_in + 1) * block * kLanes; }
};

// Batches up to this size are added to the weights one sample after the other: so small a step is rounded little more
// often than the reference's, and the sums below would take time.
constexpr int kOneByOne = 128;

// What a panel is moved by: the sum of some samples, and of all before them. Each has room for one panel; `part` is zero
// whenever it is not in use.
struct PanelSums {
  float* part;
  float* whole;
};

inline std::size_t sums_room(const FirstLayer& layer, int batch_size) {
  return batch_size > kOneByOne ? static_cast<std::size_t>(layer.n_in + 1) * (kPanel * kLanes) : 0;
}

// The update of one batch, and the forward pass of another that comes after it.
struct Passage {
  const Batch* updated;    // or null
  const float* moves;      // (batch_size, padded(n_out))
  const Batch* forwarded;  // or null
  float* z;                // (batch_size, padded(n_out))
  int batch_size;
  PanelSums sums;          // needed if a batch is updated that is larger than kOneByOne
};

template <int V>
__attribute__((always_inline)) inline void touch_sample(const Passage& passage, float* panel, int s, int stride, int at, int part) {
  touch_update<V>(panel, passage.updated->samples[s].part(part, V),
                  passage.moves + static_cast<std::size_t>(s) * stride + at);
}

// The update of one part of a panel, whose columns begin at `at`, by a batch of more than kOneByOne. A weight is large
// compared with what one sample moves it by: if they were added to it one by one, most of each would be lost.
template <int V>
__attribute__((noinline)) void update_in_parts(const FirstLayer& layer, const Passage& passage, float* panel, int at,
                                               int part) {
  const int stride = padded(layer.n_out), size = passage.batch_size, half = layer.n_in / 2;
  const std::ptrdiff_t begin = part == 0 ? 0 : half * V * kLanes;
  const std::ptrdiff_t end = (part == 0 && V == 2 ? half : layer.n_in) * V * kLanes;
  const PanelSums sums = passage.sums;
  for (int first = 0; first < size; first += kSummed) {
    const int last = size - first < kSummed ? size : first + kSummed;
    for (int s = first; s < last; ++s) touch_sample<V>(passage, sums.part, s, stride, at, part);
    float* target = last == size ? panel : sums.whole;
    for (std::ptrdiff_t i = begin; i < end; i += kLanes) {
      Block sum = load(sums.part + i);
      if (first > 0) sum = sum + load(sums.whole + i);
      store(target + i, last == size ? load(panel + i) + sum : sum);
      store(sums.part + i, all(0.0f));
    }
  }
}

template <int V>
inline void pass_panel(const FirstLayer& layer, const Passage& passage, int block) {
  float* panel = layer.panel(block);
  const int stride = padded(layer.n_out), at = block * kLanes;
  for (int part = 0; part < V; ++part) {
    if (passage.updated != nullptr && passage.batch_size > kOneByOne)
      update_in_parts<V>(layer, passage, panel, at, part);
    else if (passage.updated != nullptr)
      for (int s = 0; s < passage.batch_size; ++s) touch_sample<V>(passage, panel, s, stride, at, part);
    if (passage.forwarded != nullptr)
      for (int s = 0; s < passage.batch_size; ++s) {
        float* z = passage.z + static_cast<std::size_t>(s) * stride + at;
        touch_forward<V>(panel, passage.forwarded->samples[s].part(part, V), part == 0 ? layer.biases + at : z, z);
      }
  }
}

void pass(const FirstLayer& layer, const Passage& passage) {
  const int blocks = padded(layer.n_out) / kLanes;
  int block = 0;
  for (; block + kPanel <= blocks; block += kPanel) pass_panel<kPanel>(layer, passage, block);
  if (block < blocks) pass_panel<1>(layer, passage, block);
}

// From rows of n_out floats into panels, and back. `Copy` is called with a panel's row, a plain row, and how much of it.
template <typename Copy>
inline void each_row(const FirstLayer& layer, float* plain, const Copy& copy) {
  const int blocks = padded(layer.n_out) / kLanes;
  for (int block = 0; block < blocks; block += kPanel) {
    const int at = block * kLanes, width = (blocks - block < kPanel ? blocks - block : kPanel) * kLanes;
    const int valid = layer.n_out - at < width ? layer.n_out - at : width;
    float* row = layer.panel(block);
    for (int p = 0; p < layer.n_in; ++p, row += width)
      copy(row, plain + static_cast<std::size_t>(p) * layer.n_out + at, valid);
  }
}

}  // namespace
}  // namespace fused::FUSED_ISA
