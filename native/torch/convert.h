// JavaScript values to and from IValues, by the types of an operator's schema.
#pragma once
#include "handle.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <optional>
#include <string>
#include <vector>

namespace mixbct {

enum class Form { Tensor, Generator, Int, Float, Number, Bool, String, Device, TensorList, OptionalTensorList, IntList, FloatList, BoolList, NumberList };

struct Parameter {
  std::string name;
  Form form;
  bool optional;
  std::optional<c10::IValue> fallback;
};

// An operator made ready for calls: its schema is read once.
struct Operator {
  explicit Operator(c10::OperatorHandle handle);
  c10::OperatorHandle handle;
  std::string name;                // "conv2d", "add_.Tensor"
  std::vector<Parameter> parameters;
  size_t positional = 0;           // the rest is keyword-only and comes in one options object
  bool returnsSelf = false;        // an in-place op: the result is the first argument's own object
};

napi_value callOperator(napi_env env, Operator& op, const std::vector<napi_value>& args);

// "float32" → ScalarType and back; memory formats and layouts by their names too.
std::optional<int64_t> enumNamed(const std::string& name);
at::ScalarType dtypeNamed(const std::string& name);
const char* nameOfDtype(at::ScalarType dtype);

std::string textOf(napi_env env, napi_value value);
int64_t integerOf(napi_env env, napi_value value, const char* what);
double numberOf(napi_env env, napi_value value, const char* what);
napi_value toJs(napi_env env, const std::string& text);
napi_value toJs(napi_env env, const char* text);
napi_value toJs(napi_env env, double number);
napi_value toJs(napi_env env, int64_t number);
napi_value toJs(napi_env env, bool flag);
napi_value toJs(napi_env env, at::IntArrayRef numbers);

}  // namespace mixbct
