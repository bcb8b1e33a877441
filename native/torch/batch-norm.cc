// mixbct::batch_norm: ATen's batch norm and, if a slope comes with it, the PReLU behind it, with passes of our own for what
// convolution networks on the CPU train with (channels-last, bf16 or float32). Its input is read twice on the way forward and twice,
// with the gradient, on the way back: what lies between norm and PReLU is computed again instead of stored. Statistics and
// sums are of float32 in blocks and of double over them, whatever the type of the images. ATen's PReLU has a scalar backward pass in bf16.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "half.h"
#include "prelu.h"

namespace {

using at::Tensor;
using OptionalTensor = c10::optional<Tensor>;

// How the rows are cut for summing: by their number alone, so that the sums do not depend on the number of threads.
int64_t blocksOf(int64_t rows) { return std::clamp<int64_t>(rows / 64, 1, 256); }
// In float32, where ATen's passes are good, ours gain with a slope, from here on. Channels, and pixels of a map's side.
constexpr int64_t kChannels = 64, kSide = 9;

// What a channel is multiplied with and what is added to it, and the slope behind that (none: null).
struct Affine {
  const float *scale, *shift, *slope;
};

// PReLU's factor; the slope comes by value, for a load that only some elements do is no vector's.
inline __attribute__((always_inline)) float bend(float z, float slope) { return z > 0 ? 1.0f : slope; }

template <typename T>
inline __attribute__((always_inline)) void sumRows(const T* __restrict x, const float* __restrict pivot, float* __restrict sums,
                                                   float* __restrict squares, int64_t rows, int64_t channels) {
  for (int64_t row = 0; row < rows; row++, x += channels)
    for (int64_t c = 0; c < channels; c++) {
      const float apart = wide(x[c]) - pivot[c];
      sums[c] += apart;
      squares[c] += apart * apart;
    }
}

template <bool kSlope, typename T>
inline __attribute__((always_inline)) void normRows(const T* __restrict x, const float* __restrict scale,
                                                    const float* __restrict shift, const float* __restrict slope,
                                                    T* __restrict y, int64_t rows, int64_t channels) {
  for (int64_t row = 0; row < rows; row++, x += channels, y += channels)
    for (int64_t c = 0; c < channels; c++) {
      const float z = wide(x[c]) * scale[c] + shift[c];
      if constexpr (kSlope) put(y[c], z * bend(z, slope[c]));
      else put(y[c], z);
    }
}

// Sums of the gradient behind the norm, of its products with x - mean, and of the slope's gradient.
template <bool kSlope, typename T>
inline __attribute__((always_inline)) void gradSumRows(const T* __restrict g, const T* __restrict x, const float* __restrict scale,
                                                       const float* __restrict shift, const float* __restrict slope,
                                                       const float* __restrict mean, float* __restrict sums,
                                                       float* __restrict products, float* __restrict slopes, int64_t rows,
                                                       int64_t channels) {
  for (int64_t row = 0; row < rows; row++, g += channels, x += channels)
    for (int64_t c = 0; c < channels; c++) {
      const float value = wide(x[c]);
      float grad = wide(g[c]);
      if constexpr (kSlope) {
        const float z = value * scale[c] + shift[c];
        slopes[c] += z > 0 ? 0.0f : grad * z;
        grad = grad * bend(z, slope[c]);
      }
      sums[c] += grad;
      products[c] += grad * (value - mean[c]);
    }
}

// The gradient by x: scale · grad + along · x + level.
template <bool kSlope, typename T>
inline __attribute__((always_inline)) void gradRows(const T* __restrict g, const T* __restrict x, const float* __restrict scale,
                                                    const float* __restrict shift, const float* __restrict slope,
                                                    const float* __restrict along, const float* __restrict level,
                                                    T* __restrict gradX, int64_t rows, int64_t channels) {
  for (int64_t row = 0; row < rows; row++, g += channels, x += channels, gradX += channels)
    for (int64_t c = 0; c < channels; c++) {
      const float value = wide(x[c]);
      float grad = wide(g[c]);
      if constexpr (kSlope) grad *= bend(value * scale[c] + shift[c], slope[c]);
      put(gradX[c], scale[c] * grad + (along[c] * value + level[c]));
    }
}

template <typename T>
struct Loops {
  void (*sums)(const T* x, const float* pivot, float* sums, float* squares, int64_t rows, int64_t channels);
  void (*norm)(const T* x, const Affine& by, T* y, int64_t rows, int64_t channels);
  void (*gradSums)(const T* g, const T* x, const Affine& by, const float* mean, float* sums, float* products, float* slopes,
                   int64_t rows, int64_t channels);
  void (*grad)(const T* g, const T* x, const Affine& by, const float* along, const float* level, T* gradX, int64_t rows,
               int64_t channels);
};

// Not `target_clones`: that knows no AVX512-BW, which vectors of bf16 need.
#define LOOPS(NAME, TARGET)                                                                                              \
  template <typename T>                                                                                                  \
  struct NAME {                                                                                                          \
    TARGET static void sums(const T* x, const float* pivot, float* sums, float* squares, int64_t rows, int64_t channels) { \
      sumRows(x, pivot, sums, squares, rows, channels);                                                                  \
    }                                                                                                                    \
    TARGET static void norm(const T* x, const Affine& by, T* y, int64_t rows, int64_t channels) {                        \
      if (by.slope) normRows<true>(x, by.scale, by.shift, by.slope, y, rows, channels);                                  \
      else normRows<false>(x, by.scale, by.shift, by.slope, y, rows, channels);                                          \
    }                                                                                                                    \
    TARGET static void gradSums(const T* g, const T* x, const Affine& by, const float* mean, float* sums, float* products, \
                                float* slopes, int64_t rows, int64_t channels) {                                         \
      if (by.slope) gradSumRows<true>(g, x, by.scale, by.shift, by.slope, mean, sums, products, slopes, rows, channels); \
      else gradSumRows<false>(g, x, by.scale, by.shift, by.slope, mean, sums, products, slopes, rows, channels);         \
    }                                                                                                                    \
    TARGET static void grad(const T* g, const T* x, const Affine& by, const float* along, const float* level, T* gradX,  \
                            int64_t rows, int64_t channels) {                                                            \
      if (by.slope) gradRows<true>(g, x, by.scale, by.shift, by.slope, along, level, gradX, rows, channels);             \
      else gradRows<false>(g, x, by.scale, by.shift, by.slope, along, level, gradX, rows, channels);                     \
    }                                                                                                                    \
    static constexpr Loops<T> all = {sums, norm, gradSums, grad};                                                        \
  };
#if defined(__x86_64__)
LOOPS(Avx512, __attribute__((target("avx512f,avx512bw,fma"), optimize("O3"))))
LOOPS(Avx2, __attribute__((target("avx2,fma"), optimize("O3"))))
#else
LOOPS(Plain, )
#endif

template <typename T>
const Loops<T>* loops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bw")) return &Avx512<T>::all;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &Avx2<T>::all : nullptr;
#else
  return &Plain<T>::all;
#endif
}

const float* floats(const Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

// Calls `work` with the first row, the number of rows and the number of each block.
template <typename Work>
void eachBlock(int64_t rows, int64_t blocks, const Work& work) {
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; block++) {
      const int64_t from = rows * block / blocks;
      work(from, rows * (block + 1) / blocks - from, block);
    }
  });
}

// Sums of [blocks, parts, channels] over the blocks.
std::vector<double> total(const std::vector<float>& sums, int64_t blocks, int64_t width) {
  std::vector<double> all(width);
  for (int64_t block = 0; block < blocks; block++)
    for (int64_t i = 0; i < width; i++) all[i] += sums[block * width + i];
  return all;
}

// A value near the mean of each channel, from which deviations are summed: the mean of some rows.
template <typename T>
std::vector<float> pivotOf(const T* x, int64_t rows, int64_t channels) {
  const int64_t some = std::min<int64_t>(rows, 64);
  std::vector<float> pivot(channels);
  for (int64_t i = 0; i < some; i++)
    for (int64_t c = 0; c < channels; c++) pivot[c] += wide(x[rows * i / some * channels + c]);
  for (float& value : pivot) value /= static_cast<float>(some);
  return pivot;
}

struct Normalized {
  Tensor y, mean, inverse, scale, shift;
};

template <typename T>
Normalized forwardOf(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& slope, const Tensor& runningMean,
                     const Tensor& runningVar, double momentum, double eps) {
  const int64_t channels = x.size(1), rows = x.numel() / channels, blocks = blocksOf(rows), width = 2 * channels;
  const T* from = static_cast<const T*>(x.data_ptr());
  const std::vector<float> pivot = pivotOf(from, rows, channels);
  std::vector<float> sums(blocks * width);
  eachBlock(rows, blocks, [&](int64_t first, int64_t count, int64_t block) {
    float* own = sums.data() + block * width;
    loops<T>()->sums(from + first * channels, pivot.data(), own, own + channels, count, channels);
  });
  const std::vector<double> all = total(sums, blocks, width);
  const auto perChannel = [&] { return at::empty({channels}, weight.options()); };
  Normalized made = {at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast), perChannel(), perChannel(), perChannel(), perChannel()};
  float *mean = made.mean.data_ptr<float>(), *inverse = made.inverse.data_ptr<float>(), *scale = made.scale.data_ptr<float>(),
        *shift = made.shift.data_ptr<float>(), *oldMean = runningMean.defined() ? runningMean.data_ptr<float>() : nullptr,
        *oldVar = runningVar.defined() ? runningVar.data_ptr<float>() : nullptr;
  const float *factor = weight.data_ptr<float>(), *level = bias.data_ptr<float>();
  const double n = static_cast<double>(rows);
  for (int64_t c = 0; c < channels; c++) {
    const double apart = all[c] / n, variance = all[channels + c] / n - apart * apart;
    const double centre = pivot[c] + apart, spread = variance < 0 ? 0 : variance;  // NaN stays
    mean[c] = static_cast<float>(centre);
    inverse[c] = static_cast<float>(1 / std::sqrt(spread + eps));
    scale[c] = factor[c] * inverse[c];
    shift[c] = static_cast<float>(level[c] - centre * scale[c]);
    if (oldMean) oldMean[c] = static_cast<float>(momentum * centre + (1 - momentum) * oldMean[c]);
    if (oldVar) oldVar[c] = static_cast<float>(momentum * spread * n / (n - 1) + (1 - momentum) * oldVar[c]);
  }
  const Affine by = {scale, shift, floats(slope)};
  T* to = static_cast<T*>(made.y.data_ptr());
  eachBlock(rows, blocks, [&](int64_t first, int64_t count, int64_t) {
    loops<T>()->norm(from + first * channels, by, to + first * channels, count, channels);
  });
  return made;
}

struct Gradients {
  Tensor x, weight, bias, slope;
};

template <typename T>
Gradients backwardOf(const Tensor& grad, const Tensor& x, const Normalized& saved, const Tensor& slope) {
  const int64_t channels = x.size(1), rows = x.numel() / channels, blocks = blocksOf(rows), width = 3 * channels;
  const T *g = static_cast<const T*>(grad.data_ptr()), *from = static_cast<const T*>(x.data_ptr());
  const float *mean = saved.mean.data_ptr<float>(), *inverse = saved.inverse.data_ptr<float>(), *scale = saved.scale.data_ptr<float>();
  const Affine by = {scale, saved.shift.data_ptr<float>(), floats(slope)};
  std::vector<float> sums(blocks * width);
  eachBlock(rows, blocks, [&](int64_t first, int64_t count, int64_t block) {
    float* own = sums.data() + block * width;
    loops<T>()->gradSums(g + first * channels, from + first * channels, by, mean, own, own + channels, own + 2 * channels, count, channels);
  });
  const std::vector<double> all = total(sums, blocks, width);
  const auto perChannel = [&] { return at::empty({channels}, saved.mean.options()); };
  Gradients made = {at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast), perChannel(), perChannel(), Tensor()};
  if (slope.defined()) made.slope = perChannel();
  float *ofWeight = made.weight.data_ptr<float>(), *ofBias = made.bias.data_ptr<float>(),
        *ofSlope = slope.defined() ? made.slope.data_ptr<float>() : nullptr;
  std::vector<float> along(channels), level(channels);
  for (int64_t c = 0; c < channels; c++) {
    const double sum = all[c], product = all[channels + c], n = static_cast<double>(rows);
    ofWeight[c] = static_cast<float>(product * inverse[c]);
    ofBias[c] = static_cast<float>(sum);
    if (ofSlope) ofSlope[c] = static_cast<float>(all[2 * channels + c]);
    const double by = -scale[c] * product / n * inverse[c] * inverse[c];
    along[c] = static_cast<float>(by);
    level[c] = static_cast<float>(-scale[c] * sum / n - by * mean[c]);
  }
  T* to = static_cast<T*>(made.x.data_ptr());
  eachBlock(rows, blocks, [&](int64_t first, int64_t count, int64_t) {
    loops<T>()->grad(g + first * channels, from + first * channels, by, along.data(), level.data(), to + first * channels, count, channels);
  });
  return made;
}

bool isHalf(const Tensor& x) { return x.scalar_type() == at::kBFloat16; }

struct BatchNorm : torch::autograd::Function<BatchNorm> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const OptionalTensor& slope, const OptionalTensor& runningMean, const OptionalTensor& runningVar,
                        double momentum, double eps) {
    at::AutoDispatchBelowADInplaceOrView below;
    const Tensor by = slope.value_or(Tensor()), mean = runningMean.value_or(Tensor()), var = runningVar.value_or(Tensor());
    const Normalized made = isHalf(x) ? forwardOf<Half>(x, weight, bias, by, mean, var, momentum, eps)
                                      : forwardOf<float>(x, weight, bias, by, mean, var, momentum, eps);
    context->save_for_backward({x, made.mean, made.inverse, made.scale, made.shift, by});
    return made.y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "mixbct::batch_norm has no second derivative");
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &slope = saved[5];
    const Tensor g = grads[0].to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    const Normalized made = {Tensor(), saved[1], saved[2], saved[3], saved[4]};
    const Gradients by = isHalf(x) ? backwardOf<Half>(g, x, made, slope) : backwardOf<float>(g, x, made, slope);
    return {by.x, by.weight, by.bias, by.slope, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

bool isFast(const Tensor& x, const Tensor& weight, const Tensor& bias, const OptionalTensor& slope, const OptionalTensor& runningMean,
            const OptionalTensor& runningVar) {
  if (!loops<float>() || !x.device().is_cpu() || x.dim() != 4 || x.size(1) < 2 || x.numel() < 2 * x.size(1) ||
      !x.is_contiguous(at::MemoryFormat::ChannelsLast))
    return false;
  if (!isHalf(x) && (x.scalar_type() != at::kFloat || !slope || x.size(1) < kChannels || x.size(2) < kSide || x.size(3) < kSide))
    return false;
  for (const Tensor& each : {weight, bias, slope.value_or(weight), runningMean.value_or(weight), runningVar.value_or(weight)})
    if (!each.device().is_cpu() || each.scalar_type() != at::kFloat || each.dim() != 1 || each.size(0) != x.size(1) || !each.is_contiguous())
      return false;
  return true;
}

Tensor batchNorm(const Tensor& x, const Tensor& weight, const Tensor& bias, const OptionalTensor& slope,
                 const OptionalTensor& runningMean, const OptionalTensor& runningVar, bool training, double momentum, double eps) {
  if (training && isFast(x, weight, bias, slope, runningMean, runningVar))
    return BatchNorm::apply(x, weight, bias, slope, runningMean, runningVar, momentum, eps);
  const Tensor y = at::batch_norm(x, weight, bias, runningMean, runningVar, training, momentum, eps, false);
  return slope ? preluOf(y, *slope) : y;
}

TORCH_LIBRARY_FRAGMENT(mixbct, library) {
  library.def("batch_norm(Tensor x, Tensor weight, Tensor bias, Tensor? slope, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps) -> Tensor");
  library.impl("batch_norm", c10::DispatchKey::CompositeImplicitAutograd, TORCH_FN(batchNorm));
}

}  // namespace
