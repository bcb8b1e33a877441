// mixbct::prelu: ATen's prelu with a backward pass of our own for what convolution networks on the CPU feed it (float32 or bf16,
// channels-last). ATen's writes the slope's gradient for every element and then sums it, in scalar code: 7 % of a training
// step of iresnet18, and a quarter in bf16. This one reads both inputs once and writes one output. The values are ATen's; sums
// differ in order, and in bf16 they are of float32. What stands behind a batch norm is computed with it (batch-norm.cc).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "half.h"
#include "prelu.h"

namespace {

using at::Tensor;

// How the rows are cut for summing: by their number alone, so that the sums do not depend on the number of threads.
constexpr int64_t kBlocks = 256;

using HalfRows = void(const Half* g, const Half* x, const float* slope, Half* gradX, float* sums, int64_t rows, int64_t channels);

// The same in bf16. Not `target_clones`: that knows no AVX512-BW, which vectors of bf16 need.
inline __attribute__((always_inline)) void backwardHalf(const Half* __restrict g, const Half* __restrict x,
                                                        const float* __restrict slope, Half* __restrict gradX,
                                                        float* __restrict sums, int64_t rows, int64_t channels) {
  for (int64_t row = 0; row < rows; row++, g += channels, x += channels, gradX += channels)
    for (int64_t c = 0; c < channels; c++) {
      const float value = wide(x[c]), grad = wide(g[c]), by = slope[c];
      put(gradX[c], grad * (value > 0 ? 1.0f : by));
      sums[c] += value > 0 ? 0.0f : grad * value;
    }
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,fma"), optimize("O3"))) void halfRows512(const Half* g, const Half* x, const float* slope,
                                                                                 Half* gradX, float* sums, int64_t rows,
                                                                                 int64_t channels) {
  backwardHalf(g, x, slope, gradX, sums, rows, channels);
}
__attribute__((target("avx2,fma"), optimize("O3"))) void halfRows256(const Half* g, const Half* x, const float* slope, Half* gradX,
                                                                     float* sums, int64_t rows, int64_t channels) {
  backwardHalf(g, x, slope, gradX, sums, rows, channels);
}
#endif

HalfRows* halfRows() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bw")) return halfRows512;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? halfRows256 : nullptr;
#else
  return backwardHalf;
#endif
}

bool isFast(const Tensor& x, const Tensor& slope) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || (x.scalar_type() == at::kBFloat16 && halfRows())) &&
         x.dim() == 4 && slope.scalar_type() == at::kFloat && slope.dim() == 1 && slope.size(0) == x.size(1) && slope.is_contiguous() && x.size(1) > 1 &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

// One block of rows: gradX = g where x > 0, slope·g elsewhere; sums += g·x where x ≤ 0.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) void backwardRows(
    const float* __restrict g, const float* __restrict x, const float* __restrict slope, float* __restrict gradX,
    float* __restrict sums, int64_t rows, int64_t channels) {
  for (int64_t row = 0; row < rows; row++, g += channels, x += channels, gradX += channels)
    for (int64_t c = 0; c < channels; c++) {
      const bool positive = x[c] > 0;
      gradX[c] = positive ? g[c] : g[c] * slope[c];
      sums[c] += positive ? 0.0f : g[c] * x[c];
    }
}

std::tuple<Tensor, Tensor> preluBackward(const Tensor& grad, const Tensor& x, const Tensor& slope) {
  const bool half = x.scalar_type() == at::kBFloat16;
  const Tensor g = grad.to(x.scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);  // under autocast it may come in half
  const int64_t channels = x.size(1), rows = x.numel() / channels;
  const int64_t blocks = std::min(kBlocks, std::max<int64_t>(rows, 1));
  Tensor gradX = at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast);
  Tensor sums = at::zeros({blocks, channels}, slope.options());
  const Tensor by = half ? slope.to(at::kBFloat16).to(at::kFloat) : slope;  // that of the forward pass
  const float* slopeData = by.data_ptr<float>();
  float* sumData = sums.data_ptr<float>();
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; block++) {
      const int64_t from = rows * block / blocks, count = rows * (block + 1) / blocks - from, at = from * channels;
      float* own = sumData + block * channels;
      if (half)
        halfRows()(static_cast<const Half*>(g.data_ptr()) + at, static_cast<const Half*>(x.data_ptr()) + at, slopeData,
                   static_cast<Half*>(gradX.data_ptr()) + at, own, count, channels);
      else
        backwardRows(g.data_ptr<float>() + at, x.data_ptr<float>() + at, slopeData, gradX.data_ptr<float>() + at, own, count,
                     channels);
    }
  });
  return {gradX, sums.sum(0)};
}

struct Prelu : torch::autograd::Function<Prelu> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& slope) {
    context->save_for_backward({x, slope});
    at::AutoDispatchBelowADInplaceOrView below;
    return at::prelu(x, slope.to(x.scalar_type()));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "mixbct::prelu has no second derivative");
    const auto saved = context->get_saved_variables();
    const auto [gradX, gradSlope] = preluBackward(grads[0], saved[0], saved[1]);
    return {gradX, gradSlope};
  }
};

}  // namespace

// Under autocast x comes in half precision while the slope, a parameter, stays in float32; ATen's prelu wants one type.
at::Tensor preluOf(const at::Tensor& x, const at::Tensor& slope) {
  return isFast(x, slope) ? Prelu::apply(x, slope) : at::prelu(x, slope.to(x.scalar_type()));
}

TORCH_LIBRARY(mixbct, library) {
  library.def("prelu(Tensor x, Tensor slope) -> Tensor");
  library.impl("prelu", c10::DispatchKey::CompositeImplicitAutograd, TORCH_FN(preluOf));
}
