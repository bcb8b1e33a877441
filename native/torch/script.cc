#include "script.h"

#include "convert.h"
#include "surface.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/autocast.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>
#include <torch/csrc/jit/serialization/import.h>

#include <sstream>
#include <unordered_set>

namespace mixbct {
namespace {

struct ScriptSlot final : Wrapped {
  explicit ScriptSlot(torch::jit::Module m) : Wrapped(Kind::Script), module(std::move(m)) {}
  torch::jit::Module module;
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  std::vector<std::pair<std::string, at::Tensor>> buffers;
  // By path: the module itself has none.
  std::vector<std::pair<std::string, torch::jit::Module>> parts;
  // Whether a part stays in evaluation mode.
  std::vector<bool> frozen;
  bool open = true;
};

ScriptSlot& scriptAt(napi_env env, const Args& args) {
  auto& slot = handleOf<ScriptSlot>(env, args.at(0), Kind::Script, "scripted module");
  if (!slot.open) throw BadArgument("this scripted module is closed");
  return slot;
}

// Runs the operators of a program one by one, as PyTorch's eager mode does: fused and otherwise optimised programs give other
// last bits, and only after some passes, so that a resumed run would take other steps.
class WithoutOptimizations {
 public:
  WithoutOptimizations() : before_(torch::jit::getGraphExecutorOptimize()) { torch::jit::setGraphExecutorOptimize(false); }
  ~WithoutOptimizations() { torch::jit::setGraphExecutorOptimize(before_); }

 private:
  bool before_;
};

void setMode(const torch::jit::Module& part, bool train) {
  if (const auto slot = part._ivalue()->type()->findAttributeSlot("training")) part._ivalue()->setSlot(*slot, train);
}

// scriptLoad(bytes, device): reads a program and its tensors from the bytes of its file.
napi_value scriptLoad(napi_env env, const Args& args) {
  bool typed = false;
  check(napi_is_typedarray(env, args.at(0), &typed));
  if (!typed) throw BadArgument("wanted bytes");
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  check(napi_get_typedarray_info(env, args.at(0), &type, &length, &data, nullptr, nullptr));
  if (type != napi_uint8_array) throw BadArgument("wanted bytes");
  std::istringstream stream(std::string(static_cast<const char*>(data), length));
  // The dispatcher casts each operator. A second cast written into the program would only cost time.
  torch::jit::setAutocastMode(false);
  auto slot = std::make_unique<ScriptSlot>(torch::jit::load(stream, c10::Device(textOf(env, args.at(1)))));
  std::unordered_set<const void*> seen;  // tied tensors are one
  for (const auto& entry : slot->module.named_parameters())
    if (seen.insert(entry.value.unsafeGetTensorImpl()).second) slot->parameters.emplace_back(entry.name, entry.value);
  for (const auto& entry : slot->module.named_buffers())
    if (seen.insert(entry.value.unsafeGetTensorImpl()).second) slot->buffers.emplace_back(entry.name, entry.value);
  for (const auto& entry : slot->module.named_modules()) slot->parts.emplace_back(entry.name, entry.value);
  slot->frozen.resize(slot->parts.size());
  return handOver(env, std::move(slot));
}

// scriptState(module, buffers): [name, tensor] of each parameter, or of each buffer. The tensors are the module's own.
napi_value scriptState(napi_env env, const Args& args) {
  auto& slot = scriptAt(env, args);
  const auto& entries = flagOf(env, args, 1) ? slot.buffers : slot.parameters;
  napi_value array;
  check(napi_create_array_with_length(env, entries.size(), &array));
  for (size_t i = 0; i < entries.size(); i++) {
    napi_value pair;
    check(napi_create_array_with_length(env, 2, &pair));
    check(napi_set_element(env, pair, 0, toJs(env, entries[i].first)));
    check(napi_set_element(env, pair, 1, wrap(env, entries[i].second)));
    check(napi_set_element(env, array, i, pair));
  }
  return array;
}

// scriptParts(module): the paths of its submodules.
napi_value scriptParts(napi_env env, const Args& args) {
  auto& slot = scriptAt(env, args);
  napi_value array;
  check(napi_create_array_with_length(env, slot.parts.size(), &array));
  for (size_t i = 0; i < slot.parts.size(); i++) check(napi_set_element(env, array, i, toJs(env, slot.parts[i].first)));
  return array;
}

// scriptFreeze(module, index): a part, by its place in scriptParts, stays in evaluation mode.
napi_value scriptFreeze(napi_env env, const Args& args) {
  auto& slot = scriptAt(env, args);
  slot.frozen.at(static_cast<size_t>(integerOf(env, args.at(1), "index"))) = true;
  return undefined(env);
}

// scriptForward(module, x, train, again): its one result. With `again`, buffers are as before afterwards: an earlier pass has
// updated them.
napi_value scriptForward(napi_env env, const Args& args) {
  auto& slot = scriptAt(env, args);
  const at::Tensor x = tensorOf(env, args.at(1), "x");
  const bool train = flagOf(env, args, 2);
  for (size_t i = 0; i < slot.parts.size(); i++) setMode(slot.parts[i].second, train && !slot.frozen[i]);
  std::vector<at::Tensor> before;
  if (flagOf(env, args, 3)) {
    const c10::AutoGradMode guard(false);
    for (const auto& [name, buffer] : slot.buffers) before.push_back(buffer.clone());
  }
  const WithoutOptimizations guard;
  const c10::IValue result = slot.module.forward({x});
  for (size_t i = 0; i < before.size(); i++) {
    const c10::AutoGradMode guard(false);
    slot.buffers[i].second.variable_data().copy_(before[i]);  // autograd may have saved the buffer itself
  }
  if (!result.isTensor()) throw BadArgument("it returns " + result.type()->repr_str() + ", wanted one tensor");
  return wrap(env, result.toTensor());
}

napi_value scriptClose(napi_env env, const Args& args) {
  auto& slot = scriptAt(env, args);
  slot.open = false;
  slot.parameters.clear();
  slot.buffers.clear();
  slot.parts.clear();
  slot.module = torch::jit::Module();
  return undefined(env);
}

}  // namespace

void defineScript(napi_env env, napi_value exports) {
  define<scriptLoad>(env, exports, "scriptLoad");
  define<scriptState>(env, exports, "scriptState");
  define<scriptParts>(env, exports, "scriptParts");
  define<scriptFreeze>(env, exports, "scriptFreeze");
  define<scriptForward>(env, exports, "scriptForward");
  define<scriptClose>(env, exports, "scriptClose");
}

}  // namespace mixbct
