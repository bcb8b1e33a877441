// Scripted modules (TorchScript): what src/torch/scripted-module.ts is made of.
#pragma once
#include "handle.h"

namespace mixbct {

void defineScript(napi_env env, napi_value exports);

}  // namespace mixbct
