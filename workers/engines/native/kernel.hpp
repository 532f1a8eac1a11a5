// What the Python module asks of a kernel. A kernel is compiled once for each instruction set; the module picks one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fused {

// Rows of weights, biases, activations and deltas are padded with zeros to a multiple of this many floats (64 bytes).
constexpr int kLanes = 16;

constexpr int padded(int width) { return (width + kLanes - 1) / kLanes * kLanes; }

// Images of bytes without their zero pixels. An image's ink is a record: where it lies (count numbers of 16 bits), then
// how dark it is (count bytes, 1 ... 255). Each half of an image is filled up with bytes 0 to a multiple of kTogether,
// which lie at the pixel behind the last.
struct Images {
  const std::uint32_t* offsets;  // of records, in units of kTogether; one more than there are images
  const std::uint8_t* records;   // with kReadBeyond bytes behind the last
  const std::uint16_t* halves;   // how much of an image's ink lies in its upper half
  const std::uint8_t* labels;
  int pixels;                    // of an image
  int most;                      // ink of one image
};

constexpr int kTogether = 4;
constexpr int kInkBytes = 3;
constexpr int kReadBeyond = 64;
// Where ink lies is kept as pixel number times this, from where the address of a row of weights is one addition away.
constexpr int kPixelScale = 8;

enum class Loss { kQuadratic, kCrossEntropy };

// z = a W + b for each of `layers` layers; sizes are those of the inputs and of each layer's outputs.
struct Network {
  const int* sizes;
  int layers;
  Loss loss;
  bool mean_outputs;
};

// One layer as its owner keeps it: W (n_in, n_out), row by row, and b (n_out,).
struct Plain {
  float* weights;
  float* biases;
};

struct Evaluation {
  std::int64_t correct;
  double cost;  // summed over the images
};

struct Kernel {
  const char* name;
  // Floats that hold a network's parameters as the kernel wants them. All memory given to it is aligned to 64 bytes.
  std::size_t (*parameters)(const Network&);
  void (*load)(const Network&, const Plain* layers, float* parameters);
  void (*save)(const Network&, const float* parameters, const Plain* layers);
  // Floats of scratch memory that the two functions below need for batches of this size.
  std::size_t (*scratch)(const Network&, const Images&, int batch_size);
  // One step for each batch_size numbers of `order`; `costs` are those of each batch before its update.
  void (*train)(const Network&, float* parameters, const Images&, const std::int64_t* order, std::int64_t steps,
                int batch_size, float learning_rate, double* costs, float* scratch);
  // Images first <= i < last, and the logits of each, row by row; needs scratch for batches of kEvaluated.
  Evaluation (*evaluate)(const Network&, float* parameters, const Images&, std::int64_t first, std::int64_t last,
                         float* logits, float* scratch);
  // The first layer alone, for images first <= i < last: their z (n_out,), row by row; and the gradient of W by what a
  // sample's δ (n_out,) is, summed over them, (n_in, n_out). Both need scratch for first_layer_scratch.
  std::size_t (*first_layer_scratch)(const Network&, const Images&);
  void (*first_layer)(const Network&, float* parameters, const Images&, std::int64_t first, std::int64_t last, float* z,
                      float* scratch);
  void (*first_gradient)(const Network&, const Images&, std::int64_t first, std::int64_t last, const float* deltas,
                         float* gradient, float* scratch);
};

constexpr int kEvaluated = 32;

// The most terms that are added up one by one; a longer sum is a sum of such sums, so that its error stays small.
constexpr int kSummed = 512;

}  // namespace fused
