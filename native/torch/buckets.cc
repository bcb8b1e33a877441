#include "buckets.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace mixbct {

using torch::autograd::variable_list;

struct Buckets::State {
  struct Bucket {
    std::vector<size_t> members;
    at::Tensor flat;      // gradients one after the other, then for each member 1 if this process has one
    size_t waiting = 0;   // members whose gradient is not there yet
    Work work;
  };
  using Accumulator = decltype(torch::autograd::impl::grad_accumulator(std::declval<at::Tensor>()));

  GroupPointer group;
  std::vector<at::Tensor> parameters;
  std::vector<Accumulator> accumulators;  // a parameter holds its own only weakly, and the hook hangs on it
  std::vector<size_t> bucketOf;
  std::vector<int> expected;  // gradients that a parameter gets in a pass, as the first pass has counted them
  std::vector<int> seen;
  std::vector<Bucket> buckets;
  size_t next = 0;  // the bucket to be sent next
  bool armed = false;
  bool counted = false;
  std::mutex mutex;

  explicit State(GroupPointer g) : group(std::move(g)) {}

  void begin() {
    std::fill(seen.begin(), seen.end(), 0);
    for (auto& bucket : buckets) bucket.waiting = bucket.members.size();
    next = 0;
  }

  void ready(size_t parameter) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!armed) return;
    seen[parameter]++;
    if (!counted) return;
    TORCH_CHECK(seen[parameter] <= expected[parameter] || expected[parameter] == 0,
                "gradient buckets: a parameter got more gradients than in the first pass, whose sum has been sent");
    if (seen[parameter] != expected[parameter]) return;
    buckets[bucketOf[parameter]].waiting--;
    while (next < buckets.size() && buckets[next].waiting == 0) send(buckets[next++]);
  }

  void send(Bucket& bucket) {
    const c10::NoGradGuard noGrad;
    int64_t at = 0;
    const auto total = bucket.flat.numel() - static_cast<int64_t>(bucket.members.size());
    for (size_t i = 0; i < bucket.members.size(); i++) {
      const auto& parameter = parameters[bucket.members[i]];
      const auto& gradient = parameter.grad();
      auto place = bucket.flat.narrow(0, at, parameter.numel()).view(parameter.sizes());
      gradient.defined() ? place.copy_(gradient) : place.zero_();
      bucket.flat.narrow(0, total + i, 1).fill_(gradient.defined() ? 1 : 0);
      at += parameter.numel();
    }
    bucket.work = allReduce(*group, bucket.flat);
  }

  void receive(Bucket& bucket) {
    const c10::NoGradGuard noGrad;
    await(bucket.work);
    bucket.work.reset();
    const auto total = bucket.flat.numel() - static_cast<int64_t>(bucket.members.size());
    auto sums = bucket.flat.narrow(0, 0, total).div_(group->getSize());
    int64_t at = 0;
    for (size_t i = 0; i < bucket.members.size(); i++) {
      auto& parameter = parameters[bucket.members[i]];
      const auto mean = sums.narrow(0, at, parameter.numel()).view(parameter.sizes());
      at += parameter.numel();
      auto& gradient = parameter.mutable_grad();
      if (gradient.defined())
        gradient.copy_(mean);
      else if (bucket.flat[total + i].item<double>() > 0)  // another process has one
        gradient = mean.clone();
    }
  }
};

namespace {

struct Hook final : torch::autograd::FunctionPostHook {
  explicit Hook(std::function<void()> body) : body_(std::move(body)) {}
  variable_list operator()(const variable_list& outputs, const variable_list&) override {
    body_();
    return outputs;
  }
  std::function<void()> body_;
};

}  // namespace

Buckets::Buckets(GroupPointer group, std::vector<at::Tensor> parameters, int64_t bytes)
    : Wrapped(Kind::Buckets), state_(std::make_shared<State>(std::move(group))) {
  auto& s = *state_;
  s.parameters = std::move(parameters);
  s.bucketOf.resize(s.parameters.size());
  s.seen.resize(s.parameters.size());
  s.expected.resize(s.parameters.size());
  int64_t filled = 0;
  for (size_t i = s.parameters.size(); i-- > 0;) {
    const auto& parameter = s.parameters[i];
    TORCH_CHECK(parameter.defined() && parameter.is_leaf() && parameter.requires_grad(), "parameter ", i, " has no gradient to be averaged");
    const bool fits = !s.buckets.empty() && filled < bytes &&
                      s.parameters[s.buckets.back().members[0]].options().type_equal(parameter.options());
    if (!fits) {
      s.buckets.emplace_back();
      filled = 0;
    }
    s.buckets.back().members.push_back(i);
    s.bucketOf[i] = s.buckets.size() - 1;
    filled += static_cast<int64_t>(parameter.nbytes());
    s.accumulators.push_back(torch::autograd::impl::grad_accumulator(parameter));
    std::weak_ptr<State> weak = state_;
    s.accumulators.back()->add_post_hook(std::make_unique<Hook>([weak, i] {
      if (const auto state = weak.lock()) state->ready(i);
    }));
  }
  for (auto& bucket : s.buckets) {
    int64_t total = static_cast<int64_t>(bucket.members.size());
    for (const size_t i : bucket.members) total += s.parameters[i].numel();
    bucket.flat = at::empty({total}, s.parameters[bucket.members[0]].options().requires_grad(false));
  }
}

void Buckets::arm() {
  state_->begin();
  state_->armed = true;
}

void Buckets::finish() {
  auto& s = *state_;
  if (!s.armed) s.begin();
  if (s.armed && !s.counted) {
    s.expected = s.seen;
    s.counted = true;
  }
  s.armed = false;
  while (s.next < s.buckets.size()) s.send(s.buckets[s.next++]);
  for (auto& bucket : s.buckets) s.receive(bucket);
}

size_t Buckets::count() const { return state_->buckets.size(); }

}  // namespace mixbct
