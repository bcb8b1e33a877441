// Typed arrays as tensors, and back: what src/torch/tensor.ts is made of.
#pragma once
#include "handle.h"

namespace mixbct {

void defineArrays(napi_env env, napi_value exports);

}  // namespace mixbct
