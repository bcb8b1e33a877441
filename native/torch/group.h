// c10d's process group under one name: `Backend` since libtorch 2, `ProcessGroup` before.
#pragma once
#include "handle.h"

#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2
#include <torch/csrc/distributed/c10d/Backend.hpp>
#else
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#endif

namespace mixbct {

#if TORCH_VERSION_MAJOR >= 2
using Group = c10d::Backend;
#else
using Group = c10d::ProcessGroup;
#endif
using GroupPointer = c10::intrusive_ptr<Group>;
using Work = c10::intrusive_ptr<c10d::Work>;

// In place, element by element over the processes. Nothing is sent for a tensor without elements.
Work allReduce(Group& group, const at::Tensor& tensor, c10d::ReduceOp op = c10d::ReduceOp::SUM);
// Blocks until the work is done; throws what kept it from being done.
void await(const Work& work);

}  // namespace mixbct
