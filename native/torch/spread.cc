// mixbct::class_directions, class_spread, unit_squares, mark_nearest: what prototypes, boundaries and masks are made of, for rows that lie class by
// class. An operator of ATen for each step reads and writes all rows in float32; these read a class while it is in the cache, and
// compute in double precision. Each class is one thread's work: results do not depend on the number of threads. The operators
// _of_file read the rows themselves, each thread its own: to copy them out of the system's cache is most of the work.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "dense.h"

namespace {

using at::Tensor;

// The inner loops, as spread-kernel.h describes them.
struct SpreadKernels {
  void (*unitWeights)(const float* x, int64_t count, int64_t dim, double* weights);
  void (*addScaled)(const float* x, const double* weights, int64_t count, int64_t dim, double* sums);
  void (*addSquares)(const float* x, const double* weights, int64_t count, int64_t dim, double* sums);
  void (*divide)(double* vector, int64_t dim, double by);
  void (*distances)(const float* x, const double* weights, int64_t count, int64_t dim, const double* mean, const double* factors,
                    double* into);
  void (*direction)(const double* vector, int64_t dim, double shortest, float* into);
};

#if defined(__x86_64__)
// Wider vectors gain nothing: to widen eight floats takes twice as long as four.
namespace avx2 {
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx2,fma")
#define VECTOR_BYTES 32
#define WIDEN(from) Doubles(_mm256_cvtps_pd(_mm_loadu_ps(from)))
#include "spread-kernel.h"
#undef VECTOR_BYTES
#undef WIDEN
#pragma GCC pop_options
}  // namespace avx2
#endif

namespace any {
#define VECTOR_BYTES 16
#define WIDEN(from) (Doubles{(from)[0], (from)[1]})
#include "spread-kernel.h"
#undef VECTOR_BYTES
#undef WIDEN
}  // namespace any

const SpreadKernels& kernels() {
#if defined(__x86_64__)
  if (denseLanes() > 0) return avx2::kKernels;
#endif
  return any::kKernels;
}

void requireRows(const Tensor& x) {
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 2 && x.is_contiguous(),
              "wanted rows [R, D] in float32 on the CPU, without gaps");
}

// Floats that are read from a file at a time, if no class has more: they stay in the second or third cache.
constexpr int64_t kPiece = 1 << 17;

// Rows class by class: in memory, or at places of a file.
class Rows {
 public:
  explicit Rows(const Tensor& x) : count(x.size(0)), dim(x.size(1)), memory_(x.data_ptr<float>()) {}

  // A file of float32 that is open for reading: `order` [R] says which rows, row 0 begins at byte `start`; without it they follow each other
  Rows(int64_t fd, int64_t start, int64_t dim, int64_t count, const c10::optional<Tensor>& order)
      : count(count), dim(dim), fd_(int(fd)), start_(start) {
    TORCH_CHECK(dim > 0 && count >= 0, "wanted rows of a file");
    if (!order) return;
    TORCH_CHECK(order->device().is_cpu() && order->scalar_type() == at::kInt && order->is_contiguous() && order->numel() == count,
                "wanted the order of rows in int32 on the CPU");
    order_ = order->data_ptr<int32_t>();
  }

  // Rows from … to - 1; in `room`, whose size grows as needed, if they have to be read
  const float* get(int64_t from, int64_t to, std::vector<float>& room) const {
    if (memory_) return memory_ + from * dim;
    if (int64_t(room.size()) < (to - from) * dim) room.resize((to - from) * dim);
    if (!order_) {
      read(room.data(), from, to - from);
      return room.data();
    }
    for (int64_t i = from; i < to;) {
      int64_t run = 1;
      while (i + run < to && order_[i + run] == order_[i] + run) run++;
      read(room.data() + (i - from) * dim, order_[i], run);
      i += run;
    }
    return room.data();
  }

  const int64_t count, dim;

 private:
  void read(float* into, int64_t row, int64_t rows) const {
    char* to = reinterpret_cast<char*>(into);
    off_t at = start_ + row * dim * int64_t(sizeof(float));
    for (size_t left = rows * dim * sizeof(float); left > 0;) {
      const ssize_t got = pread(fd_, to, left, at);
      if (got < 0 && errno == EINTR) continue;
      TORCH_CHECK(got >= 0, "rows cannot be read: ", std::strerror(errno));
      TORCH_CHECK(got > 0, "the file ends at byte ", at, ", sooner than expected");
      to += got;
      at += got;
      left -= got;
    }
  }

  const float* memory_ = nullptr;
  const int32_t* order_ = nullptr;
  int fd_ = -1;
  int64_t start_ = 0;
};

Rows inMemory(const Tensor& x) {
  requireRows(x);
  TORCH_CHECK(x.size(1) > 0, "wanted rows of one dimension and more");
  return Rows(x);
}

// Where each class starts and the last one ends, [K + 1].
const int32_t* startsOf(int64_t rows, const Tensor& starts) {
  TORCH_CHECK(starts.device().is_cpu() && starts.scalar_type() == at::kInt && starts.is_contiguous() && starts.numel() > 0,
              "wanted starts [K + 1] in int32 on the CPU");
  const int32_t* start = starts.data_ptr<int32_t>();
  const int64_t classes = starts.numel() - 1;
  for (int64_t k = 0; k < classes; k++) TORCH_CHECK(start[k] <= start[k + 1], "starts must not fall");
  TORCH_CHECK(start[0] == 0 && start[classes] == rows, "starts must go from 0 to the number of rows");
  return start;
}

// What a thread computes with; each grows as needed.
struct Room {
  std::vector<float> rows;
  std::vector<double> mean, weights, distances;
  std::vector<int64_t> sorted;
};

// Calls `take(k, rows of class k, room)` for each class, the classes of a piece of rows by one thread.
template <typename Take>
void eachClass(const Rows& rows, const int32_t* start, int64_t classes, const Take& take) {
  std::vector<int64_t> pieces = {0};
  for (int64_t k = 0; k < classes; k++)
    if ((start[k + 1] - start[pieces.back()]) * rows.dim > kPiece && k > pieces.back()) pieces.push_back(k);
  if (classes > 0) pieces.push_back(classes);
  at::parallel_for(0, int64_t(pieces.size()) - 1, 1, [&](int64_t first, int64_t last) {
    Room room;
    room.mean.resize(rows.dim);
    for (int64_t piece = first; piece < last; piece++) {
      const int64_t from = start[pieces[piece]];
      const float* own = rows.get(from, start[pieces[piece + 1]], room.rows);
      for (int64_t k = pieces[piece]; k < pieces[piece + 1]; k++) take(k, own + (start[k] - from) * rows.dim, room);
    }
  });
}

// What a mean is divided by at least, as in normalizeRows of src/torch/ops.ts.
constexpr double kShortest = 1e-12;

// starts [K + 1] int32; into [K, D] float32: the means of rows as they are, divided by their length; zeros where there are none.
void directionsOf(const Rows& rows, const Tensor& starts, const Tensor& into) {
  const int32_t* start = startsOf(rows.count, starts);
  const int64_t dim = rows.dim, classes = starts.numel() - 1;
  requireRows(into);
  TORCH_CHECK(into.size(0) == classes && into.size(1) == dim, "wanted room [K, D] for directions");
  float* to = into.data_ptr<float>();
  eachClass(rows, start, classes, [&](int64_t k, const float* own, Room& room) {
    const int64_t count = start[k + 1] - start[k];
    room.weights.assign(count, 1.0 / count);
    std::fill(room.mean.begin(), room.mean.end(), 0.0);
    kernels().addScaled(own, room.weights.data(), count, dim, room.mean.data());
    kernels().direction(room.mean.data(), dim, kShortest, to + k * dim);
  });
}

const double* factorsOf(const Tensor& factors, int64_t dim) {
  TORCH_CHECK(factors.device().is_cpu() && factors.scalar_type() == at::kDouble && factors.is_contiguous() && factors.numel() == dim,
              "wanted factors [D] in float64 on the CPU");
  return factors.data_ptr<double>();
}

// `count` rows of a class → the mean of unit rows [D], zeros where there are none, and their distances to it [count]: squares of
// differences times `factors` [D].
void spreadOfClass(const float* own, int64_t count, int64_t dim, const double* factors, double* mean, double* distances) {
  double* weights = distances;  // until the distances are known
  std::fill(mean, mean + dim, 0.0);
  kernels().unitWeights(own, count, dim, weights);
  kernels().addScaled(own, weights, count, dim, mean);
  kernels().divide(mean, dim, double(std::max<int64_t>(count, 1)));
  kernels().distances(own, weights, count, dim, mean, factors, distances);
}

// starts [K + 1] int32, factors [D] float64 → means [K, D] and distances [R] as `spreadOfClass`, both float64.
std::tuple<Tensor, Tensor> spreadOf(const Rows& rows, const Tensor& starts, const Tensor& factors) {
  const int32_t* start = startsOf(rows.count, starts);
  const int64_t dim = rows.dim, classes = starts.numel() - 1;
  const double* factor = factorsOf(factors, dim);
  Tensor means = at::empty({classes, dim}, at::kDouble), distances = at::empty({rows.count}, at::kDouble);
  double *mean = means.data_ptr<double>(), *distance = distances.data_ptr<double>();
  eachClass(rows, start, classes, [&](int64_t k, const float* own, Room&) {
    spreadOfClass(own, start[k + 1] - start[k], dim, factor, mean + k * dim, distance + start[k]);
  });
  return {means, distances};
}

// starts [K + 1] int32, factors [D] float64 → 1 for the ceil(keep · n) rows of each class that are nearest to its mean as `spreadOfClass`
// measures, of equal ones the first [R], uint8
Tensor nearestOf(const Rows& rows, const Tensor& starts, const Tensor& factors, double keep) {
  const int32_t* start = startsOf(rows.count, starts);
  const int64_t dim = rows.dim, classes = starts.numel() - 1;
  const double* factor = factorsOf(factors, dim);
  TORCH_CHECK(keep > 0 && keep <= 1, "wanted a share above 0, at most 1");
  Tensor marks = at::empty({rows.count}, at::kByte);
  uint8_t* mark = marks.data_ptr<uint8_t>();
  eachClass(rows, start, classes, [&](int64_t k, const float* own, Room& room) {
    const int64_t count = start[k + 1] - start[k], wanted = std::min(count, int64_t(std::ceil(keep * count)));
    if (count == 0) return;
    room.distances.resize(count);
    spreadOfClass(own, count, dim, factor, room.mean.data(), room.distances.data());
    // bits of numbers from 0 on have their order, those of NaN are above
    const auto bits = [&](int64_t i) { return std::bit_cast<int64_t>(std::abs(room.distances[i])); };
    room.sorted.resize(count);
    for (int64_t i = 0; i < count; i++) room.sorted[i] = bits(i);
    const auto last = room.sorted.begin() + (wanted - 1);
    std::nth_element(room.sorted.begin(), last, room.sorted.end());
    int64_t atEdge = std::count(room.sorted.begin(), last + 1, *last);
    for (int64_t i = 0; i < count; i++) mark[start[k] + i] = bits(i) < *last || (bits(i) == *last && atEdge-- > 0);
  });
  return marks;
}

// How the rows are cut for summing: by their number alone, so that the sums do not depend on the number of threads.
constexpr int64_t kParts = 16;
// Rows that are weighted and then added: they stay in the first cache.
constexpr int64_t kTogether = 32;

// For each dimension the sum of squares over unit rows [D], float64.
Tensor squaresOf(const Rows& rows) {
  const int64_t dim = rows.dim, step = std::max<int64_t>(1, kPiece / dim);
  Tensor sums = at::zeros({kParts, dim}, at::kDouble);
  double* sumData = sums.data_ptr<double>();
  at::parallel_for(0, kParts, 1, [&](int64_t first, int64_t last) {
    Room room;
    room.weights.resize(kTogether);
    for (int64_t part = first; part < last; part++) {
      const int64_t end = rows.count * (part + 1) / kParts;
      for (int64_t from = rows.count * part / kParts; from < end; from += step) {
        const int64_t count = std::min(step, end - from);
        const float* own = rows.get(from, from + count, room.rows);
        for (int64_t i = 0; i < count; i += kTogether) {
          const int64_t some = std::min(kTogether, count - i);
          kernels().unitWeights(own + i * dim, some, dim, room.weights.data());
          kernels().addSquares(own + i * dim, room.weights.data(), some, dim, sumData + part * dim);
        }
      }
    }
  });
  return sums.sum(0);
}

void classDirections(const Tensor& x, const Tensor& starts, const Tensor& into) { directionsOf(inMemory(x), starts, into); }

void classDirectionsOfFile(int64_t fd, int64_t start, int64_t dim, int64_t count, const c10::optional<Tensor>& order,
                           const Tensor& starts, const Tensor& into) {
  directionsOf(Rows(fd, start, dim, count, order), starts, into);
}

std::tuple<Tensor, Tensor> classSpread(const Tensor& x, const Tensor& starts, const Tensor& factors) {
  return spreadOf(inMemory(x), starts, factors);
}

std::tuple<Tensor, Tensor> classSpreadOfFile(int64_t fd, int64_t start, int64_t dim, int64_t count, const c10::optional<Tensor>& order,
                                             const Tensor& starts, const Tensor& factors) {
  return spreadOf(Rows(fd, start, dim, count, order), starts, factors);
}

Tensor markNearest(const Tensor& x, const Tensor& starts, const Tensor& factors, double keep) {
  return nearestOf(inMemory(x), starts, factors, keep);
}

Tensor markNearestOfFile(int64_t fd, int64_t start, int64_t dim, int64_t count, const c10::optional<Tensor>& order,
                         const Tensor& starts, const Tensor& factors, double keep) {
  return nearestOf(Rows(fd, start, dim, count, order), starts, factors, keep);
}

Tensor unitSquares(const Tensor& x) { return squaresOf(inMemory(x)); }

Tensor unitSquaresOfFile(int64_t fd, int64_t start, int64_t dim, int64_t count, const c10::optional<Tensor>& order) {
  return squaresOf(Rows(fd, start, dim, count, order));
}

// Operators on rows in memory take them as x [R, D] float32; those of a file its number, where the first begins, D, R, and which rows
// they are [R] int32, if they do not follow each other.
TORCH_LIBRARY_FRAGMENT(mixbct, library) {
  library.def("class_directions(Tensor x, Tensor starts, Tensor(a!) into) -> ()", TORCH_FN(classDirections));
  library.def("class_directions_of_file(int fd, int start, int dim, int count, Tensor? order, Tensor starts, Tensor(a!) into) -> ()",
              TORCH_FN(classDirectionsOfFile));
  library.def("class_spread(Tensor x, Tensor starts, Tensor factors) -> (Tensor, Tensor)", TORCH_FN(classSpread));
  library.def("class_spread_of_file(int fd, int start, int dim, int count, Tensor? order, Tensor starts, Tensor factors) -> (Tensor, Tensor)",
              TORCH_FN(classSpreadOfFile));
  library.def("unit_squares(Tensor x) -> Tensor", TORCH_FN(unitSquares));
  library.def("unit_squares_of_file(int fd, int start, int dim, int count, Tensor? order) -> Tensor", TORCH_FN(unitSquaresOfFile));
  library.def("mark_nearest(Tensor x, Tensor starts, Tensor factors, float keep) -> Tensor", TORCH_FN(markNearest));
  library.def("mark_nearest_of_file(int fd, int start, int dim, int count, Tensor? order, Tensor starts, Tensor factors, float keep) -> Tensor",
              TORCH_FN(markNearestOfFile));
}

}  // namespace
