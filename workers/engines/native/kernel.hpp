// What the Python module asks of a kernel. A kernel is compiled once for each instruction set; the module picks one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fused {

// Rows of weights, biases, activations and deltas are padded with zeros to a multiple of this many floats (64 bytes).
constexpr int kLanes = 16;

constexpr int padded(int width) { return (width + kLanes - 1) / kLanes * kLanes; }

// Images without their zero pixels: image i has columns[k], values[k] for offsets[i] <= k < offsets[i + 1].
struct Images {
  const std::uint64_t* offsets;
  const std::uint16_t* columns;
  const float* values;
  const std::uint8_t* labels;
};

// z = a W + b; W is (n_in, padded(n_out)) and b (padded(n_out),), both zero where they are padded.
struct Layer {
  float* weights;
  float* biases;
  int n_in;
  int n_out;
};

enum class Loss { kQuadratic, kCrossEntropy };

struct Network {
  const Layer* layers;
  int count;
  Loss loss;
  bool mean_outputs;
};

struct Evaluation {
  std::int64_t correct;
  double cost;  // summed over the images
};

struct Kernel {
  const char* name;
  // Floats of scratch memory, 64-byte aligned, that the two functions below need for batches of this size.
  std::size_t (*scratch)(const Network&, int batch_size);
  // One step for each batch_size numbers of `order`. Returns cost_sum plus the cost of each batch before its update.
  double (*train)(const Network&, const Images&, const std::int64_t* order, std::int64_t steps, int batch_size,
                  float learning_rate, double cost_sum, float* scratch);
  // Images first <= i < last; needs scratch for batches of kEvaluated.
  Evaluation (*evaluate)(const Network&, const Images&, std::int64_t first, std::int64_t last, float* scratch);
};

constexpr int kEvaluated = 16;

}  // namespace fused
