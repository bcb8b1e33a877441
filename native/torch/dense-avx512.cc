// The inner loops of dense.cc for processors with AVX-512.
#include <algorithm>
#include <cstdint>

#include "dense.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx512f,fma")
#define LANES 16
#define ROWS 12
#include "dense-kernel.h"
#include "dense-tokens.h"
#pragma GCC pop_options

const DenseKernels denseAvx512 = {LANES, kPanel, ROWS, product<false>, product<true>, kernelIn, tileIn, tileOut, gradTileIn, turnedProduct,
                                  kernelOut, depthwiseRow, normRows, attendScratch, attend};
#endif
