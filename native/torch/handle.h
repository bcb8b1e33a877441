// What JavaScript holds: a Tensor object owns one Slot; a scope shares it until the scope ends.
#pragma once
#define NAPI_VERSION 8
#include <node_api.h>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace mixbct {

// Thrown when a JavaScript exception is pending already.
struct Pending {};
// Thrown for a tensor used after dispose(); becomes DisposedError.
struct Disposed : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A wrong argument; becomes TypeError.
struct BadArgument : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(napi_status status) {
  if (status == napi_pending_exception) throw Pending{};
  if (status != napi_ok) throw std::runtime_error("Node-API call failed with status " + std::to_string(status));
}

enum class Kind : uint32_t { Tensor = 0x7e4501, Generator, Store, Group, Work, Buckets, Script };

struct Wrapped {
  explicit Wrapped(Kind k) : kind(k) {}
  virtual ~Wrapped() = default;
  Kind kind;
};

struct Slot final : Wrapped {
  Slot() : Wrapped(Kind::Tensor) {}
  at::Tensor tensor;
  int refs = 0;           // the JavaScript object, and the scope it was born in
  bool live = false;      // holds a tensor and was not disposed
  bool scoped = false;    // some open scope will dispose it
  int64_t accounted = 0;  // bytes told to V8
  std::vector<int64_t> shapeWhenDisposed;
};

struct GeneratorSlot final : Wrapped {
  explicit GeneratorSlot(at::Generator g) : Wrapped(Kind::Generator), generator(std::move(g)) {}
  at::Generator generator;
};

void defineClasses(napi_env env, napi_value exports);

// A new JavaScript Tensor that belongs to the innermost open scope (null for an undefined tensor).
napi_value wrap(napi_env env, at::Tensor tensor);
napi_value wrapGenerator(napi_env env, at::Generator generator);
// The slot of a JavaScript value, or nullptr if it is no Tensor.
Slot* slotOf(napi_env env, napi_value value);
GeneratorSlot* generatorOf(napi_env env, napi_value value);
// The live tensor of a JavaScript value. Throws BadArgument or Disposed, naming `what`.
const at::Tensor& tensorOf(napi_env env, napi_value value, const char* what);
void dispose(napi_env env, Slot* slot);

int64_t liveTensors();
void openScope();
// Disposes what was born in the innermost scope, but for `keep`, which the scope around it adopts.
void closeScope(napi_env env, const std::vector<Slot*>& keep);
void escapeScope(Slot* slot);

std::string shapeText(at::IntArrayRef shape);

}  // namespace mixbct
