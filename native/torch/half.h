// bfloat16 as the upper half of a float, in loops that compilers turn into vectors: plain integers, which they can load side by side.
#pragma once
#include <cstdint>

using Half = uint16_t;

inline __attribute__((always_inline)) float wide(float x) { return x; }
inline __attribute__((always_inline)) float wide(Half x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x) << 16);
}

inline __attribute__((always_inline)) void put(float& to, float x) { to = x; }
// To the nearest one, to the even of two; NaN stays NaN.
inline __attribute__((always_inline)) void put(Half& to, float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x), rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to = static_cast<Half>(x != x ? 0x7fc0 : rounded);
}
