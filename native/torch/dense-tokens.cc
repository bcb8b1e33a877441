// mixbct::dense_normed, dense_attention, dense_mlp: the parts of a transformer that is open for embedding. Each reads tokens and
// writes tokens; what lies between (normed rows, scores, the hidden layer) stays in a core's second-level cache. Rows and heads do not
// influence each other: an image gives the same bytes in whatever batch and by however many threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "dense.h"

namespace {

using at::Tensor;

// Blocks of rows that a thread takes at a time: few enough for its cache, many enough to read the weights seldom.
constexpr int64_t kBlocks = 8;

// `work` on all rows, with room for `floats` of each. Few rows are shared evenly.
void forRows(int64_t rows, int64_t floats, const std::function<void(int64_t from, int64_t count, float* room)>& work) {
  const int64_t threads = at::get_num_threads(), least = denseKernels().rows;
  const int64_t block = std::clamp(roundedUp((rows + threads - 1) / threads, least), least, kBlocks * least);
  at::parallel_for(0, (rows + block - 1) / block, 1, [&](int64_t first, int64_t last) {
    const std::unique_ptr<float[]> room(new float[block * floats]);
    for (int64_t from = first * block; from < std::min(rows, last * block); from += block)
      work(from, std::min(block, rows - from), room.get());
  });
}

int64_t requireRows(const Tensor& x, const Tensor& packed) {
  requireFloat(x, "x");
  TORCH_CHECK(x.dim() == 2 && x.is_contiguous() && x.size(1) == packed.size(1), "wanted x [R, ", packed.size(1), "]");
  return x.size(0);
}

// x [R, C], each row with mean 0 and variance 1, · packed + bias → [R, columns]
Tensor normed(const Tensor& x, double eps, const Tensor& packed, int64_t columns, const Tensor& bias) {
  const DenseKernels& kernel = denseKernels();
  const int64_t rows = requireRows(x, packed), depth = x.size(1);
  const Finish finish = finishOf(bias, Tensor(), columns);
  Tensor out = at::empty({rows, columns}, x.options());
  const float *a = x.data_ptr<float>(), *w = packed.data_ptr<float>();
  float* to = out.data_ptr<float>();
  forRows(rows, depth, [&](int64_t from, int64_t count, float* own) {
    kernel.normRows(a + from * depth, count, depth, eps, own);
    kernel.product(own, depth, count, w, depth, columns, to + from * columns, columns, nullptr, finish);
  });
  return out;
}

// qkv [B, T, 3 · E], the heads of q, k and v one after the other, q · k in bits → [B, T, E]
Tensor attention(const Tensor& qkv, int64_t heads) {
  const DenseKernels& kernel = denseKernels();
  requireFloat(qkv, "qkv");
  TORCH_CHECK(heads > 0 && qkv.dim() == 3 && qkv.is_contiguous() && qkv.size(2) % (3 * heads) == 0, "wanted qkv [B, T, 3 · ", heads, " heads · size]");
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), stride = qkv.size(2), dim = stride / 3, size = dim / heads;
  Tensor out = at::empty({batch, tokens, dim}, qkv.options());
  const float* from = qkv.data_ptr<float>();
  float* to = out.data_ptr<float>();
  at::parallel_for(0, batch * heads, 1, [&](int64_t first, int64_t last) {
    const std::unique_ptr<float[]> scratch(new float[kernel.attendScratch(tokens, size)]);
    for (int64_t i = first; i < last; i++) {
      const int64_t image = i / heads, head = i % heads;
      const float* q = from + image * tokens * stride + head * size;
      kernel.attend(q, q + dim, q + 2 * dim, stride, tokens, size, scratch.get(), to + image * tokens * dim + head * size, dim);
    }
  });
  return out;
}

// x [R, C] + second(relu6(first(x with rows of mean 0 and variance 1))) → [R, C]
Tensor mlp(const Tensor& x, double eps, const Tensor& first, int64_t hidden, const Tensor& firstBias, const Tensor& second,
           const Tensor& secondBias) {
  const DenseKernels& kernel = denseKernels();
  const int64_t rows = requireRows(x, first), width = x.size(1);
  TORCH_CHECK(second.size(1) == hidden, "the second weights take ", second.size(1), " columns, the first ones make ", hidden);
  Finish inner = finishOf(firstBias, Tensor(), hidden);
  inner.relu6 = true;
  const Finish outer = finishOf(secondBias, Tensor(), width);
  Tensor out = at::empty_like(x);
  const float *a = x.data_ptr<float>(), *w1 = first.data_ptr<float>(), *w2 = second.data_ptr<float>();
  float* to = out.data_ptr<float>();
  forRows(rows, width + hidden, [&](int64_t from, int64_t count, float* own) {
    float* between = own + count * width;
    kernel.normRows(a + from * width, count, width, eps, own);
    kernel.product(own, width, count, w1, width, hidden, between, hidden, nullptr, inner);
    kernel.product(between, hidden, count, w2, hidden, width, to + from * width, width, a + from * width, outer);
  });
  return out;
}

TORCH_LIBRARY_FRAGMENT(mixbct, m) {
  m.def("dense_normed(Tensor x, float eps, Tensor packed, int columns, Tensor bias) -> Tensor", normed);
  m.def("dense_attention(Tensor qkv, int heads) -> Tensor", attention);
  m.def("dense_mlp(Tensor x, float eps, Tensor first, int hidden, Tensor first_bias, Tensor second, Tensor second_bias) -> Tensor", mlp);
}

}  // namespace
