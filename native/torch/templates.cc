// mixbct::pool_rows, pick_products, count_impostors: what protocols of templates do with millions of images and pairs, which is a few
// additions for each number that is read.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "clones.h"

namespace {

using at::Tensor;

constexpr double kNoScore = -std::numeric_limits<double>::infinity();

template <typename T>
T* dataOf(const Tensor& x, int64_t count, const char* name) {
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == c10::CppTypeToScalarType<T>::value && x.is_contiguous() && x.numel() == count,
              name, ": wanted ", count, " elements of another type, without gaps");
  return x.data_ptr<T>();
}

#define FOR_ROWS_OF(T)                                                                                      \
  IN_ORDER void addScaled(double* __restrict sums, const T* __restrict x, double weight, int64_t dim) {     \
    for (int64_t d = 0; d < dim; d++) sums[d] += x[d] * weight;                                             \
  }                                                                                                         \
  ANY_ORDER double squaresOf(const T* __restrict x, int64_t dim) {                                          \
    double sum = 0;                                                                                         \
    for (int64_t d = 0; d < dim; d++) sum += double(x[d]) * x[d];                                           \
    return sum;                                                                                             \
  }
FOR_ROWS_OF(float)
FOR_ROWS_OF(double)

template <typename T>
void poolRowsOf(const Tensor& sums, const Tensor& lengths, const Tensor& x, const Tensor& places, const Tensor& weights) {
  const int64_t rows = x.size(0), dim = x.size(1), templates = sums.size(0);
  const T* from = dataOf<T>(x, rows * dim, "x");
  double *to = dataOf<double>(sums, templates * dim, "sums"), *length = dataOf<double>(lengths, templates, "lengths");
  const int32_t* place = dataOf<int32_t>(places, rows, "places");
  const double* weight = dataOf<double>(weights, rows, "weights");
  for (int64_t i = 0; i < rows; i++, from += dim) {
    TORCH_CHECK(place[i] >= 0 && place[i] < templates, "place ", place[i], " of ", templates);
    addScaled(to + place[i] * dim, from, weight[i], dim);
    length[place[i]] += std::abs(weight[i]) * std::sqrt(squaresOf(from, dim));
  }
}

// x [R, D] float32 or float64, places [R] int32, weights [R] float64: sums [T, D] float64 += x times its weight, lengths [T] float64 += the
// length of that.
void poolRows(const Tensor& sums, const Tensor& lengths, const Tensor& x, const Tensor& places, const Tensor& weights) {
  TORCH_CHECK(x.dim() == 2 && sums.dim() == 2 && sums.size(1) == x.size(1), "wanted sums [T, D] and x [R, D]");
  if (x.scalar_type() == at::kDouble) poolRowsOf<double>(sums, lengths, x, places, weights);
  else poolRowsOf<float>(sums, lengths, x, places, weights);
}

// products [N, M] float64 of rows from `first` on; pairs [K] of a row rowOf[rows[k]] and a column columnOf[columns[k]], int32: scores [K]
// of the pairs in these rows, rounded to a multiple of `grid` and to -1 … 1. A product of exactly 0 with a row or a column that
// is zeros has no score.
void pickProducts(const Tensor& scores, const Tensor& products, int64_t first, const Tensor& rows, const Tensor& rowOf,
                  const Tensor& columns, const Tensor& columnOf, double grid, const Tensor& zeroRow, const Tensor& zeroColumn) {
  TORCH_CHECK(products.dim() == 2, "wanted products [N, M]");
  const int64_t count = scores.numel(), height = products.size(0), width = products.size(1);
  const uint32_t mostRow = rowOf.numel(), mostColumn = columnOf.numel();
  const double* from = dataOf<double>(products, height * width, "products");
  double* to = dataOf<double>(scores, count, "scores");
  const int32_t *row = dataOf<int32_t>(rows, count, "rows"), *column = dataOf<int32_t>(columns, count, "columns");
  const int32_t *rowAt = dataOf<int32_t>(rowOf, mostRow, "rowOf"), *columnAt = dataOf<int32_t>(columnOf, mostColumn, "columnOf");
  const uint8_t *isZeroRow = dataOf<uint8_t>(zeroRow, zeroRow.numel(), "zeroRow"),
                *isZeroColumn = dataOf<uint8_t>(zeroColumn, width, "zeroColumn");
  TORCH_CHECK(first >= 0 && first + height <= zeroRow.numel(), "rows behind the last one");
  const double scale = 1 / grid;
  for (int64_t k = 0; k < count; k++) {
    TORCH_CHECK(uint32_t(row[k]) < mostRow && uint32_t(column[k]) < mostColumn, "pair ", k, " is of a row or column that there is not");
    const int64_t own = rowAt[row[k]] - first, at = columnAt[column[k]];
    if (own < 0 || own >= height) continue;
    TORCH_CHECK(at >= 0 && at < width, "column ", at, " of ", width);
    const double score = std::floor(from[own * width + at] * scale + 0.5) * grid;
    const bool none = score == 0 && (isZeroRow[first + own] || isZeroColumn[at]);
    to[k] = none ? kNoScore : std::min(1.0, std::max(-1.0, score));
  }
}

// genuine [G] float64, ascending; first [S + 1] int32: how many of them lie in lower ones of S equal steps of [-1, 1]. Scores [K] whose
// `same` is 0 are counted between [G + 1] the genuine ones, or in tied [G] at the first that is equal. → how many
int64_t countImpostors(const Tensor& genuine, const Tensor& first, const Tensor& scores, const Tensor& same, const Tensor& between,
                       const Tensor& tied) {
  const int64_t most = genuine.numel(), steps = first.numel() - 1, count = scores.numel();
  const double *value = dataOf<double>(genuine, most, "genuine"), *score = dataOf<double>(scores, count, "scores");
  const int32_t* start = dataOf<int32_t>(first, steps + 1, "first");
  const uint8_t* isSame = dataOf<uint8_t>(same, count, "same");
  double *gap = dataOf<double>(between, most + 1, "between"), *equal = dataOf<double>(tied, most, "tied");
  int64_t impostors = 0;
  for (int64_t i = 0; i < count; i++) {
    if (isSame[i]) continue;
    const double at = std::floor((score[i] + 1) * steps / 2);
    const int64_t step = at >= steps ? steps - 1 : at > 0 ? int64_t(at) : 0;
    const double* low = std::lower_bound(value + start[step], value + start[step + 1], score[i]);
    const int64_t place = low - value;
    if (place < most && *low == score[i]) equal[place]++;
    else gap[place]++;
    impostors++;
  }
  return impostors;
}

TORCH_LIBRARY_FRAGMENT(mixbct, library) {
  library.def("pool_rows(Tensor(a!) sums, Tensor(b!) lengths, Tensor x, Tensor places, Tensor weights) -> ()");
  library.impl("pool_rows", c10::DispatchKey::CPU, TORCH_FN(poolRows));
  library.def("pick_products(Tensor(a!) scores, Tensor products, int first, Tensor rows, Tensor row_of, Tensor columns, Tensor column_of, float grid, Tensor zero_row, Tensor zero_column) -> ()");
  library.impl("pick_products", c10::DispatchKey::CPU, TORCH_FN(pickProducts));
  library.def("count_impostors(Tensor genuine, Tensor first, Tensor scores, Tensor same, Tensor(a!) between, Tensor(b!) tied) -> int");
  library.impl("count_impostors", c10::DispatchKey::CPU, TORCH_FN(countImpostors));
}

}  // namespace
