// How C++ functions become methods of the addon: arguments in, values or exceptions out.
#pragma once
#include "handle.h"

#include <c10/util/Exception.h>

#include <memory>
#include <string>
#include <vector>

namespace mixbct {

using Args = std::vector<napi_value>;
using Function = napi_value (*)(napi_env, const Args&);

inline napi_value undefined(napi_env env) {
  napi_value value;
  check(napi_get_undefined(env, &value));
  return value;
}

inline bool present(napi_env env, const Args& args, size_t i) {
  if (i >= args.size()) return false;
  napi_valuetype type;
  check(napi_typeof(env, args[i], &type));
  return type != napi_undefined && type != napi_null;
}

inline bool flagOf(napi_env env, const Args& args, size_t i) {
  bool flag = false;
  if (present(env, args, i)) check(napi_get_value_bool(env, args[i], &flag));
  return flag;
}

inline std::vector<at::Tensor> tensorsOf(napi_env env, napi_value array, const char* what) {
  uint32_t length = 0;
  if (napi_get_array_length(env, array, &length) != napi_ok) throw BadArgument(std::string(what) + ": wanted an array");
  std::vector<at::Tensor> tensors(length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    check(napi_get_element(env, array, i, &element));
    if (slotOf(env, element) != nullptr) tensors[i] = tensorOf(env, element, what);
  }
  return tensors;
}

inline void throwJs(napi_env env, const char* code, const std::string& message) {
  napi_throw_error(env, code, message.c_str());
}

// An external value that owns `held`, and what such a value owns.
template <typename T>
napi_value handOver(napi_env env, std::unique_ptr<T> held) {
  napi_value value;
  const auto drop = [](napi_env, void* data, void*) { delete static_cast<Wrapped*>(data); };
  check(napi_create_external(env, static_cast<Wrapped*>(held.get()), drop, nullptr, &value));
  held.release();
  return value;
}

template <typename T>
T& handleOf(napi_env env, napi_value value, Kind kind, const char* what) {
  napi_valuetype type;
  check(napi_typeof(env, value, &type));
  void* data = nullptr;
  if (type == napi_external) check(napi_get_value_external(env, value, &data));
  if (data == nullptr || static_cast<Wrapped*>(data)->kind != kind) throw BadArgument(std::string("wanted a ") + what);
  return *static_cast<T*>(static_cast<Wrapped*>(data));
}

template <Function body>
napi_value guarded(napi_env env, napi_callback_info info) {
  size_t count = 24;
  napi_value raw[24];
  try {
    check(napi_get_cb_info(env, info, &count, raw, nullptr, nullptr));
    if (count > 24) throw BadArgument("too many arguments");
    return body(env, Args(raw, raw + count));
  } catch (const Pending&) {
  } catch (const Disposed& error) {
    throwJs(env, "DISPOSED", error.what());
  } catch (const BadArgument& error) {
    napi_throw_type_error(env, "ARGUMENT", error.what());
  } catch (const c10::Error& error) {
    throwJs(env, "TORCH", error.what_without_backtrace());
  } catch (const std::out_of_range&) {
    napi_throw_type_error(env, "ARGUMENT", "an argument is missing");
  } catch (const std::exception& error) {
    throwJs(env, "TORCH", error.what());
  }
  return nullptr;
}

template <Function body>
void define(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  check(napi_create_function(env, name, NAPI_AUTO_LENGTH, guarded<body>, nullptr, &function));
  check(napi_set_named_property(env, exports, name, function));
}

}  // namespace mixbct
