#pragma once

// A loop that is compiled for each width of vectors, the fitting one taken when the addon is loaded. Its sums may be added in any order.
#define ANY_ORDER                                             \
  __attribute__((target_clones("avx512f", "avx2", "default"), \
                 optimize("O3", "no-signed-zeros", "no-trapping-math", "associative-math")))
// The same, but no product is added before it is rounded: sums are those of a loop that does one after the other.
#define IN_ORDER __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3", "fp-contract=off")))
