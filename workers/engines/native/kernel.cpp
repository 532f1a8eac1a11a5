// SGD on a fully connected sigmoid network, written once and compiled for each instruction set.
//
// Two facts make it fast. Four of five pixels of MNIST are zero, so the first layer reads and updates only the rows of W
// that an image touches. And all weights fit into a core's second-level cache, which lets many steps run in one call, with
// nothing between them.
//
// What blocks.hpp says of the standard library holds here as well.

#include "blocks.hpp"
#include "dense.hpp"
#include "kernel.hpp"
#include "sparse.hpp"

namespace fused::FUSED_ISA {
namespace {

constexpr int kMaxLayers = 16;

// Memory, handed out from the front in multiples of 64 bytes.
struct Memory {
  float* next;
  std::size_t taken = 0;

  float* floats(std::size_t count) {
    const std::size_t room = (count + kLanes - 1) / kLanes * kLanes;
    float* found = next == nullptr ? nullptr : next + taken;  // without memory it only counts
    taken += room;
    return found;
  }
};

struct Parameters {
  FirstLayer first;
  DenseLayer dense[kMaxLayers];  // from number 1 on
};

Parameters parted(const Network& network, Memory& memory) {
  Parameters found;
  const int* sizes = network.sizes;
  const std::size_t width = padded(sizes[1]);
  found.first = {memory.floats((sizes[0] + 1) * width), memory.floats(width), sizes[0], sizes[1]};
  for (int l = 1; l < network.layers; ++l) {
    const int n_in = sizes[l], n_out = sizes[l + 1];
    found.dense[l] = {memory.floats(static_cast<std::size_t>(n_in) * padded(n_out)),
                      memory.floats(static_cast<std::size_t>(n_out) * padded(n_in)), memory.floats(padded(n_out)), n_in,
                      n_out};
  }
  return found;
}

std::size_t parameters(const Network& network) {
  Memory memory{nullptr};
  parted(network, memory);
  return memory.taken;
}

Parameters parted(const Network& network, float* parameters) {
  Memory memory{parameters};
  return parted(network, memory);
}

inline void copy(float* to, const float* from, int count) { __builtin_memcpy(to, from, sizeof(float) * count); }

void load(const Network& network, const Plain* layers, float* memory) {
  __builtin_memset(memory, 0, sizeof(float) * parameters(network));  // the padding
  const Parameters found = parted(network, memory);
  each_row(found.first, layers[0].weights, [](float* row, const float* plain, int n) { copy(row, plain, n); });
  copy(found.first.biases, layers[0].biases, found.first.n_out);
  for (int l = 1; l < network.layers; ++l) {
    const DenseLayer& layer = found.dense[l];
    const int stride = padded(layer.n_out), height = padded(layer.n_in);
    for (int i = 0; i < layer.n_in; ++i) {
      const float* plain = layers[l].weights + static_cast<std::size_t>(i) * layer.n_out;
      copy(layer.weights + static_cast<std::size_t>(i) * stride, plain, layer.n_out);
      for (int j = 0; j < layer.n_out; ++j) layer.transposed[static_cast<std::size_t>(j) * height + i] = plain[j];
    }
    copy(layer.biases, layers[l].biases, layer.n_out);
  }
}

void save(const Network& network, const float* memory, const Plain* layers) {
  const Parameters found = parted(network, const_cast<float*>(memory));
  each_row(found.first, layers[0].weights, [](const float* row, float* plain, int n) { copy(plain, row, n); });
  copy(layers[0].biases, found.first.biases, found.first.n_out);
  for (int l = 1; l < network.layers; ++l) {
    const DenseLayer& layer = found.dense[l];
    for (int i = 0; i < layer.n_in; ++i)
      copy(layers[l].weights + static_cast<std::size_t>(i) * layer.n_out,
           layer.weights + static_cast<std::size_t>(i) * padded(layer.n_out), layer.n_out);
    copy(layers[l].biases, layer.biases, layer.n_out);
  }
}

// What a step works with.
struct Rooms {
  Batch batches[2];               // this step's, and the one before
  float* activation[kMaxLayers];  // (batch_size, padded(n_out)): z, then a
  float* delta[kMaxLayers];       // (batch_size, padded(n_out)): by z, then times -learning_rate
  PanelSums sums;
};

Rooms parted(const Network& network, const Images& images, int batch_size, Memory& memory) {
  static_assert(sizeof(Sample) % sizeof(float) == 0);
  Rooms rooms;
  for (Batch& batch : rooms.batches)
    batch = {reinterpret_cast<Sample*>(memory.floats(batch_size * sizeof(Sample) / sizeof(float))),
             memory.floats(batch_size * value_room(images))};
  for (int l = 0; l < network.layers; ++l) {
    const std::size_t size = static_cast<std::size_t>(batch_size) * padded(network.sizes[l + 1]);
    rooms.activation[l] = memory.floats(size);
    rooms.delta[l] = memory.floats(size);
  }
  const std::size_t sums = sums_room({nullptr, nullptr, network.sizes[0], network.sizes[1]}, batch_size);
  rooms.sums = {memory.floats(sums), memory.floats(sums)};
  return rooms;
}

std::size_t scratch(const Network& network, const Images& images, int batch_size) {
  Memory memory{nullptr};
  parted(network, images, batch_size, memory);
  return memory.taken;
}

template <typename Name>
inline void unpack(const Images& images, int rows, Batch& batch, const Name& image) {
  float* values = batch.values;
  for (int s = 0; s < rows; ++s) {
    batch.samples[s] = unpacked(images, image(s), values);
    values += (batch.samples[s].whole.count + kPiece - 1) / kPiece * kPiece;
  }
}

// z -> a in place; zero in the padding, so that nothing there ever learns.
void activate(float* z, int rows, int width) {
  const int stride = padded(width);
  const Block last = mask(width - (stride - kLanes));
  for (int r = 0; r < rows; ++r, z += stride) {
    for (int i = 0; i < stride - kLanes; i += kLanes) store(z + i, sigmoid(load(z + i)).a);
    store(z + stride - kLanes, sigmoid(load(z + stride - kLanes)).a * last);
  }
}

// From the first layer's z to the logits of the last.
void forward(const Network& network, const Parameters& parameters, int rows, const Rooms& rooms) {
  for (int l = 1; l < network.layers; ++l) {
    activate(rooms.activation[l - 1], rows, network.sizes[l]);
    dense_forward(parameters.dense[l], rooms.activation[l - 1], rooms.activation[l], rows);
  }
}

inline float total(const Block& x, int width) {
  alignas(64) float lanes[kLanes];
  store(lanes, x);
  float sum = 0.0f;
  for (int lane = 0; lane < width; ++lane) sum += lanes[lane];
  return sum;
}

// The cost of the outputs' block z, lane by lane; and, if it is wanted, its derivative by z. `sign` is -1 where the target
// is 1, and 1 where it is 0: by it z becomes the logit of the answer that is not the target, whose output is how far off
// the network is, with all its digits also where it is right. No two numbers that are nearly equal are subtracted.
template <bool kWithDelta>
inline Block cost_of(Loss loss, const Block& z, const Block& sign, Block& delta) {
  const Block wrong = z * sign;
  const Sigmoid s = sigmoid(wrong);
  if (loss == Loss::kQuadratic) {
    if (kWithDelta) delta = sign * s.a * s.slope;
    return all(0.5f) * s.a * s.a;
  }
  if (kWithDelta) delta = sign * s.a;
  // ln(1 + e^wrong)
  return at_least(wrong, 0.0f) + log_of_one_plus(s.small);
}

struct alignas(64) Signs {
  float rows[kLanes][kLanes];
  constexpr Signs() : rows() {
    for (int digit = 0; digit < kLanes; ++digit)
      for (int output = 0; output < kLanes; ++output) rows[digit][output] = output == digit ? -1.0f : 1.0f;
  }
};
constexpr Signs kSigns;

void train(const Network& network, float* memory, const Images& images, const std::int64_t* order, std::int64_t steps,
           int batch_size, float learning_rate, double* costs, float* scratch) {
  const Parameters parameters = parted(network, memory);
  Memory free{scratch};
  Rooms rooms = parted(network, images, batch_size, free);
  const int last = network.layers - 1, outputs = network.sizes[network.layers];
  const float scale = 1.0f / (static_cast<float>(batch_size) * (network.mean_outputs ? outputs : 1));
  const Block valid_scale = mask(outputs) * all(scale);
  Passage passage{nullptr, rooms.delta[0], nullptr, rooms.activation[0], batch_size, rooms.sums};
  __builtin_memset(rooms.sums.part, 0, sizeof(float) * sums_room(parameters.first, batch_size));
  for (std::int64_t step = 0; step < steps; ++step, order += batch_size) {
    Batch& batch = rooms.batches[step % 2];
    unpack(images, batch_size, batch, [order](int s) { return order[s]; });
    if (step + 1 < steps)
      for (int s = 0; s < batch_size; ++s) prefetch(images, order[batch_size + s]);
    // The first layer is updated for the step before only now, so that both passages meet the same lines of the cache.
    passage.forwarded = &batch;
    pass(parameters.first, passage);
    passage.updated = &batch;
    forward(network, parameters, batch_size, rooms);

    double batch_cost = 0.0;
    for (int first = 0; first < batch_size; first += kSummed) {
      const int behind = batch_size - first < kSummed ? batch_size : first + kSummed;
      Block cost = all(0.0f);
      for (int s = first; s < behind; ++s) {
        const std::size_t at = static_cast<std::size_t>(s) * kLanes;
        Block delta;
        cost = cost + cost_of<true>(network.loss, load(rooms.activation[last] + at),
                                    load(kSigns.rows[images.labels[order[s]]]), delta);
        store(rooms.delta[last] + at, delta * valid_scale);
      }
      batch_cost += total(cost, outputs);
    }
    costs[step] = batch_cost * scale;

    // All deltas first: they go by the weights before the update.
    for (int l = last; l > 0; --l) {
      dense_backward(parameters.dense[l], rooms.delta[l], rooms.delta[l - 1], batch_size);
      const std::size_t size = static_cast<std::size_t>(batch_size) * padded(network.sizes[l]);
      for (std::size_t i = 0; i < size; i += kLanes) {
        const Block a = load(rooms.activation[l - 1] + i);
        store(rooms.delta[l - 1] + i, load(rooms.delta[l - 1] + i) * (a * (all(1.0f) - a)));
      }
    }
    for (int l = 0; l <= last; ++l) {
      const int stride = padded(network.sizes[l + 1]);
      float* biases = l == 0 ? parameters.first.biases : parameters.dense[l].biases;
      for (int i = 0; i < stride; i += kLanes) {
        Block whole = all(0.0f);
        for (int first = 0; first < batch_size; first += kSummed) {
          const int behind = batch_size - first < kSummed ? batch_size : first + kSummed;
          Block sum = all(0.0f);
          for (int s = first; s < behind; ++s) {
            float* at = rooms.delta[l] + static_cast<std::size_t>(s) * stride + i;
            const Block move = load(at) * all(-learning_rate);
            store(at, move);
            sum = sum + move;
          }
          whole = whole + sum;
        }
        store(biases + i, load(biases + i) + whole);
      }
      if (l > 0) dense_update(parameters.dense[l], rooms.activation[l - 1], rooms.delta[l], batch_size);
    }
  }
  passage.forwarded = nullptr;
  pass(parameters.first, passage);
}

Evaluation evaluate(const Network& network, float* memory, const Images& images, std::int64_t first, std::int64_t last,
                    float* found_logits, float* scratch) {
  const Parameters parameters = parted(network, memory);
  Memory free{scratch};
  Rooms rooms = parted(network, images, kEvaluated, free);
  Batch& batch = rooms.batches[0];
  const float* logits = rooms.activation[network.layers - 1];
  const int outputs = network.sizes[network.layers];
  Evaluation found{0, 0.0};
  for (std::int64_t start = first; start < last; start += kEvaluated) {
    const int rows = static_cast<int>(last - start < kEvaluated ? last - start : kEvaluated);
    unpack(images, rows, batch, [start](int s) { return start + s; });
    for (std::int64_t next = start + rows; next < last && next < start + 2 * kEvaluated; ++next) prefetch(images, next);
    pass(parameters.first, {nullptr, nullptr, &batch, rooms.activation[0], rows, {}});
    forward(network, parameters, rows, rooms);
    Block cost = all(0.0f);
    for (int s = 0; s < rows; ++s) {
      const float* z = logits + s * kLanes;
      const int label = images.labels[start + s];
      Block unused;
      cost = cost + cost_of<false>(network.loss, load(z), load(kSigns.rows[label]), unused);
      int best = 0;
      for (int j = 1; j < outputs; ++j)
        if (z[j] > z[best]) best = j;
      found.correct += best == label;
      float* row = found_logits + (start - first + s) * outputs;
      for (int j = 0; j < outputs; ++j) row[j] = z[j];
    }
    found.cost += total(cost, outputs);
  }
  if (network.mean_outputs) found.cost /= outputs;
  return found;
}

// The first layer by itself: a batch of images, a row of its outputs' width for each, and room for weights.
struct Alone {
  Batch batch;
  float* rows;  // (kEvaluated, padded(n_out))
  FirstLayer layer;
};

Alone alone(const Network& network, const Images& images, float* scratch, std::size_t* taken = nullptr) {
  Memory memory{scratch};
  const std::size_t width = padded(network.sizes[1]);
  Alone found;
  found.batch = {reinterpret_cast<Sample*>(memory.floats(kEvaluated * sizeof(Sample) / sizeof(float))),
                 memory.floats(kEvaluated * value_room(images))};
  found.rows = memory.floats(kEvaluated * width);
  found.layer = {memory.floats((network.sizes[0] + 1) * width), nullptr, network.sizes[0], network.sizes[1]};
  if (taken != nullptr) *taken = memory.taken;
  return found;
}

std::size_t first_layer_scratch(const Network& network, const Images& images) {
  std::size_t taken;
  alone(network, images, nullptr, &taken);
  return taken;
}

void first_layer(const Network& network, float* memory, const Images& images, std::int64_t first, std::int64_t last,
                 float* z, float* scratch) {
  const FirstLayer layer = parted(network, memory).first;
  Alone room = alone(network, images, scratch);
  const int stride = padded(layer.n_out);
  for (std::int64_t start = first; start < last; start += kEvaluated) {
    const int rows = static_cast<int>(last - start < kEvaluated ? last - start : kEvaluated);
    unpack(images, rows, room.batch, [start](int s) { return start + s; });
    pass(layer, {nullptr, nullptr, &room.batch, room.rows, rows, {}});
    for (int s = 0; s < rows; ++s, z += layer.n_out) copy(z, room.rows + s * stride, layer.n_out);
  }
}

void first_gradient(const Network& network, const Images& images, std::int64_t first, std::int64_t last,
                    const float* deltas, float* gradient, float* scratch) {
  Alone room = alone(network, images, scratch);
  const int n_out = room.layer.n_out, stride = padded(n_out);
  __builtin_memset(room.layer.panels, 0, sizeof(float) * (room.layer.n_in + 1) * stride);
  __builtin_memset(room.rows, 0, sizeof(float) * kEvaluated * stride);  // the padding
  for (std::int64_t start = first; start < last; start += kEvaluated) {
    const int rows = static_cast<int>(last - start < kEvaluated ? last - start : kEvaluated);
    unpack(images, rows, room.batch, [start](int s) { return start + s; });
    for (int s = 0; s < rows; ++s, deltas += n_out) copy(room.rows + s * stride, deltas, n_out);
    pass(room.layer, {&room.batch, room.rows, nullptr, nullptr, rows, {}});
  }
  each_row(room.layer, gradient, [](const float* row, float* plain, int n) { copy(plain, row, n); });
}

}  // namespace

extern const Kernel kernel;
const Kernel kernel{FUSED_NAME, parameters,          load,        save,          scratch, train,
                    evaluate,   first_layer_scratch, first_layer, first_gradient};

}  // namespace fused::FUSED_ISA
