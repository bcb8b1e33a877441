// mixbct::pool_rows, pick_products, count_impostors: what protocols of templates do with millions of images and pairs, which is a few
// additions for each number that is read.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "clones.h"
#include "data-of.h"

namespace {

using at::Tensor;
using mixbct::dataOf;

constexpr double kNoScore = -std::numeric_limits<double>::infinity();

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

// Numbers of a line of the cache. Sums of the next row's template are fetched ahead of time: they may lie anywhere.
constexpr int64_t kLine = 64 / sizeof(double);

template <typename T>
void poolRowsOf(const Tensor& sums, const Tensor& lengths, const Tensor& x, const Tensor& places, const Tensor& weights) {
  const int64_t rows = x.size(0), dim = x.size(1), templates = sums.size(0);
  const T* from = dataOf<T>(x, rows * dim, "x");
  double *to = dataOf<double>(sums, templates * dim, "sums"), *length = dataOf<double>(lengths, templates, "lengths");
  const int32_t* place = dataOf<int32_t>(places, rows, "places");
  const double* weight = dataOf<double>(weights, rows, "weights");
  for (int64_t i = 0; i < rows; i++, from += dim) {
    TORCH_CHECK(place[i] >= 0 && place[i] < templates, "place ", place[i], " of ", templates);
    if (i + 1 < rows)
      for (int64_t d = 0; d < dim; d += kLine) __builtin_prefetch(to + place[i + 1] * dim + d, 1);
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

// What `pickProducts` reads for each pair. A position in the products is below `height` and `width`.
struct PairPlaces {
  const int32_t *rows, *rowOf, *columns, *columnOf;
  const uint8_t *zeroRow, *zeroColumn;
  int64_t mostRow, mostColumn, first, height, width;
};

// Pairs whose products are fetched ahead of time: they lie anywhere in a block that is larger than the caches.
constexpr int64_t kAhead = 32;

// → the first pair of a row or column that there is not, or `count`
IN_ORDER int64_t pickScores(double* __restrict scores, const double* __restrict products, int64_t count, const PairPlaces& of, double grid) {
  const double scale = 1 / grid;
  for (int64_t k = 0; k < count; k++) {
    if (k + kAhead < count && uint32_t(of.rows[k + kAhead]) < of.mostRow && uint32_t(of.columns[k + kAhead]) < of.mostColumn)
      __builtin_prefetch(products + (of.rowOf[of.rows[k + kAhead]] - of.first) * of.width + of.columnOf[of.columns[k + kAhead]]);
    if (uint32_t(of.rows[k]) >= of.mostRow || uint32_t(of.columns[k]) >= of.mostColumn) return k;
    const int64_t row = of.rowOf[of.rows[k]] - of.first, column = of.columnOf[of.columns[k]];
    if (row < 0 || row >= of.height) continue;
    if (column < 0 || column >= of.width) return k;
    const double score = std::floor(products[row * of.width + column] * scale + 0.5) * grid;
    const bool none = score == 0 && (of.zeroRow[of.first + row] || of.zeroColumn[column]);
    scores[k] = none ? kNoScore : std::min(1.0, std::max(-1.0, score));
  }
  return count;
}

// products [N, M] float64 of rows from `first` on; pairs [K] of a row rowOf[rows[k]] and a column columnOf[columns[k]], int32: scores [K]
// of the pairs in these rows, rounded to a multiple of `grid` and to -1 … 1. A product of exactly 0 with a row or a column that
// is zeros has no score.
void pickProducts(const Tensor& scores, const Tensor& products, int64_t first, const Tensor& rows, const Tensor& rowOf,
                  const Tensor& columns, const Tensor& columnOf, double grid, const Tensor& zeroRow, const Tensor& zeroColumn) {
  TORCH_CHECK(products.dim() == 2, "wanted products [N, M]");
  const int64_t count = scores.numel(), height = products.size(0), width = products.size(1);
  TORCH_CHECK(first >= 0 && first + height <= zeroRow.numel(), "rows behind the last one");
  const PairPlaces places{dataOf<int32_t>(rows, count, "rows"),
                          dataOf<int32_t>(rowOf, rowOf.numel(), "rowOf"),
                          dataOf<int32_t>(columns, count, "columns"),
                          dataOf<int32_t>(columnOf, columnOf.numel(), "columnOf"),
                          dataOf<uint8_t>(zeroRow, zeroRow.numel(), "zeroRow"),
                          dataOf<uint8_t>(zeroColumn, width, "zeroColumn"),
                          rowOf.numel(),
                          columnOf.numel(),
                          first,
                          height,
                          width};
  const double* from = dataOf<double>(products, height * width, "products");
  const int64_t picked = pickScores(dataOf<double>(scores, count, "scores"), from, count, places, grid);
  TORCH_CHECK(picked == count, "pair ", picked, " is of a row or column that there is not");
}

// Values [most] that ascend, and how many of them lie in lower ones of equal steps of [-1, 1].
struct StepTable {
  const double* values;
  const int32_t* first;
  int64_t most, steps;
};

IN_ORDER int64_t countAmong(const StepTable& genuine, const double* __restrict scores, const uint8_t* __restrict same, int64_t count,
                            double* __restrict between, double* __restrict tied) {
  int64_t impostors = 0;
  for (int64_t i = 0; i < count; i++) {
    if (same[i]) continue;
    const double at = std::floor((scores[i] + 1) * genuine.steps / 2);
    const int64_t step = at >= genuine.steps ? genuine.steps - 1 : at > 0 ? int64_t(at) : 0;
    const double* low = std::lower_bound(genuine.values + genuine.first[step], genuine.values + genuine.first[step + 1], scores[i]);
    const int64_t place = low - genuine.values;
    (place < genuine.most && genuine.values[place] == scores[i] ? tied : between)[place]++;
    impostors++;
  }
  return impostors;
}

// genuine [G] float64, ascending; first [S + 1] int32: how many of them lie in lower ones of S equal steps of [-1, 1]. Scores [K] whose
// `same` is 0 are counted between [G + 1] the genuine ones, or in tied [G] at the first that is equal. → how many
int64_t countImpostors(const Tensor& genuine, const Tensor& first, const Tensor& scores, const Tensor& same, const Tensor& between,
                       const Tensor& tied) {
  const int64_t most = genuine.numel(), steps = first.numel() - 1, count = scores.numel();
  const int32_t* starts = dataOf<int32_t>(first, steps + 1, "first");
  TORCH_CHECK(steps > 0 && starts[0] >= 0 && std::is_sorted(starts, starts + steps + 1) && starts[steps] <= most,
              "first: wanted numbers that do not fall, from 0 to ", most);
  return countAmong({dataOf<double>(genuine, most, "genuine"), starts, most, steps},
                    dataOf<double>(scores, count, "scores"), dataOf<uint8_t>(same, count, "same"), count,
                    dataOf<double>(between, most + 1, "between"), dataOf<double>(tied, most, "tied"));
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
