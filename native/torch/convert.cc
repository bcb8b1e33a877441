#include "convert.h"

#include <torch/version.h>

#include <cmath>
#include <unordered_map>

namespace mixbct {
namespace {

const std::vector<std::pair<const char*, at::ScalarType>> kDtypes = {
    {"float32", at::kFloat}, {"float64", at::kDouble}, {"float16", at::kHalf}, {"bfloat16", at::kBFloat16},
    {"int64", at::kLong},    {"int32", at::kInt},      {"int16", at::kShort},  {"int8", at::kChar},
    {"uint8", at::kByte},    {"bool", at::kBool}};

Form formOf(const c10::Type& type, const std::string& op) {
  switch (type.kind()) {
    case c10::TypeKind::TensorType: return Form::Tensor;
    case c10::TypeKind::GeneratorType: return Form::Generator;
    case c10::TypeKind::IntType:
#if TORCH_VERSION_MAJOR >= 2
    case c10::TypeKind::SymIntType:
    case c10::TypeKind::ScalarTypeType:
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType:
#endif
      return Form::Int;
    case c10::TypeKind::FloatType: return Form::Float;
    case c10::TypeKind::NumberType: return Form::Number;
    case c10::TypeKind::BoolType: return Form::Bool;
    case c10::TypeKind::StringType: return Form::String;
    case c10::TypeKind::DeviceObjType: return Form::Device;
    case c10::TypeKind::ListType: {
      const auto element = type.castRaw<c10::ListType>()->getElementType();
      if (element->kind() == c10::TypeKind::OptionalType) return Form::OptionalTensorList;
      switch (formOf(*element, op)) {
        case Form::Tensor: return Form::TensorList;
        case Form::Int: return Form::IntList;
        case Form::Float: return Form::FloatList;
        case Form::Bool: return Form::BoolList;
        case Form::Number: return Form::NumberList;
        default: break;
      }
      break;
    }
    default: {
      // libtorch 1.13 names the kinds of SymInt and of its list apart; both take plain integers.
      const std::string text = type.str();
      if (text == "SymInt" || text == "ScalarType" || text == "Layout" || text == "MemoryFormat") return Form::Int;
      break;
    }
  }
  throw BadArgument(op + ": arguments of type " + type.str() + " are not supported");
}

bool isNothing(napi_env env, napi_value value) {
  napi_valuetype type;
  check(napi_typeof(env, value, &type));
  return type == napi_undefined || type == napi_null;
}

napi_valuetype typeOf(napi_env env, napi_value value) {
  napi_valuetype type;
  check(napi_typeof(env, value, &type));
  return type;
}

template <typename Visit>
void eachElement(napi_env env, napi_value value, const char* what, Visit visit) {
  bool isArray = false;
  check(napi_is_array(env, value, &isArray));
  if (!isArray) throw BadArgument(std::string(what) + ": wanted an array");
  uint32_t length = 0;
  check(napi_get_array_length(env, value, &length));
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    check(napi_get_element(env, value, i, &element));
    visit(element);
  }
}

bool boolOf(napi_env env, napi_value value, const char* what) {
  bool flag = false;
  if (napi_get_value_bool(env, value, &flag) != napi_ok) throw BadArgument(std::string(what) + ": wanted true or false");
  return flag;
}

c10::Scalar scalarOf(napi_env env, napi_value value, const char* what) {
  switch (typeOf(env, value)) {
    case napi_boolean: return c10::Scalar(boolOf(env, value, what));
    case napi_bigint: return c10::Scalar(integerOf(env, value, what));
    default: {
      const double number = numberOf(env, value, what);
      constexpr double kExact = 9007199254740992.0;  // 2^53: whole numbers up to here are exact
      const bool whole = std::trunc(number) == number && std::abs(number) <= kExact;
      return whole ? c10::Scalar(static_cast<int64_t>(number)) : c10::Scalar(number);
    }
  }
}

c10::IValue ivalueOf(napi_env env, napi_value value, Form form, const char* what) {
  switch (form) {
    case Form::Tensor: return tensorOf(env, value, what);
    case Form::Generator: {
      auto* slot = generatorOf(env, value);
      if (slot == nullptr) throw BadArgument(std::string(what) + ": wanted a Generator");
      return slot->generator;
    }
    case Form::Int: {
      if (typeOf(env, value) != napi_string) return integerOf(env, value, what);
      const std::string name = textOf(env, value);
      if (const auto known = enumNamed(name)) return *known;
      throw BadArgument(std::string(what) + ": unknown name '" + name + "'");
    }
    case Form::Float: return numberOf(env, value, what);
    case Form::Number: return scalarOf(env, value, what);
    case Form::Bool: return boolOf(env, value, what);
    case Form::String: return textOf(env, value);
    case Form::Device: return c10::Device(textOf(env, value));
    case Form::TensorList: {
      c10::List<at::Tensor> list;
      eachElement(env, value, what, [&](napi_value e) { list.push_back(tensorOf(env, e, what)); });
      return list;
    }
    case Form::OptionalTensorList: {
      c10::impl::GenericList list(c10::OptionalType::create(c10::TensorType::get()));
      eachElement(env, value, what, [&](napi_value e) {
        list.push_back(isNothing(env, e) ? c10::IValue() : c10::IValue(tensorOf(env, e, what)));
      });
      return list;
    }
    case Form::IntList: {
      c10::List<int64_t> list;
      if (typeOf(env, value) == napi_number) list.push_back(integerOf(env, value, what));
      else eachElement(env, value, what, [&](napi_value e) { list.push_back(integerOf(env, e, what)); });
      return list;
    }
    case Form::FloatList: {
      c10::List<double> list;
      eachElement(env, value, what, [&](napi_value e) { list.push_back(numberOf(env, e, what)); });
      return list;
    }
    case Form::BoolList: {
      c10::List<bool> list;
      eachElement(env, value, what, [&](napi_value e) { list.push_back(boolOf(env, e, what)); });
      return list;
    }
    case Form::NumberList: {
      c10::impl::GenericList list(c10::NumberType::get());
      eachElement(env, value, what, [&](napi_value e) { list.push_back(scalarOf(env, e, what)); });
      return list;
    }
  }
  throw BadArgument(std::string(what) + ": unsupported argument");
}

napi_value jsOf(napi_env env, const c10::IValue& value) {
  if (value.isTensor()) return wrap(env, value.toTensor());
  if (value.isInt()) return toJs(env, value.toInt());
  if (value.isDouble()) return toJs(env, value.toDouble());
  if (value.isBool()) return toJs(env, value.toBool());
  if (value.isString()) return toJs(env, value.toStringRef());
  if (value.isIntList()) return toJs(env, value.toIntVector());
  if (value.isList()) {
    const auto list = value.toListRef();
    napi_value array;
    check(napi_create_array_with_length(env, list.size(), &array));
    for (size_t i = 0; i < list.size(); i++) check(napi_set_element(env, array, i, jsOf(env, list[i])));
    return array;
  }
  if (value.isNone()) {
    napi_value null;
    check(napi_get_null(env, &null));
    return null;
  }
  throw BadArgument("a result of type " + value.tagKind() + " is not supported");
}

}  // namespace

Operator::Operator(c10::OperatorHandle h) : handle(h) {
  const auto& schema = handle.schema();
  name = schema.name().substr(schema.name().find("::") + 2);
  if (!schema.overload_name().empty()) name += "." + schema.overload_name();
  for (const auto& argument : schema.arguments()) {
    const auto& type = argument.type();
    const bool optional = type->kind() == c10::TypeKind::OptionalType;
    const auto inner = optional ? type->castRaw<c10::OptionalType>()->getElementType() : type;
    Parameter parameter{argument.name(), formOf(*inner, name), optional, std::nullopt};
    if (argument.default_value()) parameter.fallback = *argument.default_value();
    if (!argument.kwarg_only()) positional++;
    parameters.push_back(std::move(parameter));
  }
  const auto& returns = schema.returns();
  returnsSelf = returns.size() == 1 && returns[0].alias_info() != nullptr && returns[0].alias_info()->isWrite();
}

napi_value callOperator(napi_env env, Operator& op, const std::vector<napi_value>& args) {
  if (args.size() > op.positional + 1)
    throw BadArgument(op.name + ": takes at most " + std::to_string(op.positional) + " arguments and an options object");
  napi_value options = nullptr;
  if (args.size() == op.positional + 1 && !isNothing(env, args.back())) options = args.back();
  c10::Stack stack;
  stack.reserve(op.parameters.size());
  for (size_t i = 0; i < op.parameters.size(); i++) {
    const auto& parameter = op.parameters[i];
    napi_value value = nullptr;
    if (i < op.positional) {
      if (i < args.size()) value = args[i];
    } else if (options != nullptr) {
      check(napi_get_named_property(env, options, parameter.name.c_str(), &value));
    }
    const auto what = [&] { return op.name + ": argument '" + parameter.name + "'"; };
    if (value != nullptr && !isNothing(env, value)) {
      try {
        stack.push_back(ivalueOf(env, value, parameter.form, parameter.name.c_str()));
      } catch (const Disposed& error) {
        throw Disposed(op.name + ": argument " + error.what());
      } catch (const BadArgument& error) {
        throw BadArgument(op.name + ": argument " + error.what());
      }
    } else if (parameter.fallback) {
      stack.push_back(*parameter.fallback);
    } else if (parameter.optional) {
      stack.emplace_back();
    } else {
      throw BadArgument(what() + " is missing");
    }
  }
  std::string shapes;  // for the error only: the stack is consumed by the call
  try {
    const c10::Stack kept = stack;
    try {
      op.handle.callBoxed(&stack);
    } catch (...) {
      for (const auto& value : kept)
        if (value.isTensor() && value.toTensor().defined())
          shapes += (shapes.empty() ? "" : ", ") + shapeText(value.toTensor().sizes());
      throw;
    }
  } catch (const c10::Error& error) {
    throw std::runtime_error(op.name + "(" + shapes + "): " + error.what_without_backtrace());
  }
  if (op.returnsSelf) return args[0];
  if (stack.empty()) {
    napi_value nothing;
    check(napi_get_undefined(env, &nothing));
    return nothing;
  }
  if (stack.size() == 1) return jsOf(env, stack[0]);
  napi_value array;
  check(napi_create_array_with_length(env, stack.size(), &array));
  for (size_t i = 0; i < stack.size(); i++) check(napi_set_element(env, array, i, jsOf(env, stack[i])));
  return array;
}

std::optional<int64_t> enumNamed(const std::string& name) {
  for (const auto& [dtype, type] : kDtypes)
    if (name == dtype) return static_cast<int64_t>(type);
  if (name == "contiguous_format") return static_cast<int64_t>(at::MemoryFormat::Contiguous);
  if (name == "channels_last") return static_cast<int64_t>(at::MemoryFormat::ChannelsLast);
  if (name == "preserve_format") return static_cast<int64_t>(at::MemoryFormat::Preserve);
  if (name == "strided") return static_cast<int64_t>(at::Layout::Strided);
  return std::nullopt;
}

at::ScalarType dtypeNamed(const std::string& name) {
  for (const auto& [dtype, type] : kDtypes)
    if (name == dtype) return type;
  throw BadArgument("unknown dtype '" + name + "'");
}

const char* nameOfDtype(at::ScalarType wanted) {
  for (const auto& [dtype, type] : kDtypes)
    if (type == wanted) return dtype;
  return "other";
}

std::string textOf(napi_env env, napi_value value) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) throw BadArgument("wanted a string");
  std::string text(length, '\0');
  check(napi_get_value_string_utf8(env, value, text.data(), length + 1, &length));
  return text;
}

double numberOf(napi_env env, napi_value value, const char* what) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) throw BadArgument(std::string(what) + ": wanted a number");
  return number;
}

int64_t integerOf(napi_env env, napi_value value, const char* what) {
  if (typeOf(env, value) == napi_bigint) {
    int64_t exact = 0;
    bool lossless = false;
    check(napi_get_value_bigint_int64(env, value, &exact, &lossless));
    return exact;
  }
  const double number = numberOf(env, value, what);
  if (std::trunc(number) != number) throw BadArgument(std::string(what) + ": wanted a whole number");
  return static_cast<int64_t>(number);
}

napi_value toJs(napi_env env, const std::string& text) {
  napi_value value;
  check(napi_create_string_utf8(env, text.data(), text.size(), &value));
  return value;
}
napi_value toJs(napi_env env, const char* text) { return toJs(env, std::string(text)); }
napi_value toJs(napi_env env, double number) {
  napi_value value;
  check(napi_create_double(env, number, &value));
  return value;
}
napi_value toJs(napi_env env, int64_t number) {
  napi_value value;
  check(napi_create_int64(env, number, &value));
  return value;
}
napi_value toJs(napi_env env, bool flag) {
  napi_value value;
  check(napi_get_boolean(env, flag, &value));
  return value;
}
napi_value toJs(napi_env env, at::IntArrayRef numbers) {
  napi_value array;
  check(napi_create_array_with_length(env, numbers.size(), &array));
  for (size_t i = 0; i < numbers.size(); i++) check(napi_set_element(env, array, i, toJs(env, numbers[i])));
  return array;
}

}  // namespace mixbct
