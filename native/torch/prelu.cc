// mixbct::prelu: ATen's prelu with a backward pass of our own for what convolution networks on the CPU feed it (float32,
// channels-last). ATen's writes the slope's gradient for every element and then sums it, in scalar code: 7 % of a training
// step of iresnet18. This one reads both inputs once and writes one output. The values are ATen's; sums differ in order.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;

// How the rows are cut for summing: by their number alone, so that the sums do not depend on the number of threads.
constexpr int64_t kBlocks = 256;

bool isFast(const Tensor& x, const Tensor& slope) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4 && slope.scalar_type() == at::kFloat &&
         slope.dim() == 1 && slope.size(0) == x.size(1) && slope.is_contiguous() && x.size(1) > 1 &&
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
  const Tensor g = grad.to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);  // under autocast it comes in half
  const int64_t channels = x.size(1), rows = x.numel() / channels;
  const int64_t blocks = std::min(kBlocks, std::max<int64_t>(rows, 1));
  Tensor gradX = at::empty_like(x, x.options(), at::MemoryFormat::ChannelsLast);
  Tensor sums = at::zeros({blocks, channels}, x.options());
  const float* gData = g.data_ptr<float>();
  const float* xData = x.data_ptr<float>();
  const float* slopeData = slope.data_ptr<float>();
  float* gradData = gradX.data_ptr<float>();
  float* sumData = sums.data_ptr<float>();
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; block++) {
      const int64_t from = rows * block / blocks, to = rows * (block + 1) / blocks;
      backwardRows(gData + from * channels, xData + from * channels, slopeData, gradData + from * channels,
                   sumData + block * channels, to - from, channels);
    }
  });
  return {gradX, sums.sum(0)};
}

struct Prelu : torch::autograd::Function<Prelu> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& slope) {
    context->save_for_backward({x, slope});
    at::AutoDispatchBelowADInplaceOrView below;
    return at::prelu(x, slope);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "mixbct::prelu has no second derivative");
    const auto saved = context->get_saved_variables();
    const auto [gradX, gradSlope] = preluBackward(grads[0], saved[0], saved[1]);
    return {gradX, gradSlope};
  }
};

// Under autocast x comes in half precision while the slope, a parameter, stays in float32; ATen's prelu wants one type.
Tensor prelu(const Tensor& x, const Tensor& slope) {
  return isFast(x, slope) ? Prelu::apply(x, slope) : at::prelu(x, slope.to(x.scalar_type()));
}

TORCH_LIBRARY(mixbct, library) {
  library.def("prelu(Tensor x, Tensor slope) -> Tensor");
  library.impl("prelu", c10::DispatchKey::CompositeImplicitAutograd, TORCH_FN(prelu));
}

}  // namespace
