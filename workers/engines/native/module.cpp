// The Python module: images and networks as the kernels take them, and the choice of a kernel for this processor.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernel.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace fused {

namespace baseline {
extern const Kernel kernel;
}
#ifdef FUSED_X86
namespace avx2 {
extern const Kernel kernel;
}
namespace avx512 {
extern const Kernel kernel;
}
#endif

// Those that this processor can run, the fastest first.
std::vector<const Kernel*> runnable() {
  std::vector<const Kernel*> found;
#ifdef FUSED_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    found.push_back(&avx512::kernel);
  if (avx2) found.push_back(&avx2::kernel);
#endif
  found.push_back(&baseline::kernel);
  return found;
}

const Kernel& kernel_named(const std::string& name) {
  for (const Kernel* each : runnable())
    if (name == each->name) return *each;
  throw std::invalid_argument("this processor has no " + name);
}

template <typename T, typename... Options>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu, Options...>;

// MNIST's bytes, from pixels / 255.
class SparseImages {
 public:
  SparseImages(Array<const float, nb::ndim<2>> pixels, Array<const std::int64_t, nb::ndim<1>> labels) {
    const std::size_t count = pixels.shape(0), width = pixels.shape(1);
    if (labels.shape(0) != count) throw std::invalid_argument("as many labels as images are needed");
    if (width < 1 || width * kPixelScale > 65535) throw std::invalid_argument("from 1 to 8,191 pixels an image");
    width_ = static_cast<int>(width);
    offsets_.reserve(count + 1);
    offsets_.push_back(0);
    halves_.reserve(count);
    labels_.reserve(count);
    std::vector<std::uint16_t> columns;
    std::vector<std::uint8_t> ink;
    for (std::size_t i = 0; i < count; ++i) {
      const float* row = pixels.data() + i * width;
      columns.clear();
      ink.clear();
      add_ink(row, 0, width / 2, columns, ink);
      halves_.push_back(static_cast<std::uint16_t>(ink.size()));
      add_ink(row, width / 2, width, columns, ink);
      most_ = std::max(most_, static_cast<int>(ink.size()));
      const std::uint8_t* bytes = reinterpret_cast<const std::uint8_t*>(columns.data());
      records_.insert(records_.end(), bytes, bytes + columns.size() * sizeof(std::uint16_t));
      records_.insert(records_.end(), ink.begin(), ink.end());
      offsets_.push_back(static_cast<std::uint32_t>(records_.size() / (kTogether * kInkBytes)));
      const std::int64_t label = labels.data()[i];
      if (label < 0 || label >= kLanes) throw std::invalid_argument("labels must be in 0 ... 15");
      labels_.push_back(static_cast<std::uint8_t>(label));
    }
    records_.resize(records_.size() + kReadBeyond);
  }

  Images view() const {
    return {offsets_.data(), records_.data(), halves_.data(), labels_.data(), width_, most_};
  }
  std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }

 private:
  // The ink of pixels first <= p < last, filled up.
  void add_ink(const float* row, std::size_t first, std::size_t last, std::vector<std::uint16_t>& columns,
               std::vector<std::uint8_t>& ink) const {
    for (std::size_t p = first; p < last; ++p) {
      if (row[p] == 0.0f) continue;
      const float byte = std::nearbyint(row[p] * 255.0f);
      if (!(byte >= 1.0f && byte <= 255.0f && byte / 255.0f == row[p]))
        throw std::invalid_argument("pixels must be bytes divided by 255");
      columns.push_back(static_cast<std::uint16_t>(p * kPixelScale));
      ink.push_back(static_cast<std::uint8_t>(byte));
    }
    for (; ink.size() % kTogether != 0; ink.push_back(0))
      columns.push_back(static_cast<std::uint16_t>(width_ * kPixelScale));
  }

  std::vector<std::uint32_t> offsets_;
  std::vector<std::uint8_t> records_;
  std::vector<std::uint16_t> halves_;
  std::vector<std::uint8_t> labels_;
  int width_ = 0;
  int most_ = 0;
};

using Layers = std::vector<std::pair<Array<float, nb::ndim<2>>, Array<float, nb::ndim<1>>>>;

// Floats that begin at a line of the cache.
class Floats {
 public:
  // At least this many; if it grows, its values are lost.
  float* at_least(std::size_t count) {
    if (count > count_) {
      held_.reset(static_cast<float*>(::operator new(count * sizeof(float), kAlignment)));
      count_ = count;
    }
    return held_.get();
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* memory) const { ::operator delete(memory, kAlignment); }
  };
  std::unique_ptr<float, Free> held_;
  std::size_t count_ = 0;
};

// A network while it is trained. It begins with `load`.
class TrainedNetwork {
 public:
  TrainedNetwork(std::vector<int> sizes, const std::string& loss, bool mean_outputs, const std::string& isa)
      : kernel_(kernel_named(isa)), sizes_(std::move(sizes)) {
    if (sizes_.size() < 2 || sizes_.size() > 17) throw std::invalid_argument("from 1 to 16 layers are needed");
    for (int size : sizes_)
      if (size < 1) throw std::invalid_argument("every layer needs a unit");
    if (sizes_.back() > kLanes) throw std::invalid_argument("at most 16 outputs");
    if (loss != "quadratic" && loss != "cross_entropy") throw std::invalid_argument("unknown loss " + loss);
    network_ = {sizes_.data(), static_cast<int>(sizes_.size()) - 1,
                loss == "quadratic" ? Loss::kQuadratic : Loss::kCrossEntropy, mean_outputs};
    parameters_.at_least(kernel_.parameters(network_));
  }
  TrainedNetwork(const TrainedNetwork&) = delete;

  void load(Layers layers) { kernel_.load(network_, plain(layers).data(), parameters()); }

  void save(Layers layers) { kernel_.save(network_, parameters(), plain(layers).data()); }

  void train(const SparseImages& images, Array<const std::int64_t, nb::ndim<2>> batches, float learning_rate,
             Array<double, nb::ndim<1>> costs) {
    const Images view = fitting(images);
    const std::int64_t steps = static_cast<std::int64_t>(batches.shape(0));
    const int batch_size = static_cast<int>(batches.shape(1));
    if (costs.shape(0) != batches.shape(0)) throw std::invalid_argument("there must be as many costs as steps");
    for (std::size_t i = 0; i < batches.size(); ++i)
      if (batches.data()[i] < 0 || batches.data()[i] >= images.size()) throw nb::index_error("no such image");
    float* scratch = scratch_.at_least(kernel_.scratch(network_, view, batch_size));
    nb::gil_scoped_release release;
    kernel_.train(network_, parameters(), view, batches.data(), steps, batch_size, learning_rate, costs.data(),
                  scratch);
  }

  std::pair<std::int64_t, double> evaluate(const SparseImages& images, std::int64_t first, std::int64_t last,
                                           Array<float, nb::ndim<2>> logits) {
    const Images view = fitting(images);
    if (first < 0 || last < first || last > images.size()) throw nb::index_error("no such images");
    if (logits.shape(0) != static_cast<std::size_t>(last - first) ||
        logits.shape(1) != static_cast<std::size_t>(sizes_.back()))
      throw std::invalid_argument("there must be a logit for each output of each image");
    float* scratch = scratch_.at_least(kernel_.scratch(network_, view, kEvaluated));
    nb::gil_scoped_release release;
    const Evaluation found = kernel_.evaluate(network_, parameters(), view, first, last, logits.data(), scratch);
    return {found.correct, found.cost};
  }

  void first_layer(const SparseImages& images, std::int64_t first, std::int64_t last, Array<float, nb::ndim<2>> z) {
    float* scratch = alone(images, first, last, z);
    nb::gil_scoped_release release;
    kernel_.first_layer(network_, parameters(), images.view(), first, last, z.data(), scratch);
  }

  void first_gradient(const SparseImages& images, std::int64_t first, std::int64_t last,
                      Array<const float, nb::ndim<2>> deltas, Array<float, nb::ndim<2>> gradient) {
    float* scratch = alone(images, first, last, deltas);
    if (gradient.shape(0) != static_cast<std::size_t>(sizes_[0]) || gradient.shape(1) != deltas.shape(1))
      throw std::invalid_argument("the gradient must have the shape of the first layer's weights");
    nb::gil_scoped_release release;
    kernel_.first_gradient(network_, images.view(), first, last, deltas.data(), gradient.data(), scratch);
  }

 private:
  float* parameters() { return parameters_.at_least(0); }

  // Scratch memory for these images and a row for each of the first layer's outputs; throws if they do not fit.
  template <typename Rows>
  float* alone(const SparseImages& images, std::int64_t first, std::int64_t last, const Rows& rows) {
    const Images view = fitting(images);
    if (first < 0 || last < first || last > images.size()) throw nb::index_error("no such images");
    if (rows.shape(0) != static_cast<std::size_t>(last - first) || rows.shape(1) != static_cast<std::size_t>(sizes_[1]))
      throw std::invalid_argument("there must be a row of the first layer's width for each image");
    return scratch_.at_least(kernel_.first_layer_scratch(network_, view));
  }

  Images fitting(const SparseImages& images) const {
    const Images view = images.view();
    if (view.pixels != sizes_.front()) throw std::invalid_argument("the images have another width");
    return view;
  }

  std::vector<Plain> plain(const Layers& layers) const {
    if (layers.size() + 1 != sizes_.size()) throw std::invalid_argument("another number of layers is needed");
    std::vector<Plain> found;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const auto& [weights, biases] = layers[l];
      const std::size_t n_in = static_cast<std::size_t>(sizes_[l]), n_out = static_cast<std::size_t>(sizes_[l + 1]);
      if (weights.shape(0) != n_in || weights.shape(1) != n_out || biases.shape(0) != n_out)
        throw std::invalid_argument("a layer's tensors do not have its sizes");
      found.push_back({weights.data(), biases.data()});
    }
    return found;
  }

  const Kernel& kernel_;
  std::vector<int> sizes_;
  Network network_{};
  Floats parameters_;
  Floats scratch_;
};

}  // namespace fused

NB_MODULE(costcurve_kernel, m) {
  using namespace fused;
  m.attr("SOURCE") = FUSED_SOURCE;
  m.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const Kernel* each : runnable()) names.emplace_back(each->name);
    return names;
  });
  nb::class_<SparseImages>(m, "SparseImages")
      .def(nb::init<Array<const float, nb::ndim<2>>, Array<const std::int64_t, nb::ndim<1>>>(), "pixels"_a, "labels"_a)
      .def("__len__", &SparseImages::size);
  nb::class_<TrainedNetwork>(m, "TrainedNetwork")
      .def(nb::init<std::vector<int>, const std::string&, bool, const std::string&>(), "sizes"_a, "loss"_a,
           "mean_outputs"_a, "isa"_a)
      .def("load", &TrainedNetwork::load, "layers"_a)
      .def("save", &TrainedNetwork::save, "layers"_a)
      .def("train", &TrainedNetwork::train, "images"_a, "batches"_a, "learning_rate"_a, "costs"_a)
      .def("evaluate", &TrainedNetwork::evaluate, "images"_a, "first"_a, "last"_a, "logits"_a)
      .def("first_layer", &TrainedNetwork::first_layer, "images"_a, "first"_a, "last"_a, "z"_a)
      .def("first_gradient", &TrainedNetwork::first_gradient, "images"_a, "first"_a, "last"_a, "deltas"_a,
           "gradient"_a);
}
