// mixbct::class_means, class_spread, unit_squares: what prototypes, boundaries and masks are made of, for rows that lie class by class. An
// operator of ATen for each step reads and writes all rows in float32; these read a class while it is in the cache, and
// compute in double precision. Each class is one thread's work: results do not depend on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;

#define VECTORIZED                                                       \
  __attribute__((target_clones("avx512f", "avx2", "default"),            \
                 optimize("O3", "no-signed-zeros", "no-trapping-math", "associative-math")))

// 1 / length of a row; 1 for a row of zeros, which stays.
VECTORIZED double unitWeight(const float* __restrict x, int64_t dim) {
  double sum = 0;
  for (int64_t d = 0; d < dim; d++) sum += double(x[d]) * x[d];
  return sum > 0 ? 1 / std::sqrt(sum) : 1;
}

VECTORIZED void addScaled(double* __restrict sums, const float* __restrict x, double weight, int64_t dim) {
  for (int64_t d = 0; d < dim; d++) sums[d] += x[d] * weight;
}

VECTORIZED void addSquares(double* __restrict sums, const float* __restrict x, double weight, int64_t dim) {
  for (int64_t d = 0; d < dim; d++) sums[d] += (x[d] * weight) * (x[d] * weight);
}

VECTORIZED double squaredDistance(const float* __restrict x, double weight, const double* __restrict mean,
                                  const double* __restrict factors, int64_t dim) {
  double sum = 0;
  for (int64_t d = 0; d < dim; d++) {
    const double apart = x[d] * weight - mean[d];
    sum += factors[d] * apart * apart;
  }
  return sum;
}

void requireRows(const Tensor& x) {
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 2 && x.is_contiguous(),
              "wanted rows [R, D] in float32 on the CPU, without gaps");
}

// Where each class starts and the last one ends, [K + 1].
const int32_t* startsOf(const Tensor& x, const Tensor& starts) {
  requireRows(x);
  TORCH_CHECK(starts.scalar_type() == at::kInt && starts.is_contiguous() && starts.numel() > 0,
              "wanted starts [K + 1] in int32");
  const int32_t* start = starts.data_ptr<int32_t>();
  const int64_t classes = starts.numel() - 1;
  for (int64_t k = 0; k < classes; k++) TORCH_CHECK(start[k] <= start[k + 1], "starts must not fall");
  TORCH_CHECK(start[0] == 0 && start[classes] == x.size(0), "starts must go from 0 to the number of rows");
  return start;
}

// x [R, D] float32, starts [K + 1] int32 → means of rows as they are [K, D] float64; zeros where there are none.
Tensor classMeans(const Tensor& x, const Tensor& starts) {
  const int32_t* start = startsOf(x, starts);
  const int64_t dim = x.size(1), classes = starts.numel() - 1;
  Tensor means = at::zeros({classes, dim}, x.options().dtype(at::kDouble));
  const float* rows = x.data_ptr<float>();
  double* meanData = means.data_ptr<double>();
  at::parallel_for(0, classes, 1, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; k++)
      for (int64_t i = start[k]; i < start[k + 1]; i++)
        addScaled(meanData + k * dim, rows + i * dim, 1.0 / (start[k + 1] - start[k]), dim);
  });
  return means;
}

// x [R, D] float32, starts [K + 1] int32, factors [D] float64 → means of unit rows [K, D] (zeros where there are none) and
// distances of unit rows to them [R], squares of differences times `factors`; both float64.
std::tuple<Tensor, Tensor> classSpread(const Tensor& x, const Tensor& starts, const Tensor& factors) {
  const int32_t* start = startsOf(x, starts);
  const int64_t dim = x.size(1), classes = starts.numel() - 1;
  TORCH_CHECK(factors.scalar_type() == at::kDouble && factors.is_contiguous() && factors.numel() == dim,
              "wanted factors [D] in float64");
  const auto options = x.options().dtype(at::kDouble);
  Tensor means = at::zeros({classes, dim}, options), distances = at::empty({x.size(0)}, options);
  const float* rows = x.data_ptr<float>();
  const double* factor = factors.data_ptr<double>();
  double* meanData = means.data_ptr<double>();
  double* distance = distances.data_ptr<double>();
  at::parallel_for(0, classes, 1, [&](int64_t first, int64_t last) {
    std::vector<double> weights;
    for (int64_t k = first; k < last; k++) {
      double* mean = meanData + k * dim;
      const int64_t count = start[k + 1] - start[k];
      const float* own = rows + start[k] * dim;
      weights.resize(count);
      for (int64_t i = 0; i < count; i++) {
        weights[i] = unitWeight(own + i * dim, dim);
        addScaled(mean, own + i * dim, weights[i], dim);
      }
      for (int64_t d = 0; d < dim; d++) mean[d] /= std::max<int64_t>(count, 1);
      for (int64_t i = 0; i < count; i++)
        distance[start[k] + i] = std::sqrt(squaredDistance(own + i * dim, weights[i], mean, factor, dim));
    }
  });
  return {means, distances};
}

// How the rows are cut for summing: by their number alone, so that the sums do not depend on the number of threads.
constexpr int64_t kParts = 16;

// x [R, D] float32 → for each dimension the sum of squares over unit rows [D], float64.
Tensor unitSquares(const Tensor& x) {
  requireRows(x);
  const int64_t count = x.size(0), dim = x.size(1);
  Tensor sums = at::zeros({kParts, dim}, x.options().dtype(at::kDouble));
  const float* rows = x.data_ptr<float>();
  double* sumData = sums.data_ptr<double>();
  at::parallel_for(0, kParts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; part++)
      for (int64_t i = count * part / kParts; i < count * (part + 1) / kParts; i++)
        addSquares(sumData + part * dim, rows + i * dim, unitWeight(rows + i * dim, dim), dim);
  });
  return sums.sum(0);
}

TORCH_LIBRARY_FRAGMENT(mixbct, library) {
  library.def("class_means(Tensor x, Tensor starts) -> Tensor");
  library.impl("class_means", c10::DispatchKey::CPU, TORCH_FN(classMeans));
  library.def("class_spread(Tensor x, Tensor starts, Tensor factors) -> (Tensor, Tensor)");
  library.impl("class_spread", c10::DispatchKey::CPU, TORCH_FN(classSpread));
  library.def("unit_squares(Tensor x) -> Tensor");
  library.impl("unit_squares", c10::DispatchKey::CPU, TORCH_FN(unitSquares));
}

}  // namespace
