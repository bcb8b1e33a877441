// The inner loops of dense.cc for processors with AVX2.
#include <algorithm>
#include <cstdint>

#include "dense.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#pragma GCC target("avx2,fma")
#define LANES 8
#define ROWS 6
#include "dense-kernel.h"
#include "dense-tokens.h"
#pragma GCC pop_options

const DenseKernels denseAvx2 = {LANES, kPanel, ROWS, product<false>, product<true>, kernelIn, tileIn, tileOut, gradTileIn, turnedProduct,
                                  kernelOut, depthwiseRow, normRows, attendScratch, attend};
#endif
