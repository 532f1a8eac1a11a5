// SGD on a fully connected sigmoid network, written once and compiled for each instruction set.
//
// Two facts make it fast. Four of five pixels of MNIST are zero, so the first layer reads and updates only the rows of W
// that an image touches. And all weights fit into a core's second-level cache, so many steps run in one call, with
// nothing between them.
//
// What blocks.hpp says of the standard library holds here as well.

#include "blocks.hpp"
#include "kernel.hpp"

namespace fused::FUSED_ISA {
namespace {

// Blocks of 16 floats that one pass keeps in registers, beside a row and a factor.
constexpr int kWide = FUSED_BYTES >= 64 ? 4 : 2;
// Rows of a dense product that share the loads of a column block.
constexpr int kRows = FUSED_BYTES >= 64 ? 5 : 2;

// The first layer, sparse.

// z of V blocks from one image. Several partial sums, so that one addition need not wait for the one before.
template <int V>
inline void touch_forward(const float* weights, int stride, const float* biases, const std::uint16_t* columns,
                          const float* values, int count, float* z) {
  constexpr int kSums = V >= 4 ? 1 : V >= 2 ? 2 : 4;
  Block sum[kSums][V];
  for (int v = 0; v < V; ++v) {
    sum[0][v] = load(biases + v * kLanes);
    for (int p = 1; p < kSums; ++p) sum[p][v] = all(0.0f);
  }
  int k = 0;
  for (; k + kSums <= count; k += kSums) {
    _Pragma("GCC unroll 4") for (int p = 0; p < kSums; ++p) {
      const float* row = weights + static_cast<std::size_t>(columns[k + p]) * stride;
      const float x = values[k + p];
      _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) fma_into(sum[p][v], x, load(row + v * kLanes));
    }
  }
  for (; k < count; ++k) {
    const float* row = weights + static_cast<std::size_t>(columns[k]) * stride;
    _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) fma_into(sum[0][v], values[k], load(row + v * kLanes));
  }
  for (int v = 0; v < V; ++v) {
    Block total = sum[0][v];
    for (int p = 1; p < kSums; ++p) total = total + sum[p][v];
    store(z + v * kLanes, total);
  }
}

// W[p] += x_p delta for each pixel p of one image, V blocks.
template <int V>
inline void touch_update(float* weights, int stride, const std::uint16_t* columns, const float* values, int count,
                         const float* delta) {
  Block d[V];
  for (int v = 0; v < V; ++v) d[v] = load(delta + v * kLanes);
  for (int k = 0; k < count; ++k) {
    float* row = weights + static_cast<std::size_t>(columns[k]) * stride;
    const float x = values[k];
    _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) {
      Block w = load(row + v * kLanes);
      fma_into(w, x, d[v]);
      store(row + v * kLanes, w);
    }
  }
}

// All blocks of a row: as many at once as registers hold, then the rest.
#define FUSED_IN_WIDE_BLOCKS(blocks, CALL)                    \
  int first = 0;                                              \
  for (; first + kWide <= (blocks); first += kWide) {         \
    CALL(kWide);                                              \
  }                                                           \
  switch ((blocks) - first) {                                 \
    case 1: CALL(1); break;                                   \
    case 2: CALL(2); break;                                   \
    case 3: CALL(3); break;                                   \
  }

void sparse_forward(const Layer& layer, const Images& images, std::int64_t image, float* z) {
  const int stride = padded(layer.n_out);
  const std::uint64_t begin = images.offsets[image];
  const int count = static_cast<int>(images.offsets[image + 1] - begin);
#define CALL(V)                                                                                          \
  touch_forward<V>(layer.weights + first * kLanes, stride, layer.biases + first * kLanes,                \
                   images.columns + begin, images.values + begin, count, z + first * kLanes)
  FUSED_IN_WIDE_BLOCKS(stride / kLanes, CALL)
#undef CALL
}

void sparse_update(const Layer& layer, const Images& images, std::int64_t image, const float* delta) {
  const int stride = padded(layer.n_out);
  const std::uint64_t begin = images.offsets[image];
  const int count = static_cast<int>(images.offsets[image + 1] - begin);
#define CALL(V)                                                                                          \
  touch_update<V>(layer.weights + first * kLanes, stride, images.columns + begin, images.values + begin, \
                  count, delta + first * kLanes)
  FUSED_IN_WIDE_BLOCKS(stride / kLanes, CALL)
#undef CALL
}

void prefetch(const Images& images, std::int64_t image) {
  const std::uint64_t begin = images.offsets[image], end = images.offsets[image + 1];
  for (std::uint64_t k = begin; k < end; k += 32) __builtin_prefetch(images.columns + k, 0, 2);
  for (std::uint64_t k = begin; k < end; k += 16) __builtin_prefetch(images.values + k, 0, 2);
}

// The dense layers: C (rows, blocks) from A (rows, depth) and B (depth, blocks), in whatever order A lies in memory.

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

template <Into kInto, int R, int V>
inline void product_tile(const Product& p, int row, int block) {
  Block sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v)
      sum[r][v] = kInto == Into::kBiases ? load(p.biases + (block + v) * kLanes) : all(0.0f);
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + block * kLanes;
  for (int k = 0; k < p.depth; ++k, a += p.a_depth, b += p.b_depth) {
    Block columns[V];
    _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) columns[v] = load(b + v * kLanes);
    _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {
      const float x = a[r * p.a_row];
      _Pragma("GCC unroll 4") for (int v = 0; v < V; ++v) fma_into(sum[r][v], x, columns[v]);
    }
  }
  float* c = p.c + row * p.c_row + block * kLanes;
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      float* at = c + r * p.c_row + v * kLanes;
      store(at, kInto == Into::kItself ? load(at) + sum[r][v] : sum[r][v]);
    }
}

template <Into kInto, int V>
inline void product_columns(const Product& p, int block) {
  int row = 0;
  for (; row + kRows <= p.rows; row += kRows) product_tile<kInto, kRows, V>(p, row, block);
  switch (p.rows - row) {
    case 1: product_tile<kInto, 1, V>(p, row, block); break;
    case 2: product_tile<kInto, 2, V>(p, row, block); break;
    case 3: product_tile<kInto, 3, V>(p, row, block); break;
    case 4: product_tile<kInto, 4, V>(p, row, block); break;
  }
}

template <Into kInto>
void product(const Product& p) {
#define CALL(V) product_columns<kInto, V>(p, first)
  FUSED_IN_WIDE_BLOCKS(p.blocks, CALL)
#undef CALL
}

// A step, whose scratch memory is parted so.

struct Scratch {
  float* next;
  float* take(std::size_t floats) {
    float* taken = next;
    next += floats;
    return taken;
  }
};

constexpr int kMaxLayers = 16;

struct Rooms {
  float* activation[kMaxLayers];  // (batch_size, padded(n_out)): z, then a
  float* delta[kMaxLayers];       // (batch_size, padded(n_out))
  float* transposed[kMaxLayers];  // W^T, (n_out, padded(n_in)), of every layer but the first
};

void part(const Network& network, int batch_size, float* scratch, Rooms& rooms) {
  Scratch free{scratch};
  for (int l = 0; l < network.count; ++l) {
    const Layer& layer = network.layers[l];
    const std::size_t size = static_cast<std::size_t>(batch_size) * padded(layer.n_out);
    rooms.activation[l] = free.take(size);
    rooms.delta[l] = free.take(size);
    rooms.transposed[l] = l > 0 ? free.take(static_cast<std::size_t>(layer.n_out) * padded(layer.n_in)) : nullptr;
  }
}

std::size_t scratch(const Network& network, int batch_size) {
  std::size_t floats = 0;
  for (int l = 0; l < network.count; ++l) {
    const Layer& layer = network.layers[l];
    floats += 2 * static_cast<std::size_t>(batch_size) * padded(layer.n_out);
    if (l > 0) floats += static_cast<std::size_t>(layer.n_out) * padded(layer.n_in);
  }
  return floats;
}

void transpose(const Layer& layer, float* transposed) {
  const int stride = padded(layer.n_out), height = padded(layer.n_in);
  for (int j = 0; j < layer.n_out; ++j)
    for (int i = 0; i < height; ++i)
      transposed[static_cast<std::size_t>(j) * height + i] =
          i < layer.n_in ? layer.weights[static_cast<std::size_t>(i) * stride + j] : 0.0f;
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

// Logits of the output layer, in rooms.activation of the last layer, for the images that `image(s)` names.
template <typename Name>
inline void forward(const Network& network, const Images& images, int rows, Rooms& rooms, const Name& image) {
  for (int s = 0; s < rows; ++s)
    sparse_forward(network.layers[0], images, image(s),
                   rooms.activation[0] + static_cast<std::size_t>(s) * padded(network.layers[0].n_out));
  for (int l = 1; l < network.count; ++l) {
    const Layer& before = network.layers[l - 1];
    const Layer& layer = network.layers[l];
    activate(rooms.activation[l - 1], rows, before.n_out);
    product<Into::kBiases>({rooms.activation[l - 1], padded(before.n_out), 1, layer.weights, padded(layer.n_out),
                            rooms.activation[l], padded(layer.n_out), rows, layer.n_in,
                            padded(layer.n_out) / kLanes, layer.biases});
  }
}

inline float total(const Block& x, int width) {
  alignas(64) float lanes[kLanes];
  store(lanes, x);
  float sum = 0.0f;
  for (int lane = 0; lane < width; ++lane) sum += lanes[lane];
  return sum;
}

// The cost of the outputs' block z against y, lane by lane; and, if it is wanted, its derivative by z.
template <bool kWithDelta>
inline Block cost_of(Loss loss, const Block& z, const Block& y, Block& delta) {
  const Sigmoid s = sigmoid(z);
  const Block off = s.a - y;
  if (loss == Loss::kQuadratic) {
    if (kWithDelta) delta = off * (s.a * (all(1.0f) - s.a));
    return all(0.5f) * off * off;
  }
  if (kWithDelta) delta = off;
  // max(z, 0) - z y + ln(1 + e^-|z|)
  return at_least(z, 0.0f) - z * y + log_of_one_plus(s.small);
}

inline Block one_hot(int digit) {
  alignas(64) float lanes[kLanes] = {};
  lanes[digit] = 1.0f;
  return load(lanes);
}

double train(const Network& network, const Images& images, const std::int64_t* order, std::int64_t steps,
             int batch_size, float learning_rate, double cost_sum, float* memory) {
  Rooms rooms;
  part(network, batch_size, memory, rooms);
  const int last = network.count - 1;
  for (int l = 1; l <= last; ++l) transpose(network.layers[l], rooms.transposed[l]);
  const int outputs = network.layers[last].n_out;
  const float scale = 1.0f / (static_cast<float>(batch_size) * (network.mean_outputs ? outputs : 1));
  const Block valid = mask(outputs);
  const Block valid_scale = valid * all(scale);
  for (std::int64_t step = 0; step < steps; ++step, order += batch_size) {
    forward(network, images, batch_size, rooms, [order](int s) { return order[s]; });
    if (step + 1 < steps)
      for (int s = 0; s < batch_size; ++s) prefetch(images, order[batch_size + s]);
    Block cost = all(0.0f);
    for (int s = 0; s < batch_size; ++s) {
      Block delta;
      cost = cost + cost_of<true>(network.loss, load(rooms.activation[last] + s * kLanes),
                                  one_hot(images.labels[order[s]]), delta);
      store(rooms.delta[last] + s * kLanes, delta * valid_scale);
    }
    cost_sum += static_cast<double>(total(cost, outputs)) * scale;
    // All deltas first: they go by the weights before the update.
    for (int l = last; l > 0; --l) {
      const Layer& layer = network.layers[l];
      const int stride = padded(layer.n_out), height = padded(layer.n_in);
      product<Into::kZero>({rooms.delta[l], stride, 1, rooms.transposed[l], height, rooms.delta[l - 1], height,
                            batch_size, layer.n_out, height / kLanes, nullptr});
      const std::size_t size = static_cast<std::size_t>(batch_size) * height;
      for (std::size_t i = 0; i < size; i += kLanes) {
        const Block a = load(rooms.activation[l - 1] + i);
        store(rooms.delta[l - 1] + i, load(rooms.delta[l - 1] + i) * (a * (all(1.0f) - a)));
      }
    }
    for (int l = 0; l <= last; ++l) {
      const Layer& layer = network.layers[l];
      const int stride = padded(layer.n_out);
      float* delta = rooms.delta[l];
      for (int i = 0; i < stride; i += kLanes) {
        Block sum = all(0.0f);
        for (int s = 0; s < batch_size; ++s) {
          float* at = delta + static_cast<std::size_t>(s) * stride + i;
          const Block move = load(at) * all(-learning_rate);
          store(at, move);
          sum = sum + move;
        }
        store(layer.biases + i, load(layer.biases + i) + sum);
      }
      if (l == 0) {
        for (int s = 0; s < batch_size; ++s)
          sparse_update(layer, images, order[s], delta + static_cast<std::size_t>(s) * stride);
        continue;
      }
      // W and its transpose by the same products in the same order, so that they stay equal to the last bit.
      const float* a = rooms.activation[l - 1];
      const int height = padded(layer.n_in);
      product<Into::kItself>({a, 1, height, delta, stride, layer.weights, stride, layer.n_in, batch_size,
                              stride / kLanes, nullptr});
      product<Into::kItself>({delta, 1, stride, a, height, rooms.transposed[l], height, layer.n_out, batch_size,
                              height / kLanes, nullptr});
    }
  }
  return cost_sum;
}

Evaluation evaluate(const Network& network, const Images& images, std::int64_t first, std::int64_t last,
                    float* memory) {
  Rooms rooms;
  part(network, kEvaluated, memory, rooms);
  const int outputs = network.layers[network.count - 1].n_out;
  Evaluation found{0, 0.0};
  for (std::int64_t start = first; start < last; start += kEvaluated) {
    const int rows = static_cast<int>(last - start < kEvaluated ? last - start : kEvaluated);
    forward(network, images, rows, rooms, [start](int s) { return start + s; });
    Block cost = all(0.0f);
    for (int s = 0; s < rows; ++s) {
      const float* z = rooms.activation[network.count - 1] + s * kLanes;
      Block unused;
      cost = cost + cost_of<false>(network.loss, load(z), one_hot(images.labels[start + s]), unused);
      int best = 0;
      for (int j = 1; j < outputs; ++j)
        if (z[j] > z[best]) best = j;
      found.correct += best == images.labels[start + s];
    }
    found.cost += total(cost, outputs);
  }
  if (network.mean_outputs) found.cost /= outputs;
  return found;
}

}  // namespace

extern const Kernel kernel;
const Kernel kernel{FUSED_NAME, scratch, train, evaluate};

}  // namespace fused::FUSED_ISA
