#pragma once
#include <ATen/core/Tensor.h>

// x where positive, slope · x elsewhere: x [B, C, …], slope [C] → the same as x
at::Tensor preluOf(const at::Tensor& x, const at::Tensor& slope);
