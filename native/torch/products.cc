// mixbct::pack_rows, products_with_rows: similarities of the rows of two matrices, in single or double precision. A sum is taken over
// the dimensions in order, whatever block, place or thread it is in: equal rows have equal products. Libtorch's own products take
// half of the vectors' width on some processors, and round by the place.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dense.h"

namespace {

using at::Tensor;

// Bytes of a row that are multiplied at a time: those of a block of rows and of a panel fit the second cache, sums are written once for
// most dimensions that embeddings have.
constexpr int64_t kDepthBytes = 4096;

#if defined(__x86_64__)
namespace avx512 {
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx512f,fma")
#define VECTOR_BYTES 64
#define ROWS 12
#include "products-kernel.h"
#undef VECTOR_BYTES
#undef ROWS
#pragma GCC pop_options
}  // namespace avx512

namespace avx2 {
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx2,fma")
#define VECTOR_BYTES 32
#define ROWS 6
#include "products-kernel.h"
#undef VECTOR_BYTES
#undef ROWS
#pragma GCC pop_options
}  // namespace avx2
#endif

// Bytes of a vector; 0: the processor has neither AVX-512 nor AVX2.
int64_t vectorBytes() { return denseLanes() * int64_t(sizeof(float)); }

void requireMatrix(const Tensor& x) {
  TORCH_CHECK(x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) && x.dim() == 2 && x.is_contiguous(),
              "wanted rows [N, D] in float32 or float64 on the CPU, without gaps");
}

// Rows b [N, D], or those of order [M] int32 → [panels, D, panel], zeros behind the last row; rows as they are where there are no inner loops
Tensor packRows(const Tensor& b, const c10::optional<Tensor>& order) {
  requireMatrix(b);
  if (order) TORCH_CHECK(order->scalar_type() == at::kInt && order->is_contiguous(), "wanted the order of rows in int32");
  if (vectorBytes() == 0) return order ? b.index_select(0, *order) : b;
  const int64_t rows = b.size(0), count = order ? order->numel() : rows, depth = b.size(1);
  const int64_t panel = 2 * vectorBytes() / b.element_size(), panels = (count + panel - 1) / panel;
  const int32_t* place = order ? order->data_ptr<int32_t>() : nullptr;
  for (int64_t i = 0; place && i < count; i++) TORCH_CHECK(place[i] >= 0 && place[i] < rows, "row ", place[i], " of ", rows);
  Tensor packed = at::empty({panels, depth, panel}, b.options());
  AT_DISPATCH_FLOATING_TYPES(b.scalar_type(), "pack_rows", [&] {
    const scalar_t* from = b.data_ptr<scalar_t>();
    scalar_t* to = packed.data_ptr<scalar_t>();
    at::parallel_for(0, panels, 1, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; p++)
        for (int64_t k = 0; k < panel; k++) {
          const int64_t i = p * panel + k, row = place && i < count ? place[i] : i;
          for (int64_t d = 0; d < depth; d++) to[(p * depth + d) * panel + k] = i < count ? from[row * depth + d] : 0;
        }
    });
  });
  return packed;
}

// Rows of `a` that one thread multiplies at a time: they stay in the second cache.
constexpr int64_t kRows = 216;

// a [N, D], packed rows [M, D] → out [N, M]
void productsWithRows(const Tensor& out, const Tensor& a, const Tensor& packed) {
  requireMatrix(a);
  requireMatrix(out);
  TORCH_CHECK(a.scalar_type() == packed.scalar_type() && a.scalar_type() == out.scalar_type() && out.size(0) == a.size(0) &&
                  packed.size(1) == a.size(1) && packed.is_contiguous(),
              "wanted out [N, M], a [N, D] and packed rows of D dimensions, of one precision");
  if (packed.dim() == 2) {
    at::mm_out(const_cast<Tensor&>(out), a, packed.t());
    return;
  }
#if defined(__x86_64__)
  const int64_t rows = a.size(0), depth = a.size(1), columns = out.size(1);
  if (depth == 0) {
    out.zero_();
    return;
  }
  TORCH_CHECK((columns + packed.size(2) - 1) / packed.size(2) == packed.size(0), "wanted as many columns as rows were packed");
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "products_with_rows", [&] {
    const scalar_t *left = a.data_ptr<scalar_t>(), *right = packed.data_ptr<scalar_t>();
    scalar_t* to = out.data_ptr<scalar_t>();
    const auto multiply = vectorBytes() == 64 ? avx512::products<scalar_t> : avx2::products<scalar_t>;
    // parts of about as many rows; columns are shared out, too, where threads would get different numbers of parts
    const int64_t panels = packed.size(0), panel = packed.size(2), threads = at::get_num_threads();
    const int64_t parts = (rows + kRows - 1) / kRows, shares = std::min(panels, parts % threads == 0 ? 1 : threads);
    at::parallel_for(0, parts * shares, 1, [&](int64_t first, int64_t last) {
      std::vector<scalar_t> room((rows / std::max<int64_t>(parts, 1) + 1) * depth);
      for (int64_t task = first; task < last; task++) {
        const int64_t part = task / shares, from = part * rows / parts, count = (part + 1) * rows / parts - from, share = task % shares;
        const int64_t start = share * panels / shares * panel, end = std::min((share + 1) * panels / shares * panel, columns);
        multiply(left + from * depth, count, right + start * depth, depth, end - start, to + from * columns + start, columns, room.data());
      }
    });
  });
#endif
}

// a, b [N, D] and [M, D], rowsOfA, rowsOfB [K] int32 → [K]: the products of these rows, as `productsWithRows` has them
Tensor rowProducts(const Tensor& a, const Tensor& rowsOfA, const Tensor& b, const Tensor& rowsOfB) {
  requireMatrix(a);
  requireMatrix(b);
  const int64_t count = rowsOfA.numel(), depth = a.size(1);
  TORCH_CHECK(a.scalar_type() == b.scalar_type() && b.size(1) == depth && rowsOfB.numel() == count && rowsOfA.scalar_type() == at::kInt &&
                  rowsOfB.scalar_type() == at::kInt && rowsOfA.is_contiguous() && rowsOfB.is_contiguous(),
              "wanted rows of one precision and dimension, and as many of one side as of the other");
  const int32_t *left = rowsOfA.data_ptr<int32_t>(), *right = rowsOfB.data_ptr<int32_t>();
  for (int64_t i = 0; i < count; i++)
    TORCH_CHECK(left[i] >= 0 && left[i] < a.size(0) && right[i] >= 0 && right[i] < b.size(0), "rows ", left[i], " and ", right[i]);
  if (vectorBytes() == 0) return at::mul(a.index_select(0, rowsOfA), b.index_select(0, rowsOfB)).sum(1);
  Tensor out = at::empty({count}, a.options());
#if defined(__x86_64__)
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "row_products", [&] {
    const scalar_t *from = a.data_ptr<scalar_t>(), *others = b.data_ptr<scalar_t>();
    scalar_t* to = out.data_ptr<scalar_t>();
    at::parallel_for(0, count, 64, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) to[i] = avx2::product(from + left[i] * depth, others + right[i] * depth, depth);
    });
  });
#endif
  return out;
}

TORCH_LIBRARY_FRAGMENT(mixbct, library) {
  library.def("row_products(Tensor a, Tensor rows_of_a, Tensor b, Tensor rows_of_b) -> Tensor");
  library.impl("row_products", c10::DispatchKey::CPU, TORCH_FN(rowProducts));
  library.def("pack_rows(Tensor b, Tensor? order) -> Tensor");
  library.impl("pack_rows", c10::DispatchKey::CPU, TORCH_FN(packRows));
  library.def("products_with_rows(Tensor(a!) out, Tensor a, Tensor packed) -> ()");
  library.impl("products_with_rows", c10::DispatchKey::CPU, TORCH_FN(productsWithRows));
}

}  // namespace
