// Gradients summed over processes, many tensors in one message, while backward still computes others.
#pragma once
#include "group.h"

#include <memory>
#include <mutex>
#include <vector>

namespace mixbct {

// Parameters in buckets of about `bytes`, from the last to the first, as backward finishes them. Once armed, a bucket whose
// gradients are all there is copied and sent; buckets go in their order, which is the same on every process. `finish` sends
// what is left, waits, and puts the mean over the processes in place of each gradient. Unarmed, all goes in `finish`, and in
// the first armed pass too: it counts how many gradients each parameter gets, one for each part of an accumulated batch.
class Buckets final : public Wrapped {
 public:
  Buckets(GroupPointer group, std::vector<at::Tensor> parameters, int64_t bytes);

  void arm();
  void finish();
  size_t count() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the hooks, which live as long as the parameters
};

}  // namespace mixbct
