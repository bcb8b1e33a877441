#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

// What happens to a sum before it is written: bias [K], then PReLU's slope [K] or ReLU6. Arrays reach to the end of the last panel.
struct Finish {
  const float* bias;
  const float* slope;
  bool relu6;
};

using Product = void(const float* a, int64_t aStride, int64_t rows, const float* packed, int64_t depth, int64_t columns,
                     float* out, int64_t outStride, const float* other, const Finish& finish);

// The inner loops for one width of vectors.
struct DenseKernels {
  int64_t lanes, panel, rows;
  // a [rows, depth] · packed → out [rows, columns], whole panels as they are; or finished, + other
  Product *plainProduct, *product;
  // The transforms of the weights of one input channel: `columns` kernels of nine, `stride` apart → 36 rows of a panel, `apart` apart
  void (*kernelIn)(const float* weights, int64_t stride, int64_t columns, float* to, int64_t apart);
  void (*tileIn)(const float* x, int64_t height, int64_t width, int64_t channels, int64_t top, int64_t left, float* to,
                 int64_t stride);
  void (*tileOut)(const float* m, int64_t stride, float* out, const float* other, int64_t height, int64_t width,
                  int64_t columns, int64_t biasStride, int64_t top, int64_t left, const Finish& finish);
  // The same for a convolution's gradient by its weights: the gradient of a tile of 4 × 4, products over tiles, and back
  void (*gradTileIn)(const float* g, int64_t height, int64_t width, int64_t columns, int64_t top, int64_t left, float* to,
                     int64_t stride, int64_t panelStride);
  void (*turnedProduct)(const float* a, int64_t aStride, int64_t rows, const float* packed, int64_t panelStride, int64_t panels,
                        int64_t depth, float* out, int64_t outStride);
  void (*kernelOut)(const float* s, int64_t apart, int64_t columns, float* to, int64_t stride);
  void (*depthwiseRow)(const float* x, int64_t height, int64_t width, int64_t channels, int64_t top, int64_t stride,
                       int64_t padding, int64_t side, const float* weights, int64_t weightStride, float* out,
                       int64_t outWidth, const Finish& finish);
  void (*normRows)(const float* x, int64_t rows, int64_t width, float eps, float* out);
  int64_t (*attendScratch)(int64_t tokens, int64_t size);
  void (*attend)(const float* q, const float* k, const float* v, int64_t stride, int64_t tokens, int64_t size, float* scratch,
                 float* out, int64_t outStride);
};

extern const DenseKernels denseAvx512, denseAvx2;

// Those for the widest vectors that this processor has, or that MIXBCT_LANES allows (floats in a vector; 0: none); an error without any.
const DenseKernels& denseKernels();
constexpr int64_t roundedUp(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
void requireFloat(const at::Tensor& x, const char* name);
// Weights of `dims` dimensions that were packed for `columns`: whole panels behind each other
void requirePacked(const at::Tensor& packed, int64_t dims, int64_t columns);
// A bias, and a slope or a tensor without elements, of a product with so many columns
Finish finishOf(const at::Tensor& bias, const at::Tensor& slope, int64_t columns);
// Floats in a vector, 0 where there are no such inner loops.
int64_t denseLanes();
// x [B, C, H, W], channels last, weights [K, C, 3, 3] → [B, K, H, W], stride 1 and padding 1, by Winograd's tiles
at::Tensor denseConv3x3(const at::Tensor& x, const at::Tensor& weights);
// The gradient by its weights: x [B, C, H, W], the gradient g [B, K, H, W], both channels last → [K, C, 3, 3]
at::Tensor denseConv3x3Weights(const at::Tensor& x, const at::Tensor& g);
