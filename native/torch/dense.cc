// mixbct::dense_* (a tensor without elements: none): layers of backbones that are open for embedding, as products of matrices whose
// weights were packed once, with what follows them (bias, PReLU or ReLU6, the other branch) done while a sum is in a register. Rows
// do not influence each other: an image gives the same bytes in whatever batch and by however many threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "dense.h"

namespace {

using at::Tensor;

// Those for the widest vectors that this processor has, or that MIXBCT_LANES allows (floats in a vector; 0: none).
const DenseKernels* chosen() {
#if defined(__x86_64__)
  const char* const limit = std::getenv("MIXBCT_LANES");
  const int64_t lanes = limit ? std::atoll(limit) : denseAvx512.lanes;
  if (lanes >= denseAvx512.lanes && __builtin_cpu_supports("avx512f")) return &denseAvx512;
  if (lanes >= denseAvx2.lanes && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &denseAvx2;
#endif
  return nullptr;
}

const DenseKernels* kernels() {
  static const DenseKernels* const found = chosen();
  return found;
}

}  // namespace

const DenseKernels& denseKernels() {
  TORCH_CHECK(kernels(), "this processor has neither AVX2 nor AVX-512");
  return *kernels();
}

int64_t denseLanes() { return kernels() ? kernels()->lanes : 0; }

void requireFloat(const Tensor& x, const char* name) {
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == at::kFloat, name, ": wanted float32 on the CPU");
}

void requirePacked(const Tensor& packed, int64_t dims, int64_t columns) {
  const int64_t panel = denseKernels().panel;
  requireFloat(packed, "packed weights");
  TORCH_CHECK(packed.dim() == dims && packed.is_contiguous() && packed.size(-1) == panel && columns > 0 &&
                  packed.size(dims - 3) == roundedUp(columns, panel) / panel,
              "wanted weights packed for ", columns, " columns");
}

Finish finishOf(const Tensor& bias, const Tensor& slope, int64_t columns) {
  const int64_t wanted = roundedUp(columns, denseKernels().panel);
  for (const Tensor& x : {bias, slope}) {
    if (x.numel() == 0) continue;
    requireFloat(x, "bias or slope");
    TORCH_CHECK(x.is_contiguous() && x.size(-1) >= wanted, "bias and slope must reach to the end of the last panel");
  }
  TORCH_CHECK(bias.numel() > 0, "wanted a bias");
  return {bias.data_ptr<float>(), slope.numel() > 0 ? slope.data_ptr<float>() : nullptr, false};
}

namespace {

// weights [depth, K] → [panels, depth, panel], zeros behind the last column
Tensor pack(const Tensor& weights) {
  requireFloat(weights, "weights");
  TORCH_CHECK(weights.dim() == 2, "wanted weights [depth, K]");
  const int64_t panel = denseKernels().panel, columns = weights.size(1);
  const Tensor wide = at::constant_pad_nd(weights, {0, roundedUp(columns, panel) - columns});
  return wide.reshape({weights.size(0), -1, panel}).permute({1, 0, 2}).contiguous();
}

// weights [K, C, 3, 3] → their transforms G g Gᵀ for tiles of 4 × 4 (Lavin and Gray 2016, F(4×4, 3×3)), packed [36, panels, C, panel]
Tensor packWinograd(const Tensor& weights) {
  const DenseKernels& kernel = denseKernels();
  TORCH_CHECK(weights.dim() == 4 && weights.size(2) == 3 && weights.size(3) == 3, "wanted weights [K, C, 3, 3]");
  const Tensor whole = weights.to(at::kFloat).contiguous();
  const int64_t columns = whole.size(0), channels = whole.size(1), panel = kernel.panel, panels = (columns + panel - 1) / panel;
  Tensor packed = at::empty({36, panels, channels, panel}, whole.options());
  const float* from = whole.data_ptr<float>();
  float* to = packed.data_ptr<float>();
  at::parallel_for(0, panels, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++)
      for (int64_t c = 0; c < channels; c++)
        kernel.kernelIn(from + (p * panel * channels + c) * 9, channels * 9, std::min(panel, columns - p * panel),
                        to + (p * channels + c) * panel, panels * channels * panel);
  });
  return packed;
}

void requireImages(const Tensor& x) {
  requireFloat(x, "images");
  TORCH_CHECK(x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast), "wanted images [B, C, H, W], channels last");
}

Tensor imagesLike(const Tensor& x, int64_t channels, int64_t height, int64_t width) {
  return at::empty({x.size(0), channels, height, width}, x.options(), at::MemoryFormat::ChannelsLast);
}

const float* otherOf(const Tensor& other, const Tensor& out) {
  if (other.numel() == 0) return nullptr;
  requireFloat(other, "other");
  TORCH_CHECK(other.sizes() == out.sizes() && other.strides() == out.strides(), "the other branch must lie as the result does");
  return other.data_ptr<float>();
}

void requireSteps(int64_t side, int64_t stride, int64_t padding) {
  TORCH_CHECK(side > 0 && stride > 0 && padding >= 0, "wanted a side and a stride from 1 on and a padding from 0 on");
}

// x [R, C] · packed → [R, columns]
Tensor linear(const Tensor& x, const Tensor& packed, int64_t columns, const Tensor& bias, const Tensor& slope,
              const Tensor& other) {
  const DenseKernels& kernel = denseKernels();
  requireFloat(x, "x");
  requirePacked(packed, 3, columns);
  TORCH_CHECK(x.dim() == 2, "wanted x [R, C]");
  const int64_t rows = x.size(0), depth = x.size(1);
  TORCH_CHECK(x.is_contiguous() && packed.size(1) == depth, "wanted x [R, ", packed.size(1), "]");
  const Finish finish = finishOf(bias, slope, columns);
  Tensor out = at::empty({rows, columns}, x.options());
  const float *a = x.data_ptr<float>(), *w = packed.data_ptr<float>(), *add = otherOf(other, out);
  float* to = out.data_ptr<float>();
  // few rows and many weights (a last layer): parts of the columns; else parts of the rows
  const int64_t panel = kernel.panel, panels = packed.size(0), block = 8 * kernel.rows;
  if (rows < 4 * block)
    at::parallel_for(0, panels, 1, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; p++) {
        const int64_t k = p * panel;
        const Finish own = {finish.bias + k, finish.slope ? finish.slope + k : nullptr, false};
        kernel.product(a, depth, rows, w + p * depth * panel, depth, std::min(panel, columns - k), to + k, columns,
                       add ? add + k : nullptr, own);
      }
    });
  else
    at::parallel_for(0, (rows + block - 1) / block, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; part++) {
        const int64_t from = part * block, count = std::min(block, rows - from);
        kernel.product(a + from * depth, depth, count, w, depth, columns, to + from * columns, columns,
                       add ? add + from * columns : nullptr, finish);
      }
    });
  return out;
}

// A convolution with a square kernel: x [B, C, H, W], packed weights [kernel · kernel · C, K] → [B, K, H', W']
Tensor conv(const Tensor& x, const Tensor& packed, int64_t columns, int64_t side, int64_t stride, int64_t padding,
            const Tensor& bias, const Tensor& slope, const Tensor& other) {
  const DenseKernels& kernel = denseKernels();
  requireImages(x);
  requirePacked(packed, 3, columns);
  requireSteps(side, stride, padding);
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const int64_t depth = side * side * channels;
  TORCH_CHECK(packed.size(1) == depth, "weights do not fit to ", channels, " channels");
  const int64_t outHeight = (height + 2 * padding - side) / stride + 1, outWidth = (width + 2 * padding - side) / stride + 1;
  const Finish finish = finishOf(bias, slope, columns);
  Tensor out = imagesLike(x, columns, outHeight, outWidth);
  const float *pixels = x.data_ptr<float>(), *w = packed.data_ptr<float>(), *add = otherOf(other, out);
  float* to = out.data_ptr<float>();
  const int64_t total = batch * outHeight * outWidth;
  const int64_t block = std::max<int64_t>(2, std::min<int64_t>(16, 65536 / (depth * kernel.rows))) * kernel.rows;
  at::parallel_for(0, (total + block - 1) / block, 1, [&](int64_t first, int64_t last) {
    std::vector<float> gathered(block * depth);
    for (int64_t part = first; part < last; part++) {
      const int64_t from = part * block, count = std::min(block, total - from);
      for (int64_t r = 0; r < count; r++) {
        const int64_t index = from + r, image = index / (outHeight * outWidth), place = index % (outHeight * outWidth);
        const int64_t top = place / outWidth * stride - padding, left = place % outWidth * stride - padding;
        float* row = gathered.data() + r * depth;
        for (int64_t i = 0; i < side; i++)
          for (int64_t j = 0; j < side; j++, row += channels) {
            const int64_t y = top + i, z = left + j;
            if (y < 0 || y >= height || z < 0 || z >= width) std::fill(row, row + channels, 0.f);
            else std::copy_n(pixels + ((image * height + y) * width + z) * channels, channels, row);
          }
      }
      kernel.product(gathered.data(), depth, count, w, depth, columns, to + from * columns, columns,
                     add ? add + from * columns : nullptr, finish);
    }
  });
  return out;
}

// Weights of a layer above this share a pass over all tiles; below, each thread takes some tiles through the whole layer.
constexpr int64_t kMuchWeight = 1 << 19;
// Floats of transformed tiles that a thread works on at a time, about what its second-level cache holds.
constexpr int64_t kTileFloats = 1 << 18;
// Tiles of one pass, so that memory does not follow the batch.
constexpr int64_t kTilesOfPass = 512;

// A 3 × 3 convolution of stride 1 and padding 1 by Winograd's tiles: x [B, C, H, W], packed [36, panels, C, panel] → [B, K, H, W];
// bias [9, K]: one for each place at the border (top, middle, bottom × left, middle, right). C and K: multiples of the lanes.
Tensor winogradOf(const Tensor& x, const Tensor& packed, int64_t columns, const Tensor& bias, const Tensor& slope,
                const Tensor& other) {
  const DenseKernels& kernel = denseKernels();
  requireImages(x);
  requirePacked(packed, 4, columns);
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const int64_t panels = packed.size(1), panel = kernel.panel, wide = panels * panel;
  TORCH_CHECK(packed.size(0) == 36 && packed.size(2) == channels && channels % kernel.lanes == 0 && columns % kernel.lanes == 0 && height > 1 && width > 1,
              "Winograd's tiles do not fit to ", channels, " channels, ", columns, " columns or ", height, " × ", width, " pixels");
  TORCH_CHECK(bias.dim() == 2 && bias.size(0) == 9, "wanted a bias for each of nine places");
  const Finish finish = finishOf(bias, slope, columns);
  const int64_t biasStride = bias.size(1);
  Tensor out = imagesLike(x, columns, height, width);
  const float *pixels = x.data_ptr<float>(), *w = packed.data_ptr<float>(), *add = otherOf(other, out);
  float* to = out.data_ptr<float>();
  const int64_t down = (height + 3) / 4, across = (width + 3) / 4, total = batch * down * across;
  const auto takeIn = [&](int64_t index, float* v, int64_t stride) {
    const int64_t image = index / (down * across), place = index % (down * across);
    kernel.tileIn(pixels + image * height * width * channels, height, width, channels, place / across * 4 - 1,
                  place % across * 4 - 1, v, stride);
  };
  const auto bringOut = [&](int64_t index, const float* m, int64_t stride) {
    const int64_t image = index / (down * across), place = index % (down * across), start = image * height * width * columns;
    kernel.tileOut(m, stride, to + start, add ? add + start : nullptr, height, width, columns, biasStride,
                   place / across * 4, place % across * 4, finish);
  };
  const auto multiply = [&](int64_t f, int64_t tiles, int64_t count, const float* v, float* m) {
    kernel.plainProduct(v + f * tiles * channels, channels, count, w + f * channels * wide, channels, wide,
                        m + f * tiles * wide, wide, nullptr, {});
  };
  if (36 * channels * columns < kMuchWeight) {
    const int64_t fitting = kTileFloats / (36 * (channels + wide)) / kernel.rows * kernel.rows;
    const int64_t tiles = std::max(fitting, 2 * kernel.rows);
    at::parallel_for(0, (total + tiles - 1) / tiles, 1, [&](int64_t first, int64_t last) {
      std::unique_ptr<float[]> v(new float[36 * tiles * channels]), m(new float[36 * tiles * wide]);
      for (int64_t part = first; part < last; part++) {
        const int64_t from = part * tiles, count = std::min(tiles, total - from);
        for (int64_t i = 0; i < count; i++) takeIn(from + i, v.get() + i * channels, tiles * channels);
        for (int64_t f = 0; f < 36; f++) multiply(f, tiles, count, v.get(), m.get());
        for (int64_t i = 0; i < count; i++) bringOut(from + i, m.get() + i * wide, tiles * wide);
      }
    });
    return out;
  }
  const int64_t tiles = std::min(total, kTilesOfPass);
  std::unique_ptr<float[]> v(new float[36 * tiles * channels]), m(new float[36 * tiles * wide]);
  for (int64_t from = 0; from < total; from += tiles) {
    const int64_t count = std::min(tiles, total - from);
    at::parallel_for(0, count, 8, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) takeIn(from + i, v.get() + i * channels, tiles * channels);
    });
    at::parallel_for(0, 36, 1, [&](int64_t first, int64_t last) {
      for (int64_t f = first; f < last; f++) multiply(f, tiles, count, v.get(), m.get());
    });
    at::parallel_for(0, count, 8, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) bringOut(from + i, m.get() + i * wide, tiles * wide);
    });
  }
  return out;
}

// A depthwise convolution: x [B, C, H, W], weights [side · side, C] → [B, C, H', W']. C: a multiple of the lanes.
Tensor depthwise(const Tensor& x, const Tensor& weights, int64_t side, int64_t stride, int64_t padding, const Tensor& bias,
                 const Tensor& slope) {
  const DenseKernels& kernel = denseKernels();
  requireImages(x);
  requireFloat(weights, "weights");
  requireSteps(side, stride, padding);
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  TORCH_CHECK(weights.dim() == 2 && weights.is_contiguous() && weights.size(0) == side * side && weights.size(1) == channels && channels % kernel.lanes == 0,
              "weights do not fit to ", channels, " channels");
  const int64_t outHeight = (height + 2 * padding - side) / stride + 1, outWidth = (width + 2 * padding - side) / stride + 1;
  const Finish finish = finishOf(bias, slope, channels);
  Tensor out = imagesLike(x, channels, outHeight, outWidth);
  const float *pixels = x.data_ptr<float>(), *w = weights.data_ptr<float>();
  float* to = out.data_ptr<float>();
  at::parallel_for(0, batch * outHeight, 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; index++)
      kernel.depthwiseRow(pixels + index / outHeight * height * width * channels, height, width, channels,
                          index % outHeight * stride - padding, stride, padding, side, w, channels,
                          to + index * outWidth * channels, outWidth, finish);
  });
  return out;
}

TORCH_LIBRARY_FRAGMENT(mixbct, m) {
  m.def("dense_lanes() -> int", denseLanes);
  m.def("dense_pack(Tensor weights) -> Tensor", pack);
  m.def("dense_pack_winograd(Tensor weights) -> Tensor", packWinograd);
  m.def("dense_linear(Tensor x, Tensor packed, int columns, Tensor bias, Tensor slope, Tensor other) -> Tensor", linear);
  m.def("dense_conv(Tensor x, Tensor packed, int columns, int side, int stride, int padding, Tensor bias, Tensor slope, Tensor other) -> Tensor", conv);
  m.def("dense_winograd(Tensor x, Tensor packed, int columns, Tensor bias, Tensor slope, Tensor other) -> Tensor", winogradOf);
  m.def("dense_depthwise(Tensor x, Tensor weights, int side, int stride, int padding, Tensor bias, Tensor slope) -> Tensor", depthwise);
}

}  // namespace

at::Tensor denseConv3x3(const at::Tensor& x, const at::Tensor& weights) {
  const int64_t columns = weights.size(0);
  const at::Tensor bias = at::zeros({9, roundedUp(columns, denseKernels().panel)}, x.options()), none = at::empty({0}, x.options());
  return winogradOf(x, packWinograd(weights), columns, bias, none, none);
}

// Gᵀ [Σ over tiles of (Bᵀ d B) ⊙ (A g Aᵀ)] G: an element's sum is of one thread and in the order of the tiles, however many threads there are.
at::Tensor denseConv3x3Weights(const at::Tensor& x, const at::Tensor& g) {
  const DenseKernels& kernel = denseKernels();
  requireImages(x);
  requireImages(g);
  const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3), columns = g.size(1);
  const int64_t panel = kernel.panel, wide = roundedUp(columns, panel), panels = wide / panel;
  const int64_t down = (height + 3) / 4, across = (width + 3) / 4, total = batch * down * across;
  const int64_t tiles = std::min(total, 36 * channels * columns < kMuchWeight ? kTilesOfPass / 4 : kTilesOfPass);
  const int64_t row = channels + 16;  // not a power of two: rows would share sets of the cache
  std::unique_ptr<float[]> v(new float[36 * tiles * row]), u(new float[36 * tiles * wide]);
  const at::Tensor sums = at::zeros({36, channels, wide}, x.options());
  at::Tensor out = at::empty({columns, channels, 3, 3}, x.options());
  const float *pixels = x.data_ptr<float>(), *grads = g.data_ptr<float>();
  float *sum = sums.data_ptr<float>(), *to = out.data_ptr<float>();
  for (int64_t from = 0; from < total; from += tiles) {
    const int64_t count = std::min(tiles, total - from);
    at::parallel_for(0, count, 8, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) {
        const int64_t image = (from + i) / (down * across), place = (from + i) % (down * across), start = image * height * width;
        const int64_t top = place / across * 4, left = place % across * 4;
        kernel.tileIn(pixels + start * channels, height, width, channels, top - 1, left - 1, v.get() + i * row, tiles * row);
        kernel.gradTileIn(grads + start * columns, height, width, columns, top, left, u.get() + i * panel, tiles * wide,
                          tiles * panel);
      }
    });
    at::parallel_for(0, 36, 1, [&](int64_t first, int64_t last) {
      for (int64_t f = first; f < last; f++)
        kernel.turnedProduct(v.get() + f * tiles * row, row, channels, u.get() + f * tiles * wide, tiles * panel, panels, count,
                             sum + f * channels * wide, wide);
    });
  }
  at::parallel_for(0, channels, 1, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; c++) kernel.kernelOut(sum + c * wide, channels * wide, columns, to + c * 9, channels * 9);
  });
  return out;
}
