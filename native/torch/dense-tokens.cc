// mixbct::dense_attention, dense_mlp: the parts of a transformer that is open for embedding. Each reads tokens and writes tokens; what
// lies between (normed rows; q, k and v; scores; the hidden layer) stays in a core's second-level cache. Rows and heads do not
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

// x [B, T, E] → heads of q, k and v one after the other, of rows with mean 0 and variance 1, · packed + bias, q · k in bits;
// what they attend to [B, T, E]
Tensor attention(const Tensor& x, double eps, const Tensor& packed, const Tensor& bias, int64_t heads) {
  const DenseKernels& kernel = denseKernels();
  requireFloat(x, "x");
  TORCH_CHECK(x.dim() == 3, "wanted x [B, T, E]");
  requirePacked(packed, 3, 3 * x.size(2));
  TORCH_CHECK(x.is_contiguous() && x.size(2) == packed.size(1) && heads > 0 && x.size(2) % heads == 0,
              "wanted x [B, T, ", packed.size(1), "] of ", heads, " heads");
  const int64_t batch = x.size(0), tokens = x.size(1), dim = x.size(2), columns = 3 * dim, size = dim / heads;
  const Finish finish = finishOf(bias, Tensor(), columns);
  Tensor out = at::empty_like(x);
  const float *a = x.data_ptr<float>(), *w = packed.data_ptr<float>();
  float* to = out.data_ptr<float>();
  const int64_t scratch = kernel.attendScratch(tokens, size), threads = at::get_num_threads();
  const auto project = [&](int64_t from, int64_t count, float* room, float* qkv) {
    kernel.normRows(a + from * dim, count, dim, eps, room);
    kernel.product(room, dim, count, w, dim, columns, qkv, columns, nullptr, finish);
  };
  const auto attend = [&](const float* qkv, int64_t image, int64_t head, float* room) {
    const float* q = qkv + head * size;
    kernel.attend(q, q + dim, q + 2 * dim, columns, tokens, size, room, to + image * tokens * dim + head * size, dim);
  };
  if (batch % threads == 0 || batch >= 4 * threads) {  // a thread takes an image, whose q, k and v stay in its cache
    at::parallel_for(0, batch, 1, [&](int64_t first, int64_t last) {
      const std::unique_ptr<float[]> qkv(new float[tokens * columns]), room(new float[std::max(tokens * dim, scratch)]);
      for (int64_t image = first; image < last; image++) {
        project(image * tokens, tokens, room.get(), qkv.get());
        for (int64_t head = 0; head < heads; head++) attend(qkv.get(), image, head, room.get());
      }
    });
    return out;
  }
  const std::unique_ptr<float[]> qkv(new float[batch * tokens * columns]);
  forRows(batch * tokens, dim, [&](int64_t from, int64_t count, float* room) { project(from, count, room, qkv.get() + from * columns); });
  at::parallel_for(0, batch * heads, 1, [&](int64_t first, int64_t last) {
    const std::unique_ptr<float[]> room(new float[scratch]);
    for (int64_t i = first; i < last; i++) attend(qkv.get() + i / heads * tokens * columns, i / heads, i % heads, room.get());
  });
  return out;
}

// x [R, C] + second(relu6(first(x with rows of mean 0 and variance 1))) → [R, C]
Tensor mlp(const Tensor& x, double eps, const Tensor& first, int64_t hidden, const Tensor& firstBias, const Tensor& second,
           const Tensor& secondBias) {
  const DenseKernels& kernel = denseKernels();
  requireFloat(x, "x");
  TORCH_CHECK(x.dim() == 2, "wanted x [R, C]");
  const int64_t rows = x.size(0), width = x.size(1);
  requirePacked(first, 3, hidden);
  requirePacked(second, 3, width);
  TORCH_CHECK(x.is_contiguous() && width == first.size(1), "wanted x [R, ", first.size(1), "]");
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
  m.def("dense_attention(Tensor x, float eps, Tensor packed, Tensor bias, int heads) -> Tensor", attention);
  m.def("dense_mlp(Tensor x, float eps, Tensor first, int hidden, Tensor first_bias, Tensor second, Tensor second_bias) -> Tensor", mlp);
}

}  // namespace
