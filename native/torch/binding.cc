// The addon's surface: what src/torch/native.ts types. Everything else of libtorch is reached through `call`.
#include "allocator.h"
#include "arrays.h"
#include "convert.h"
#include "distributed.h"
#include "handle.h"
#include "script.h"
#include "surface.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include <dlfcn.h>
#include <malloc.h>
#include <memory>

namespace mixbct {
namespace {

napi_value arrayOf(napi_env env, const std::vector<at::Tensor>& tensors) {
  napi_value array;
  check(napi_create_array_with_length(env, tensors.size(), &array));
  for (size_t i = 0; i < tensors.size(); i++) check(napi_set_element(env, array, i, wrap(env, tensors[i])));
  return array;
}

// --- operators ------------------------------------------------------------------------------------------------------

std::vector<std::unique_ptr<Operator>>& operators() {
  static auto* all = new std::vector<std::unique_ptr<Operator>>;
  return *all;
}

// op(name, overload) → index for call(), or -1 if this libtorch has no such operator. A name without a namespace is ATen's.
napi_value op(napi_env env, const Args& args) {
  const std::string name = textOf(env, args.at(0));
  const std::string full = name.find("::") == std::string::npos ? "aten::" + name : name;
  const auto found = c10::Dispatcher::singleton().findSchema({full, textOf(env, args.at(1))});
  if (!found) return toJs(env, int64_t{-1});
  operators().push_back(std::make_unique<Operator>(*found));
  return toJs(env, static_cast<int64_t>(operators().size() - 1));
}

napi_value call(napi_env env, const Args& args) {
  uint32_t index = 0;
  check(napi_get_value_uint32(env, args.at(0), &index));
  return callOperator(env, *operators().at(index), Args(args.begin() + 1, args.end()));
}

napi_value schemas(napi_env env, const Args&) {
  auto& dispatcher = c10::Dispatcher::singleton();
  std::vector<std::string> lines;
  for (const auto& name : dispatcher.getAllOpNames()) {
    if (name.name.rfind("aten::", 0) != 0) continue;
    if (const auto found = dispatcher.findSchema(name)) lines.push_back(c10::toString(found->schema()));
  }
  napi_value array;
  check(napi_create_array_with_length(env, lines.size(), &array));
  for (size_t i = 0; i < lines.size(); i++) check(napi_set_element(env, array, i, toJs(env, lines[i])));
  return array;
}

// --- what a tensor is ------------------------------------------------------------------------------------------------

napi_value shape(napi_env env, const Args& args) { return toJs(env, tensorOf(env, args.at(0), "shape").sizes()); }
napi_value strides(napi_env env, const Args& args) { return toJs(env, tensorOf(env, args.at(0), "strides").strides()); }
napi_value dtype(napi_env env, const Args& args) {
  return toJs(env, nameOfDtype(tensorOf(env, args.at(0), "dtype").scalar_type()));
}
napi_value device(napi_env env, const Args& args) { return toJs(env, tensorOf(env, args.at(0), "device").device().str()); }
napi_value numel(napi_env env, const Args& args) { return toJs(env, tensorOf(env, args.at(0), "numel").numel()); }

napi_value item(napi_env env, const Args& args) {
  const auto& tensor = tensorOf(env, args.at(0), "item");
  if (tensor.numel() != 1) throw BadArgument("item: wanted a tensor of one element, got " + shapeText(tensor.sizes()));
  const auto scalar = tensor.item();
  return scalar.isFloatingPoint() ? toJs(env, scalar.toDouble()) : toJs(env, scalar.to<int64_t>());
}

// --- lifetime -------------------------------------------------------------------------------------------------------

napi_value disposeTensor(napi_env env, const Args& args) {
  auto* slot = slotOf(env, args.at(0));
  if (slot == nullptr) throw BadArgument("dispose: wanted a Tensor");
  dispose(env, slot);
  return undefined(env);
}
napi_value isDisposed(napi_env env, const Args& args) {
  auto* slot = slotOf(env, args.at(0));
  return toJs(env, slot != nullptr && !slot->live);
}
napi_value isTensor(napi_env env, const Args& args) { return toJs(env, slotOf(env, args.at(0)) != nullptr); }
napi_value live(napi_env env, const Args&) { return toJs(env, liveTensors()); }
napi_value scopeOpen(napi_env env, const Args&) {
  openScope();
  return undefined(env);
}
napi_value scopeClose(napi_env env, const Args& args) {
  std::vector<Slot*> keep;
  uint32_t length = 0;
  check(napi_get_array_length(env, args.at(0), &length));
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    check(napi_get_element(env, args[0], i, &element));
    if (auto* slot = slotOf(env, element)) keep.push_back(slot);
  }
  closeScope(env, keep);
  return undefined(env);
}
napi_value keep(napi_env env, const Args& args) {
  auto* slot = slotOf(env, args.at(0));
  if (slot == nullptr) throw BadArgument("keep: wanted a Tensor");
  tensorOf(env, args.at(0), "keep");  // refuses a disposed one
  escapeScope(slot);
  return args[0];
}

// --- autograd -------------------------------------------------------------------------------------------------------

napi_value requiresGrad(napi_env env, const Args& args) {
  return toJs(env, tensorOf(env, args.at(0), "requiresGrad").requires_grad());
}
napi_value setRequiresGrad(napi_env env, const Args& args) {
  tensorOf(env, args.at(0), "setRequiresGrad").set_requires_grad(flagOf(env, args, 1));
  return args[0];
}
napi_value gradient(napi_env env, const Args& args) { return wrap(env, tensorOf(env, args.at(0), "grad").grad()); }
napi_value setGradient(napi_env env, const Args& args) {
  auto& grad = tensorOf(env, args.at(0), "grad").mutable_grad();
  grad = present(env, args, 1) ? tensorOf(env, args[1], "grad") : at::Tensor();
  return undefined(env);
}
// backward(outputs, gradients, retainGraph, createGraph)
napi_value backward(napi_env env, const Args& args) {
  torch::autograd::backward(tensorsOf(env, args.at(0), "backward"), tensorsOf(env, args.at(1), "backward"),
                            flagOf(env, args, 2), flagOf(env, args, 3));
  return undefined(env);
}
// grad(outputs, inputs, gradients, retainGraph, createGraph, allowUnused)
napi_value grad(napi_env env, const Args& args) {
  return arrayOf(env, torch::autograd::grad(tensorsOf(env, args.at(0), "grad"), tensorsOf(env, args.at(1), "grad"),
                                            tensorsOf(env, args.at(2), "grad"), flagOf(env, args, 3),
                                            flagOf(env, args, 4), flagOf(env, args, 5)));
}
napi_value gradEnabled(napi_env env, const Args&) { return toJs(env, c10::GradMode::is_enabled()); }
napi_value setGradEnabled(napi_env env, const Args& args) {
  c10::GradMode::set_enabled(flagOf(env, args, 0));
  return undefined(env);
}

thread_local std::vector<std::unique_ptr<c10::InferenceMode>> inferenceModes;
napi_value enterInference(napi_env env, const Args&) {
  inferenceModes.push_back(std::make_unique<c10::InferenceMode>(true));
  return undefined(env);
}
napi_value leaveInference(napi_env env, const Args&) {
  if (inferenceModes.empty()) throw std::runtime_error("inference mode: left more often than entered");
  inferenceModes.pop_back();
  return undefined(env);
}

// autocast(device): { enabled, dtype }; setAutocast(device, enabled, dtype)
napi_value autocast(napi_env env, const Args& args) {
  const bool cuda = textOf(env, args.at(0)) == "cuda";
#if TORCH_VERSION_MAJOR >= 2
  const auto kind = cuda ? at::kCUDA : at::kCPU;
  const bool enabled = at::autocast::is_autocast_enabled(kind);
  const auto type = at::autocast::get_autocast_dtype(kind);
#else
  const bool enabled = cuda ? at::autocast::is_enabled() : at::autocast::is_cpu_enabled();
  const auto type = cuda ? at::autocast::get_autocast_gpu_dtype() : at::autocast::get_autocast_cpu_dtype();
#endif
  napi_value state;
  check(napi_create_object(env, &state));
  check(napi_set_named_property(env, state, "enabled", toJs(env, enabled)));
  check(napi_set_named_property(env, state, "dtype", toJs(env, nameOfDtype(type))));
  return state;
}
napi_value setAutocast(napi_env env, const Args& args) {
  const bool cuda = textOf(env, args.at(0)) == "cuda";
  const bool enabled = flagOf(env, args, 1);
  const auto type = dtypeNamed(textOf(env, args.at(2)));
#if TORCH_VERSION_MAJOR >= 2
  at::autocast::set_autocast_enabled(cuda ? at::kCUDA : at::kCPU, enabled);
  at::autocast::set_autocast_dtype(cuda ? at::kCUDA : at::kCPU, type);
#else
  cuda ? at::autocast::set_enabled(enabled) : at::autocast::set_cpu_enabled(enabled);
  cuda ? at::autocast::set_autocast_gpu_dtype(type) : at::autocast::set_autocast_cpu_dtype(type);
#endif
  if (!enabled) at::autocast::clear_cache();
  return undefined(env);
}

// --- generators and threads -----------------------------------------------------------------------------------------

napi_value generator(napi_env env, const Args& args) {
  return wrapGenerator(env, at::detail::createCPUGenerator(integerOf(env, args.at(0), "seed")));
}
// defaultGenerator(device): of the CPU for devices that have none.
napi_value defaultGenerator(napi_env env, const Args& args) {
  const at::Device device(textOf(env, args.at(0)));
  return wrapGenerator(env, device.is_cuda() ? at::globalContext().defaultGenerator(device)
                                             : at::detail::getDefaultCPUGenerator());
}

at::Generator& generatorAt(napi_env env, const Args& args) {
  auto* slot = generatorOf(env, args.at(0));
  if (slot == nullptr) throw BadArgument("wanted a Generator");
  return slot->generator;
}
napi_value seed(napi_env env, const Args& args) {
  auto& gen = generatorAt(env, args);
  const std::lock_guard<std::mutex> lock(gen.mutex());
  gen.set_current_seed(integerOf(env, args.at(1), "seed"));
  return undefined(env);
}
napi_value generatorState(napi_env env, const Args& args) { return wrap(env, generatorAt(env, args).get_state()); }
napi_value setGeneratorState(napi_env env, const Args& args) {
  generatorAt(env, args).set_state(tensorOf(env, args.at(1), "state"));
  return undefined(env);
}
napi_value threads(napi_env env, const Args&) { return toJs(env, int64_t{at::get_num_threads()}); }
napi_value setThreads(napi_env env, const Args& args) {
  at::set_num_threads(static_cast<int>(integerOf(env, args.at(0), "threads")));
  return undefined(env);
}

// --- allocator and build --------------------------------------------------------------------------------------------

napi_value useCachingAllocator(napi_env env, const Args& args) {
  installAllocator(integerOf(env, args.at(0), "bound"));
  return undefined(env);
}
napi_value trim(napi_env env, const Args&) {
  trimAllocator();
  malloc_trim(0);
  return undefined(env);
}
napi_value allocator(napi_env env, const Args&) {
  const auto stats = allocatorStats();
  napi_value object;
  check(napi_create_object(env, &object));
  const auto set = [&](const char* name, napi_value value) { check(napi_set_named_property(env, object, name, value)); };
  set("installed", toJs(env, stats.installed));
  set("inUseBytes", toJs(env, stats.inUseBytes));
  set("idleBytes", toJs(env, stats.idleBytes));
  set("peakBytes", toJs(env, stats.peakBytes));
  set("boundBytes", toJs(env, stats.boundBytes));
  set("hits", toJs(env, stats.hits));
  set("misses", toJs(env, stats.misses));
  set("trims", toJs(env, stats.trims));
  return object;
}

// Whether a library is loaded, and has the symbol.
bool hasLoaded(const char* library, const char* symbol = nullptr) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return false;
  const bool found = symbol == nullptr || dlsym(handle, symbol) != nullptr;
  dlclose(handle);
  return found;
}
constexpr const char* kCudaLibrary = "libtorch_cuda.so";
bool hasBackend(const char* vtable) { return hasLoaded("libtorch_cpu.so", vtable) || hasLoaded(kCudaLibrary, vtable); }

napi_value build(napi_env env, const Args&) {
  napi_value object;
  check(napi_create_object(env, &object));
  const auto set = [&](const char* name, napi_value value) { check(napi_set_named_property(env, object, name, value)); };
  set("libtorch", toJs(env, TORCH_VERSION));
  set("config", toJs(env, at::show_config()));
  set("mkl", toJs(env, at::hasMKL()));
  set("onednn", toJs(env, at::hasMKLDNN()));
  set("openmp", toJs(env, at::hasOpenMP()));
  set("cuda", toJs(env, hasLoaded(kCudaLibrary)));  // also where there is no device
  set("cudaDevices", toJs(env, static_cast<int64_t>(at::getNumGPUs())));
  set("gloo", toJs(env, hasBackend("_ZTVN4c10d16ProcessGroupGlooE")));
  set("nccl", toJs(env, hasBackend("_ZTVN4c10d16ProcessGroupNCCLE")));
  set("mpi", toJs(env, hasBackend("_ZTVN4c10d15ProcessGroupMPIE")));
  return object;
}

}  // namespace
}  // namespace mixbct

NAPI_MODULE_INIT() {
  using namespace mixbct;
  tuneMalloc();
  try {
    defineClasses(env, exports);
#define EXPORT(name) define<name>(env, exports, #name)
    EXPORT(op);
    EXPORT(call);
    EXPORT(schemas);
    EXPORT(shape);
    EXPORT(strides);
    EXPORT(dtype);
    EXPORT(device);
    EXPORT(numel);
    EXPORT(item);
    EXPORT(isDisposed);
    EXPORT(isTensor);
    EXPORT(scopeOpen);
    EXPORT(scopeClose);
    EXPORT(keep);
    EXPORT(requiresGrad);
    EXPORT(setRequiresGrad);
    EXPORT(gradient);
    EXPORT(setGradient);
    EXPORT(backward);
    EXPORT(grad);
    EXPORT(gradEnabled);
    EXPORT(setGradEnabled);
    EXPORT(enterInference);
    EXPORT(leaveInference);
    EXPORT(autocast);
    EXPORT(setAutocast);
    EXPORT(generator);
    EXPORT(defaultGenerator);
    EXPORT(seed);
    EXPORT(generatorState);
    EXPORT(setGeneratorState);
    EXPORT(threads);
    EXPORT(setThreads);
    EXPORT(useCachingAllocator);
    EXPORT(trim);
    EXPORT(allocator);
    EXPORT(build);
#undef EXPORT
    define<disposeTensor>(env, exports, "dispose");
    define<live>(env, exports, "liveTensors");
    defineArrays(env, exports);
    defineDistributed(env, exports);
    defineScript(env, exports);
  } catch (const Pending&) {
    return nullptr;
  }
  return exports;
}
