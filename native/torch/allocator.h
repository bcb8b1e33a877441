// A caching allocator for CPU tensors: freed blocks are kept in size classes and handed out again, so that a training
// step touches no fresh pages. Measured gain and the reason: docs/performance.md.
#pragma once
#include <cstddef>
#include <cstdint>

namespace mixbct {

struct AllocatorStats {
  bool installed = false;
  int64_t inUseBytes = 0;   // handed out now, rounded up to size classes
  int64_t idleBytes = 0;    // kept for reuse
  int64_t peakBytes = 0;    // largest in use + idle
  int64_t boundBytes = 0;   // idle memory never exceeds this
  int64_t hits = 0;         // requests served from the cache
  int64_t misses = 0;       // requests that went to the system
  int64_t trims = 0;        // times the full cache was emptied
};

// Sets up malloc, from which what is no tensor comes: arrays of JavaScript, and oneDNN's scratch pads.
// * glibc never reuses freed aligned blocks that lie between small live ones (4 GB lost in 300 steps, docs/memory.md), and what is
//   mapped and faulted in anew is slow: freed memory stays in the heap.
// * Its first gigabyte is asked for as huge pages: an array is touched for the first time once in 2 MB, not once in 4 KB.
void tuneMalloc();

// Makes libtorch use the caching allocator for every CPU tensor from now on. Call before the first tensor is made.
void installAllocator(int64_t boundBytes);
AllocatorStats allocatorStats();
// Returns every idle block to the system.
void trimAllocator();

}  // namespace mixbct
