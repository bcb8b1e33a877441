#include "allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <torch/version.h>

#include <malloc.h>
#include <sys/mman.h>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

namespace mixbct {
namespace {

constexpr size_t kAlignment = 64;            // what libtorch promises for CPU tensors, and one cache line
constexpr size_t kHugePage = size_t{2} << 20;  // blocks this large are aligned to, and asked for as, huge pages
constexpr size_t kKept = size_t{1} << 30;       // that malloc keeps of what is freed
constexpr size_t kTopPad = size_t{64} << 20;    // by which malloc's heap grows at least
constexpr size_t kStepsPerDoubling = 8;      // size classes: at most 1/8 of a block is padding
constexpr size_t kClasses = 64 * kStepsPerDoubling;

// Sits in the cache line before the memory that a tensor sees.
struct alignas(kAlignment) Header {
  size_t total;  // bytes of the whole block, header included
  size_t cls;
};
static_assert(sizeof(Header) == kAlignment);

struct SizeClass {
  size_t index;
  size_t bytes;
};

SizeClass classOf(size_t bytes) {
  const size_t floor = bytes < 512 ? 512 : bytes;
  const size_t doubling = std::bit_width(floor - 1) - 1;  // 2^doubling < floor <= 2^(doubling+1)
  const size_t base = size_t{1} << doubling;
  const size_t step = base / kStepsPerDoubling;
  const size_t steps = (floor - base + step - 1) / step;
  return {doubling * kStepsPerDoubling + steps - 1, base + steps * step};
}

class Pool {
 public:
  void* take(size_t payload) {
    const SizeClass cls = classOf(payload + sizeof(Header));
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto& idle = idle_[cls.index];
      stats.inUseBytes += static_cast<int64_t>(cls.bytes);
      if (!idle.empty()) {
        auto* block = idle.back();
        idle.pop_back();
        stats.hits++;
        stats.idleBytes -= static_cast<int64_t>(cls.bytes);
        return block + 1;
      }
      stats.misses++;
      stats.peakBytes = std::max(stats.peakBytes, stats.inUseBytes + stats.idleBytes);
    }
    void* memory = nullptr;
    const size_t alignment = cls.bytes >= kHugePage ? kHugePage : kAlignment;
    if (posix_memalign(&memory, alignment, cls.bytes) != 0) {
      trim();
      if (posix_memalign(&memory, alignment, cls.bytes) != 0) throw std::bad_alloc();
    }
    if (alignment == kHugePage) madvise(memory, cls.bytes, MADV_HUGEPAGE);
    return new (memory) Header{cls.bytes, cls.index} + 1;
  }

  void give(void* payload) {
    if (payload == nullptr) return;
    auto* block = static_cast<Header*>(payload) - 1;
    const auto bytes = static_cast<int64_t>(block->total);
    std::unique_lock<std::mutex> lock(mutex_);
    stats.inUseBytes -= bytes;
    if (bytes > stats.boundBytes) {
      lock.unlock();
      free(block);
      return;
    }
    // A full cache holds sizes of the past: empty it, so that it fills with the sizes of now.
    if (stats.idleBytes + bytes > stats.boundBytes) releaseIdle();
    stats.idleBytes += bytes;
    idle_[block->cls].push_back(block);
  }

  void trim() {
    const std::lock_guard<std::mutex> lock(mutex_);
    releaseIdle();
  }

  AllocatorStats snapshot() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stats;
  }

  AllocatorStats stats;

 private:
  void releaseIdle() {
    for (auto& idle : idle_) {
      for (auto* block : idle) free(block);
      idle.clear();
    }
    stats.idleBytes = 0;
    stats.trims++;
  }

  std::mutex mutex_;
  std::array<std::vector<Header*>, kClasses> idle_;
};

// Never destroyed: tensors of static storage duration outlive everything else.
Pool& pool() {
  static auto* it = new Pool;
  return *it;
}

void release(void* payload) { pool().give(payload); }

struct CachingAllocator final : c10::Allocator {
#if TORCH_VERSION_MAJOR >= 2
  c10::DataPtr allocate(size_t bytes) override { return make(bytes); }
  void copy_data(void* dest, const void* src, std::size_t count) const override { std::memcpy(dest, src, count); }
#else
  c10::DataPtr allocate(size_t bytes) const override { return make(bytes); }
#endif
  c10::DeleterFnPtr raw_deleter() const override { return &release; }

 private:
  static c10::DataPtr make(size_t bytes) {
    void* memory = bytes == 0 ? nullptr : pool().take(bytes);
    return {memory, memory, &release, c10::Device(c10::DeviceType::CPU)};
  }
};

}  // namespace

void tuneMalloc() {
  static std::once_flag once;  // a worker thread loads the addon again
  std::call_once(once, [] {
    mallopt(M_MMAP_THRESHOLD, int(kKept));
    mallopt(M_TRIM_THRESHOLD, int(kKept));
    mallopt(M_TOP_PAD, int(kTopPad));
    // Space that the heap has from now on, none of it used yet. Where it cannot be had, all is as it was.
    const size_t bytes = kKept - 2 * kTopPad;
    char* memory = static_cast<char*>(malloc(bytes));
    if (memory == nullptr) return;
    const auto skipped = (kHugePage - reinterpret_cast<uintptr_t>(memory) % kHugePage) % kHugePage;
    madvise(memory + skipped, bytes - skipped, MADV_HUGEPAGE);
    free(memory);
  });
}

void installAllocator(int64_t boundBytes) {
  static auto* allocator = new CachingAllocator;
  pool().stats.boundBytes = boundBytes;
  pool().stats.installed = true;
  c10::SetCPUAllocator(allocator, /*priority=*/100);
}

AllocatorStats allocatorStats() { return pool().snapshot(); }
void trimAllocator() { pool().trim(); }

}  // namespace mixbct
