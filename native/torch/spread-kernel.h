// The inner loops of spread.cc, compiled once for each width of vectors: the including file sets VECTOR_BYTES, WIDEN (as many floats
// from an address as such a vector has doubles) and the target. Rows x [count, dim] float32; sums over rows are taken in their order.

constexpr int64_t kLanes = VECTOR_BYTES / sizeof(double);
typedef double Doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef double LooseDoubles __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(double)), may_alias));

inline const LooseDoubles& doubles(const double* from) { return *reinterpret_cast<const LooseDoubles*>(from); }
inline LooseDoubles& doubles(double* from) { return *reinterpret_cast<LooseDoubles*>(from); }

// Sums over dimensions that run side by side: a processor adds several vectors before the first sum is known.
constexpr int kSums = 4;
// Vectors whose sums stay in registers while rows pass.
constexpr int kTile = 8;

// The sum over all dimensions: `add(d, sum)` adds those of a vector, `one(d)` is a single one.
template <typename Add, typename One>
__attribute__((always_inline)) inline double sumOver(int64_t dim, const Add& add, const One& one) {
  Doubles sums[kSums] = {};
  int64_t d = 0;
  for (; d + kSums * kLanes <= dim; d += kSums * kLanes)
#pragma GCC unroll 4
    for (int k = 0; k < kSums; k++) add(d + k * kLanes, sums[k]);
  const Doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double sum = 0;
#pragma GCC unroll 8
  for (int64_t i = 0; i < kLanes; i++) sum += all[i];
  for (; d < dim; d++) sum += one(d);
  return sum;
}

// 1 / length of each row; 1 for a row of zeros, which stays. → weights [count]
void unitWeights(const float* x, int64_t count, int64_t dim, double* weights) {
  for (int64_t i = 0; i < count; i++, x += dim) {
    const double squares = sumOver(
        dim,
        [&](int64_t d, Doubles& sum) {
          const Doubles v = WIDEN(x + d);
          sum += v * v;
        },
        [&](int64_t d) { return double(x[d]) * x[d]; });
    weights[i] = squares > 0 ? 1 / std::sqrt(squares) : 1;
  }
}

// Adds weighted rows, or their squares, to sums [dim].
template <bool kSquared>
void addRows(const float* x, const double* weights, int64_t count, int64_t dim, double* sums) {
  int64_t d = 0;
  for (; d + kTile * kLanes <= dim; d += kTile * kLanes) {
    Doubles own[kTile];
#pragma GCC unroll 8
    for (int t = 0; t < kTile; t++) own[t] = doubles(sums + d + t * kLanes);
    const float* from = x + d;
    for (int64_t i = 0; i < count; i++, from += dim)
#pragma GCC unroll 8
      for (int t = 0; t < kTile; t++) {
        const Doubles v = WIDEN(from + t * kLanes) * weights[i];
        own[t] += kSquared ? v * v : v;
      }
#pragma GCC unroll 8
    for (int t = 0; t < kTile; t++) doubles(sums + d + t * kLanes) = own[t];
  }
  if (d < dim)
    for (int64_t i = 0; i < count; i++, x += dim)
      for (int64_t k = d; k < dim; k++) {
        const double v = x[k] * weights[i];
        sums[k] += kSquared ? v * v : v;
      }
}

void divide(double* vector, int64_t dim, double by) {
  for (int64_t d = 0; d < dim; d++) vector[d] /= by;
}

// The distance of each weighted row to mean [dim], squares of differences times `factors` [dim]. → into [count], which may be `weights`
void distances(const float* x, const double* weights, int64_t count, int64_t dim, const double* mean, const double* factors, double* into) {
  for (int64_t i = 0; i < count; i++, x += dim) {
    const double weight = weights[i];
    into[i] = std::sqrt(sumOver(
        dim,
        [&](int64_t d, Doubles& sum) {
          const Doubles apart = WIDEN(x + d) * weight - doubles(mean + d);
          sum += doubles(factors + d) * apart * apart;
        },
        [&](int64_t d) {
          const double apart = x[d] * weight - mean[d];
          return factors[d] * apart * apart;
        }));
  }
}

// A vector divided by its length, or by `shortest` where it is shorter. → into [dim]
void direction(const double* vector, int64_t dim, double shortest, float* into) {
  const double squares = sumOver(
      dim,
      [&](int64_t d, Doubles& sum) {
        const Doubles v = doubles(vector + d);
        sum += v * v;
      },
      [&](int64_t d) { return vector[d] * vector[d]; });
  const double length = std::max(std::sqrt(squares), shortest);
  for (int64_t d = 0; d < dim; d++) into[d] = float(vector[d] / length);
}

constexpr SpreadKernels kKernels = {unitWeights, addRows<false>, addRows<true>, divide, distances, direction};
