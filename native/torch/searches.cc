// mixbct::tally_searches: what many probes find in a gallery, gathered from products a block of entries at a time.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "clones.h"
#include "data-of.h"

namespace {

using at::Tensor;
using mixbct::dataOf;

// Probes that meet all entries of a block before the next ones do: what is kept of them stays in the first cache. Mostly no entry is as
// similar to any of a chunk of them as their own ones, and then nothing but their best is touched.
constexpr int64_t kTile = 1024, kChunk = 64;

// Entries whose products are fetched ahead of time: those of a tile are too few for the processor to see that they follow each other.
constexpr int64_t kAhead = 4, kLineBytes = 64;

// Counts and numbers of entries are exact in single precision, too.
constexpr int64_t kMostEntries = 1 << 24;

// What is kept of a tile of probes.
template <typename T>
struct Tile {
  const T* own;                                // similarity to the own entry; NaN: there is none
  T ownEntry[kTile], low[kTile], high[kTile];  // within low … high, similarities are as good as equal to the own one
  T least[kTile];                              // low; infinite where there is no own entry
  T best[kTile], ahead[kTile], equal[kTile];
  bool reached[kTile / kChunk];
};

// raiseBest: one entry and its similarity to `count` probes raise the best of each chunk of which none reaches its least; others are marked.
// tally: the same entry with probes `from` … `to` - 1 → how many of them find it nearly, but not exactly, as similar as their own. A NaN
// is ahead.
#define TALLY_OF(T)                                                                                                   \
  ANY_ORDER void raiseBest(Tile<T>& of, const T* __restrict similarity, int64_t count) {                              \
    for (int64_t from = 0; from < count; from += kChunk) {                                                            \
      const int64_t to = std::min(from + kChunk, count);                                                              \
      T below = 0;                                                                                                    \
      for (int64_t j = from; j < to; j++) below += similarity[j] < of.least[j] ? T(1) : T(0);                         \
      of.reached[from / kChunk] = below < to - from;                                                                  \
      if (below == to - from)                                                                                         \
        for (int64_t j = from; j < to; j++) of.best[j] = similarity[j] > of.best[j] ? similarity[j] : of.best[j];     \
    }                                                                                                                 \
  }                                                                                                                   \
  ANY_ORDER int64_t tally(Tile<T>& of, const T* __restrict similarity, T entry, int64_t from, int64_t to) {           \
    const T most = std::numeric_limits<T>::infinity();                                                                \
    T close = 0;                                                                                                      \
    for (int64_t j = from; j < to; j++) {                                                                             \
      const T value = similarity[j], best = of.best[j], other = of.ownEntry[j] == entry ? 0 : 1;                      \
      const T counted = value == value ? value : most;                                                                \
      of.best[j] = (counted > best) & (other != 0) ? counted : best;                                                  \
      const bool above = !(value <= of.high[j]), tie = value == of.own[j];                                            \
      of.ahead[j] += above | tie ? other : 0;                                                                         \
      of.equal[j] += tie ? other : 0;                                                                                 \
      close += (value >= of.low[j]) & !above & !tie ? other : 0;                                                      \
    }                                                                                                                 \
    return int64_t(close);                                                                                            \
  }
TALLY_OF(float)
TALLY_OF(double)

// What a block of products is of: for each of K entries its row and its number; for each probe its column, if not its own place.
struct Block {
  const int32_t *rows, *entries, *columns;
  int64_t count, width;
};

template <typename T>
Tensor tallyAll(const Tensor& best, const Tensor& ahead, const Tensor& equal, const Tensor& products, const Block& of, const Tensor& own,
                const Tensor& ownEntry, double rounding) {
  const int64_t probes = own.numel(), tiles = (probes + kTile - 1) / kTile;
  const T* owns = dataOf<T>(own, probes, "own");
  T* bests = dataOf<T>(best, probes, "best");
  int32_t *aheads = dataOf<int32_t>(ahead, probes, "ahead"), *equals = dataOf<int32_t>(equal, probes, "equal");
  const int32_t* ownEntries = dataOf<int32_t>(ownEntry, probes, "ownEntry");
  std::vector<std::vector<int32_t>> close(tiles);
  at::parallel_for(0, tiles, 1, [&](int64_t first, int64_t last) {
    std::vector<T> taken(kTile);
    Tile<T> tile;
    for (int64_t t = first; t < last; t++) {
      const int64_t start = t * kTile, count = std::min(kTile, probes - start);
      tile.own = owns + start;
      for (int64_t j = 0; j < count; j++) {
        tile.ownEntry[j] = T(ownEntries[start + j]);
        tile.low[j] = tile.own[j] - T(rounding);
        tile.high[j] = tile.own[j] + T(rounding);
        tile.least[j] = std::isnan(tile.own[j]) ? std::numeric_limits<T>::infinity() : tile.low[j];
        tile.ahead[j] = tile.equal[j] = 0;
      }
      std::copy_n(bests + start, count, tile.best);
      const int64_t column = of.columns ? of.columns[start] : start;
      bool scattered = false;
      for (int64_t j = 0; of.columns && j < count; j++) scattered |= of.columns[start + j] != column + j;
      for (int64_t k = 0; k < of.count; k++) {
        const T *row = products.data_ptr<T>() + of.rows[k] * of.width, *similarity = row + column;
        if (scattered) {
          for (int64_t j = 0; j < count; j++) taken[j] = row[of.columns[start + j]];
          similarity = taken.data();
        } else if (k + kAhead < of.count) {
          const T* later = products.data_ptr<T>() + of.rows[k + kAhead] * of.width + column;
          for (int64_t j = 0; j < count; j += kLineBytes / int64_t(sizeof(T))) __builtin_prefetch(later + j);
        }
        raiseBest(tile, similarity, count);
        for (int64_t from = 0; from < count; from += kChunk) {
          if (!tile.reached[from / kChunk]) continue;
          const int64_t to = std::min(from + kChunk, count);
          if (tally(tile, similarity, T(of.entries[k]), from, to) == 0) continue;
          for (int64_t j = from; j < to; j++) {
            const T value = similarity[j];
            if (!(value >= tile.low[j] && value <= tile.high[j]) || value == tile.own[j] || ownEntries[start + j] == of.entries[k]) continue;
            close[t].insert(close[t].end(), {int32_t(k), int32_t(start + j)});
          }
        }
      }
      std::copy_n(tile.best, count, bests + start);
      for (int64_t j = 0; j < count; j++) {
        aheads[start + j] += int32_t(tile.ahead[j]);
        equals[start + j] += int32_t(tile.equal[j]);
      }
    }
  });
  std::vector<int32_t> all;
  for (const std::vector<int32_t>& some : close) all.insert(all.end(), some.begin(), some.end());
  return at::tensor(all, at::kInt).reshape({-1, 2});
}

void requireBelow(const int32_t* values, int64_t count, int64_t limit, const char* what) {
  for (int64_t i = 0; i < count; i++) TORCH_CHECK(values[i] >= 0 && values[i] < limit, what, " ", values[i], " of ", limit);
}

// products [N, M] of entries and probes, float32 or float64; rows [K] int32: those of the entries `entries` [K] int32; columns [P] int32:
// those of the probes, or none if they are 0 … P - 1. Of each probe, `own` [P] is the similarity to its own entry `ownEntry` [P] int32; NaN
// and -1: it has none.
// best [P]: the largest similarity to another entry than its own; ahead [P] int32 += entries at least as similar as the own one, equal
// [P] int32 += those that are exactly as similar. → [C, 2] int32: which of the K entries is within `rounding` of the own one of
// which probe, but not equal: these are in best, but not counted.
Tensor tallySearches(const Tensor& best, const Tensor& ahead, const Tensor& equal, const Tensor& products, const Tensor& rows,
                     const Tensor& entries, const c10::optional<Tensor>& columns, const Tensor& own, const Tensor& ownEntry, double rounding) {
  TORCH_CHECK(products.device().is_cpu() && products.is_contiguous() && products.dim() == 2, "wanted products [N, M] on the CPU, without gaps");
  const int64_t count = rows.numel(), width = products.size(1), probes = own.numel();
  const Block of{dataOf<int32_t>(rows, count, "rows"), dataOf<int32_t>(entries, count, "entries"),
                 columns ? dataOf<int32_t>(*columns, probes, "columns") : nullptr, count, width};
  requireBelow(of.rows, count, products.size(0), "row");
  requireBelow(of.entries, count, kMostEntries, "entry");
  if (of.columns) requireBelow(of.columns, probes, width, "column");
  TORCH_CHECK(of.columns || probes <= width, "wanted a column for each probe");
  return products.scalar_type() == at::kDouble ? tallyAll<double>(best, ahead, equal, products, of, own, ownEntry, rounding)
                                               : tallyAll<float>(best, ahead, equal, products, of, own, ownEntry, rounding);
}

TORCH_LIBRARY_FRAGMENT(mixbct, library) {
  library.def("tally_searches(Tensor(a!) best, Tensor(b!) ahead, Tensor(c!) equal, Tensor products, Tensor rows, Tensor entries, Tensor? columns, Tensor own, Tensor own_entry, float rounding) -> Tensor");
  library.impl("tally_searches", c10::DispatchKey::CPU, TORCH_FN(tallySearches));
}

}  // namespace
