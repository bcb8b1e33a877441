// Stores, process groups and collectives of c10d: what src/torch/distributed.ts is made of.
#pragma once
#include "handle.h"

namespace mixbct {

void defineDistributed(napi_env env, napi_value exports);

}  // namespace mixbct
