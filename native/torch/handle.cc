#include "handle.h"

#include <memory>

namespace mixbct {
namespace {

thread_local Slot* pending = nullptr;            // handed to the constructor of Tensor by wrap()
thread_local GeneratorSlot* pendingGenerator = nullptr;
thread_local std::vector<std::vector<Slot*>> scopes;
thread_local napi_ref tensorClass = nullptr;
thread_local napi_ref generatorClass = nullptr;
thread_local int64_t live = 0;

void unref(Slot* slot) {
  if (--slot->refs == 0) delete slot;
}

napi_value constructTensor(napi_env env, napi_callback_info info) {
  napi_value self;
  napi_get_cb_info(env, info, nullptr, nullptr, &self, nullptr);
  if (pending == nullptr) {
    napi_throw_type_error(env, nullptr, "Tensor: make tensors with tensor(), zeros(), … instead of new");
    return nullptr;
  }
  auto* slot = pending;
  pending = nullptr;
  napi_wrap(
      env, self, static_cast<Wrapped*>(slot),
      [](napi_env e, void* data, void*) {
        auto* dead = static_cast<Slot*>(static_cast<Wrapped*>(data));
        if (!dead->scoped) dispose(e, dead);
        unref(dead);
      },
      nullptr, nullptr);
  return self;
}

napi_value constructGenerator(napi_env env, napi_callback_info info) {
  napi_value self;
  napi_get_cb_info(env, info, nullptr, nullptr, &self, nullptr);
  if (pendingGenerator == nullptr) {
    napi_throw_type_error(env, nullptr, "Generator: make one with generator(seed)");
    return nullptr;
  }
  auto* slot = pendingGenerator;
  pendingGenerator = nullptr;
  napi_wrap(
      env, self, static_cast<Wrapped*>(slot), [](napi_env, void* data, void*) { delete static_cast<Wrapped*>(data); },
      nullptr, nullptr);
  return self;
}

Wrapped* unwrap(napi_env env, napi_value value) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object) return nullptr;
  void* data = nullptr;
  return napi_unwrap(env, value, &data) == napi_ok ? static_cast<Wrapped*>(data) : nullptr;
}

napi_value instance(napi_env env, napi_ref classRef) {
  napi_value constructor, object;
  check(napi_get_reference_value(env, classRef, &constructor));
  check(napi_new_instance(env, constructor, 0, nullptr, &object));
  return object;
}

}  // namespace

void defineClasses(napi_env env, napi_value exports) {
  napi_value tensor, generator;
  check(napi_define_class(env, "Tensor", NAPI_AUTO_LENGTH, constructTensor, nullptr, 0, nullptr, &tensor));
  check(napi_define_class(env, "Generator", NAPI_AUTO_LENGTH, constructGenerator, nullptr, 0, nullptr, &generator));
  check(napi_create_reference(env, tensor, 1, &tensorClass));
  check(napi_create_reference(env, generator, 1, &generatorClass));
  check(napi_set_named_property(env, exports, "Tensor", tensor));
  check(napi_set_named_property(env, exports, "Generator", generator));
}

napi_value wrap(napi_env env, at::Tensor tensor) {
  if (!tensor.defined()) {
    napi_value null;
    check(napi_get_null(env, &null));
    return null;
  }
  auto owner = std::make_unique<Slot>();
  auto* slot = owner.get();
  slot->tensor = std::move(tensor);
  slot->live = true;
  slot->refs = 1;
  pending = slot;
  napi_value object = instance(env, tensorClass);
  owner.release();
  live++;
  if (!scopes.empty()) {
    slot->scoped = true;
    slot->refs++;
    scopes.back().push_back(slot);
  } else if (slot->tensor.has_storage() && slot->tensor.storage().use_count() <= 2) {
    // Only what no scope will free: inside scopes V8 would collect garbage for memory that is about to go anyway.
    slot->accounted = static_cast<int64_t>(slot->tensor.storage().nbytes());
    int64_t total;
    check(napi_adjust_external_memory(env, slot->accounted, &total));
  }
  return object;
}

napi_value wrapGenerator(napi_env env, at::Generator generator) {
  auto owner = std::make_unique<GeneratorSlot>(std::move(generator));
  pendingGenerator = owner.get();
  napi_value object = instance(env, generatorClass);
  owner.release();
  return object;
}

Slot* slotOf(napi_env env, napi_value value) {
  auto* wrapped = unwrap(env, value);
  return wrapped != nullptr && wrapped->kind == Kind::Tensor ? static_cast<Slot*>(wrapped) : nullptr;
}

GeneratorSlot* generatorOf(napi_env env, napi_value value) {
  auto* wrapped = unwrap(env, value);
  return wrapped != nullptr && wrapped->kind == Kind::Generator ? static_cast<GeneratorSlot*>(wrapped) : nullptr;
}

const at::Tensor& tensorOf(napi_env env, napi_value value, const char* what) {
  auto* slot = slotOf(env, value);
  if (slot == nullptr) throw BadArgument(std::string(what) + ": wanted a Tensor");
  if (!slot->live)
    throw Disposed(std::string(what) + ": this tensor of shape " + shapeText(slot->shapeWhenDisposed) +
                   " was disposed; return it from its scope(), or keep() it, to use it later");
  return slot->tensor;
}

void dispose(napi_env env, Slot* slot) {
  if (!slot->live) return;
  slot->live = false;
  slot->shapeWhenDisposed = slot->tensor.sizes().vec();
  slot->tensor = at::Tensor();
  live--;
  if (slot->accounted != 0) {
    int64_t total;
    napi_adjust_external_memory(env, -slot->accounted, &total);
    slot->accounted = 0;
  }
}

int64_t liveTensors() { return live; }

void openScope() { scopes.emplace_back(); }

void closeScope(napi_env env, const std::vector<Slot*>& keep) {
  if (scopes.empty()) throw std::runtime_error("scope: closed more often than opened");
  const auto mine = std::move(scopes.back());
  scopes.pop_back();
  for (auto* kept : keep) kept->refs++;  // pins them through the loop below
  for (auto* slot : mine) {
    bool stays = false;
    for (auto* kept : keep) stays = stays || kept == slot;
    if (!slot->scoped) {
      unref(slot);  // escaped by keep()
    } else if (stays && !scopes.empty()) {
      scopes.back().push_back(slot);
    } else {
      slot->scoped = false;
      if (!stays) dispose(env, slot);
      unref(slot);
    }
  }
  for (auto* kept : keep) unref(kept);
}

void escapeScope(Slot* slot) { slot->scoped = false; }

std::string shapeText(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace mixbct
