// Typed arrays of JavaScript and tensors: copies in both directions, and tensors over the memory of an array.
#include "arrays.h"

#include "convert.h"
#include "surface.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>
#include <mutex>

namespace mixbct {
namespace {

std::vector<int64_t> integersOf(napi_env env, napi_value array) {
  uint32_t length = 0;
  if (napi_get_array_length(env, array, &length) != napi_ok) throw BadArgument("wanted an array of whole numbers");
  std::vector<int64_t> numbers(length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    check(napi_get_element(env, array, i, &element));
    numbers[i] = integerOf(env, element, "element");
  }
  return numbers;
}

struct Bytes {
  void* data;
  size_t size;
};

Bytes bytesOf(napi_env env, napi_value array) {
  bool typed = false;
  check(napi_is_typedarray(env, array, &typed));
  if (!typed) throw BadArgument("wanted a typed array");
  static constexpr size_t kSizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  auto type = static_cast<napi_typedarray_type>(std::size(kSizes));
  size_t length = 0;
  Bytes bytes{};
  check(napi_get_typedarray_info(env, array, &type, &length, &bytes.data, nullptr, nullptr));
  if (static_cast<size_t>(type) >= std::size(kSizes)) throw BadArgument("wanted a typed array of a kind that Node-API 8 knows");
  bytes.size = length * kSizes[type];
  return bytes;
}

size_t bytesNeeded(const std::vector<int64_t>& shape, at::ScalarType dtype) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0) throw BadArgument("shape " + shapeText(shape) + " has a negative size");
    count *= size;
  }
  return static_cast<size_t>(count) * c10::elementSize(dtype);
}

void requireSize(const Bytes& bytes, const std::vector<int64_t>& shape, at::ScalarType dtype) {
  const size_t needed = bytesNeeded(shape, dtype);
  if (bytes.size != needed)
    throw BadArgument("shape " + shapeText(shape) + " of " + nameOfDtype(dtype) + " needs " + std::to_string(needed) +
                      " bytes, the array has " + std::to_string(bytes.size));
}

// fromArray(array, dtype, shape): a copy.
napi_value fromArray(napi_env env, const Args& args) {
  const auto bytes = bytesOf(env, args.at(0));
  const auto dtype = dtypeNamed(textOf(env, args.at(1)));
  const auto shape = integersOf(env, args.at(2));
  requireSize(bytes, shape, dtype);
  auto tensor = at::empty(shape, at::TensorOptions().dtype(dtype));
  if (bytes.size != 0) std::memcpy(tensor.data_ptr(), bytes.data, bytes.size);
  return wrap(env, tensor);
}

// References that tensors held on JavaScript memory. A storage may die on any thread, a reference only on ours.
std::mutex deadMutex;
std::vector<napi_ref> deadReferences;

void dropDeadReferences(napi_env env) {
  const std::lock_guard<std::mutex> lock(deadMutex);
  for (napi_ref reference : deadReferences) napi_delete_reference(env, reference);
  deadReferences.clear();
}

// shareArray(array, dtype, shape): no copy; the array (also over a SharedArrayBuffer) lives as long as the tensor.
napi_value shareArray(napi_env env, const Args& args) {
  dropDeadReferences(env);
  const auto bytes = bytesOf(env, args.at(0));
  const auto dtype = dtypeNamed(textOf(env, args.at(1)));
  const auto shape = integersOf(env, args.at(2));
  requireSize(bytes, shape, dtype);
  napi_ref reference;
  check(napi_create_reference(env, args[0], 1, &reference));
  auto tensor = at::from_blob(
      bytes.data, shape,
      [reference](void*) {
        const std::lock_guard<std::mutex> lock(deadMutex);
        deadReferences.push_back(reference);
      },
      at::TensorOptions().dtype(dtype));
  return wrap(env, tensor);
}

// copyTo(tensor, array): the tensor's elements in row-major order.
napi_value copyTo(napi_env env, const Args& args) {
  const auto tensor = tensorOf(env, args.at(0), "copyTo").detach().cpu().contiguous();
  const auto bytes = bytesOf(env, args.at(1));
  requireSize(bytes, tensor.sizes().vec(), tensor.scalar_type());
  if (bytes.size != 0) std::memcpy(bytes.data, tensor.data_ptr(), bytes.size);
  return undefined(env);
}

}  // namespace

void defineArrays(napi_env env, napi_value exports) {
#define EXPORT(name) define<name>(env, exports, #name)
  EXPORT(fromArray);
  EXPORT(shareArray);
  EXPORT(copyTo);
#undef EXPORT
}

}  // namespace mixbct
