// mixbct::conv3x3: a 3 × 3 convolution of stride 1 and padding 1 without bias, in training too. Forward, the gradient by the images,
// which is such a convolution again, and that by the weights by Winograd's tiles where they gain; all other cases by ATen.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "dense.h"

namespace {

using at::Tensor;

// From here on tiles gain: channels on both sides, and pixels of a map's side. Fixed, so that a training does not depend on timings.
constexpr int64_t kChannels = 64, kSide = 7;
// The gradient by the weights, whose result is as large as they are whatever the map's size.
constexpr int64_t kSideOfWeights = 9;

bool autocasts() { return !c10::impl::tls_is_dispatch_key_excluded(c10::DispatchKey::AutocastCPU); }

bool gains(const Tensor& x, const Tensor& weights) {
  const int64_t lanes = denseLanes();
  if (lanes == 0 || autocasts() || x.dim() != 4) return false;
  TORCH_CHECK(weights.dim() == 4 && weights.size(1) == x.size(1) && weights.size(2) == 3 && weights.size(3) == 3, "wanted weights [K, ",
              x.size(1), ", 3, 3]");
  if (!weights.device().is_cpu()) return false;
  for (const int64_t channels : {weights.size(0), weights.size(1)})
    if (channels < kChannels || channels % lanes != 0) return false;
  return x.size(2) >= kSide && x.size(3) >= kSide && x.device().is_cpu() && x.scalar_type() == at::kFloat &&
         weights.scalar_type() == at::kFloat && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

Tensor byWeights(const Tensor& x, const Tensor& weights, const Tensor& g) {
  if (x.size(2) >= kSideOfWeights && x.size(3) >= kSideOfWeights) return denseConv3x3Weights(x, g);
  return std::get<1>(at::convolution_backward(g, x, weights, at::OptionalIntArrayRef(), {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1,
                                              {false, true, false}));
}

struct Conv3x3 : torch::autograd::Function<Conv3x3> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weights) {
    context->save_for_backward({x, weights});
    context->saved_data["of x"] = x.requires_grad();
    context->saved_data["of weights"] = weights.requires_grad();
    at::AutoDispatchBelowADInplaceOrView below;
    return denseConv3x3(x, weights);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "mixbct::conv3x3 has no second derivative");
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weights = saved[1];
    const Tensor g = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    Tensor gradX, gradWeights;
    if (context->saved_data["of x"].toBool()) gradX = denseConv3x3(g, weights.flip({2, 3}).transpose(0, 1));
    if (context->saved_data["of weights"].toBool()) gradWeights = byWeights(x, weights, g);
    return {gradX, gradWeights};
  }
};

Tensor conv3x3(const Tensor& x, const Tensor& weights) {
  return gains(x, weights) ? Conv3x3::apply(x, weights) : at::conv2d(x, weights, {}, 1, 1);
}

TORCH_LIBRARY_FRAGMENT(mixbct, library) {
  library.def("conv3x3(Tensor x, Tensor weights) -> Tensor");
  library.impl("conv3x3", c10::DispatchKey::CompositeImplicitAutograd, TORCH_FN(conv3x3));
}

}  // namespace
