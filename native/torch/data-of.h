// What operators of our own read and write: elements of a CPU tensor, checked.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>

namespace mixbct {

// → the `count` elements of `x`. An error names it.
template <typename T>
T* dataOf(const at::Tensor& x, int64_t count, const char* name) {
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == c10::CppTypeToScalarType<T>::value && x.is_contiguous() && x.numel() == count,
              name, ": wanted ", count, " elements of another type, without gaps");
  return x.data_ptr<T>();
}

}  // namespace mixbct
