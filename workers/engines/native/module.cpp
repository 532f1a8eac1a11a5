// The Python module: images and networks as the kernels take them, and the choice of a kernel for this processor.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

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

class SparseImages {
 public:
  SparseImages(Array<const float, nb::ndim<2>> pixels, Array<const std::int64_t, nb::ndim<1>> labels) {
    const std::size_t count = pixels.shape(0), width = pixels.shape(1);
    if (labels.shape(0) != count) throw std::invalid_argument("as many labels as images are needed");
    if (width > 65536) throw std::invalid_argument("at most 65,536 pixels an image");
    offsets_.reserve(count + 1);
    offsets_.push_back(0);
    labels_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const float* row = pixels.data() + i * width;
      for (std::size_t p = 0; p < width; ++p) {
        if (row[p] == 0.0f) continue;
        columns_.push_back(static_cast<std::uint16_t>(p));
        values_.push_back(row[p]);
      }
      offsets_.push_back(columns_.size());
      const std::int64_t label = labels.data()[i];
      if (label < 0 || label >= kLanes) throw std::invalid_argument("labels must be in 0 ... 15");
      labels_.push_back(static_cast<std::uint8_t>(label));
    }
    width_ = static_cast<int>(width);
  }

  Images view() const { return {offsets_.data(), columns_.data(), values_.data(), labels_.data()}; }
  std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }
  int width() const { return width_; }

 private:
  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint16_t> columns_;
  std::vector<float> values_;
  std::vector<std::uint8_t> labels_;
  int width_ = 0;
};

using Weights = Array<float, nb::ndim<2>>;
using Biases = Array<float, nb::ndim<1>>;

// A network in the caller's own tensors, which are kept alive and changed in place.
class TrainedNetwork {
 public:
  TrainedNetwork(std::vector<std::pair<Weights, Biases>> layers, const std::vector<int>& sizes, const std::string& loss,
                 bool mean_outputs, const std::string& isa)
      : kernel_(kernel_named(isa)), held_(std::move(layers)) {
    if (held_.empty() || held_.size() > 16 || sizes.size() != held_.size() + 1)
      throw std::invalid_argument("from 1 to 16 layers, and one size more than layers, are needed");
    if (sizes.back() > kLanes) throw std::invalid_argument("at most 16 outputs");
    for (std::size_t l = 0; l < held_.size(); ++l) {
      auto& [weights, biases] = held_[l];
      const std::size_t stride = static_cast<std::size_t>(padded(sizes[l + 1]));
      if (sizes[l] < 1 || sizes[l + 1] < 1 || weights.shape(0) != static_cast<std::size_t>(sizes[l]) ||
          weights.shape(1) != stride || biases.shape(0) != stride)
        throw std::invalid_argument("a layer's tensors do not have its padded sizes");
      if (reinterpret_cast<std::uintptr_t>(weights.data()) % 64 || reinterpret_cast<std::uintptr_t>(biases.data()) % 64)
        throw std::invalid_argument("tensors must be aligned to 64 bytes");
      layers_.push_back({weights.data(), biases.data(), sizes[l], sizes[l + 1]});
    }
    if (loss != "quadratic" && loss != "cross_entropy") throw std::invalid_argument("unknown loss " + loss);
    network_ = {layers_.data(), static_cast<int>(layers_.size()),
                loss == "quadratic" ? Loss::kQuadratic : Loss::kCrossEntropy, mean_outputs};
  }
  TrainedNetwork(const TrainedNetwork&) = delete;

  double train(const SparseImages& images, Array<const std::int64_t, nb::ndim<2>> batches, float learning_rate,
               double cost_sum) {
    fits(images);
    const std::int64_t steps = static_cast<std::int64_t>(batches.shape(0));
    const int batch_size = static_cast<int>(batches.shape(1));
    for (std::size_t i = 0; i < batches.size(); ++i)
      if (batches.data()[i] < 0 || batches.data()[i] >= images.size()) throw nb::index_error("no such image");
    float* memory = scratch(batch_size);
    nb::gil_scoped_release release;
    return kernel_.train(network_, images.view(), batches.data(), steps, batch_size, learning_rate, cost_sum, memory);
  }

  std::pair<std::int64_t, double> evaluate(const SparseImages& images, std::int64_t first, std::int64_t last) {
    fits(images);
    if (first < 0 || last < first || last > images.size()) throw nb::index_error("no such images");
    float* memory = scratch(kEvaluated);
    nb::gil_scoped_release release;
    const Evaluation found = kernel_.evaluate(network_, images.view(), first, last, memory);
    return {found.correct, found.cost};
  }

 private:
  void fits(const SparseImages& images) const {
    if (images.width() != layers_.front().n_in) throw std::invalid_argument("the images have another width");
  }

  float* scratch(int batch_size) {
    const std::size_t floats = kernel_.scratch(network_, batch_size);
    if (floats > scratch_floats_) {
      scratch_.reset(static_cast<float*>(::operator new(floats * sizeof(float), std::align_val_t{64})));
      scratch_floats_ = floats;
    }
    return scratch_.get();
  }

  struct Free {
    void operator()(float* memory) const { ::operator delete(memory, std::align_val_t{64}); }
  };

  const Kernel& kernel_;
  std::vector<std::pair<Weights, Biases>> held_;
  std::vector<Layer> layers_;
  Network network_{};
  std::unique_ptr<float, Free> scratch_;
  std::size_t scratch_floats_ = 0;
};

}  // namespace fused

NB_MODULE(_fused, m) {
  using namespace fused;
  m.attr("LANES") = kLanes;
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
      .def(nb::init<std::vector<std::pair<Weights, Biases>>, const std::vector<int>&, const std::string&, bool,
                    const std::string&>(),
           "layers"_a, "sizes"_a, "loss"_a, "mean_outputs"_a, "isa"_a)
      .def("train", &TrainedNetwork::train, "images"_a, "batches"_a, "learning_rate"_a, "cost_sum"_a)
      .def("evaluate", &TrainedNetwork::evaluate, "images"_a, "first"_a, "last"_a);
}
