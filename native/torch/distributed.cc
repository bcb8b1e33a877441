#include "distributed.h"

#include "buckets.h"
#include "convert.h"
#include "group.h"
#include "surface.h"

#include <ATen/ATen.h>
#include <c10/util/Logging.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <chrono>
#include <cstdlib>
#include <system_error>

namespace mixbct {

Work allReduce(Group& group, const at::Tensor& tensor, c10d::ReduceOp op) {
  if (tensor.numel() == 0) return {};
  std::vector<at::Tensor> tensors{tensor};
  c10d::AllreduceOptions options;
  options.reduceOp = op;
  return group.allreduce(tensors, options);
}

void await(const Work& work) {
  if (work) work->wait();
}

namespace {

using StorePointer = c10::intrusive_ptr<c10d::Store>;

// What JavaScript holds. A group or store that was not closed is not destroyed either: its threads may be waiting for
// processes that are gone, and the process is about to end.
struct StoreSlot final : Wrapped {
  explicit StoreSlot(StorePointer p) : Wrapped(Kind::Store), store(std::move(p)) {}
  ~StoreSlot() override { store.release(); }
  StorePointer store;
};
struct GroupSlot final : Wrapped {
  explicit GroupSlot(GroupPointer p) : Wrapped(Kind::Group), group(std::move(p)) {}
  ~GroupSlot() override { group.release(); }
  GroupPointer group;
};
struct WorkSlot final : Wrapped {
  explicit WorkSlot(Work w) : Wrapped(Kind::Work), work(std::move(w)) {}
  Work work;
};

c10d::Store& storeAt(napi_env env, const Args& args) {
  auto& slot = handleOf<StoreSlot>(env, args.at(0), Kind::Store, "store");
  if (!slot.store) throw BadArgument("this store is closed");
  return *slot.store;
}
GroupPointer& groupAt(napi_env env, const Args& args) {
  auto& slot = handleOf<GroupSlot>(env, args.at(0), Kind::Group, "process group");
  if (!slot.group) throw BadArgument("this process group is closed");
  return slot.group;
}
int wholeOf(napi_env env, const Args& args, size_t i, const char* what) {
  return static_cast<int>(integerOf(env, args.at(i), what));
}
std::chrono::milliseconds msOf(napi_env env, const Args& args, size_t i) {
  return std::chrono::milliseconds(integerOf(env, args.at(i), "timeoutMs"));
}

// --- stores ---------------------------------------------------------------------------------------------------------

#if TORCH_VERSION_MAJOR >= 2
// A socket that listens on the loopback interface alone, at the port or at any free one if it is 0.
int loopbackListener(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
  const int problem = errno;
  close(fd);
  throw std::system_error(problem, std::generic_category(), problem == EADDRINUSE ? "EADDRINUSE" : "bind");
}
#endif

// tcpStore(host, port, isServer, timeoutMs, loopback): a server listens on all interfaces, or on loopback alone (libtorch 2;
// 1.13 knows no such thing). Port 0 is any free one.
napi_value tcpStore(napi_env env, const Args& args) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(integerOf(env, args.at(1), "port"));
  options.isServer = flagOf(env, args, 2);
  options.waitWorkers = false;
  options.timeout = msOf(env, args, 3);
#if TORCH_VERSION_MAJOR >= 2
  if (options.isServer && flagOf(env, args, 4)) {
    const int fd = loopbackListener(options.port);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    options.port = ntohs(address.sin_port);
    options.masterListenFd = fd;  // the store closes it
  }
#endif
  StorePointer store = c10::make_intrusive<c10d::TCPStore>(textOf(env, args.at(0)), options);
  return handOver(env, std::make_unique<StoreSlot>(std::move(store)));
}
// storePort(store): of a store on TCP.
napi_value storePort(napi_env env, const Args& args) {
  const auto* store = dynamic_cast<c10d::TCPStore*>(&storeAt(env, args));
  if (store == nullptr) throw BadArgument("this store has no port");
  return toJs(env, static_cast<int64_t>(store->getPort()));
}
// fileStore(path, processes, timeoutMs)
napi_value fileStore(napi_env env, const Args& args) {
  StorePointer store = c10::make_intrusive<c10d::FileStore>(textOf(env, args.at(0)), wholeOf(env, args, 1, "processes"));
  store->setTimeout(msOf(env, args, 2));
  return handOver(env, std::make_unique<StoreSlot>(std::move(store)));
}
// prefixStore(store, prefix): the same store, with names of its own.
napi_value prefixStore(napi_env env, const Args& args) {
  storeAt(env, args);
  StorePointer inner = handleOf<StoreSlot>(env, args.at(0), Kind::Store, "store").store;
  StorePointer store = c10::make_intrusive<c10d::PrefixStore>(textOf(env, args.at(1)), inner);
  return handOver(env, std::make_unique<StoreSlot>(std::move(store)));
}
napi_value storeSet(napi_env env, const Args& args) {
  const std::string text = textOf(env, args.at(2));
  storeAt(env, args).set(textOf(env, args.at(1)), std::vector<uint8_t>(text.begin(), text.end()));
  return undefined(env);
}
// storeGet(store, key): waits until the key is there, as long as the store's time-out.
napi_value storeGet(napi_env env, const Args& args) {
  const auto bytes = storeAt(env, args).get(textOf(env, args.at(1)));
  return toJs(env, std::string(bytes.begin(), bytes.end()));
}
napi_value storeAdd(napi_env env, const Args& args) {
  return toJs(env, storeAt(env, args).add(textOf(env, args.at(1)), integerOf(env, args.at(2), "amount")));
}
napi_value storeHas(napi_env env, const Args& args) {
  return toJs(env, storeAt(env, args).check({textOf(env, args.at(1))}));
}
napi_value storeClose(napi_env env, const Args& args) {
  handleOf<StoreSlot>(env, args.at(0), Kind::Store, "store").store.reset();
  return undefined(env);
}

// --- groups ---------------------------------------------------------------------------------------------------------

// glooGroup(store, rank, processes, timeoutMs, interface, host): over the network interface, or that of the host's address,
// or the one that this machine's name stands for.
napi_value glooGroup(napi_env env, const Args& args) {
  storeAt(env, args);
  auto options = c10d::ProcessGroupGloo::Options::create(msOf(env, args, 3));
  const std::string interface = textOf(env, args.at(4)), host = textOf(env, args.at(5));
  options->devices.push_back(!interface.empty() ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                             : !host.empty()    ? c10d::ProcessGroupGloo::createDeviceForHostname(host)
                                                : c10d::ProcessGroupGloo::createDefaultDevice());
  options->threads = 2;
  GroupPointer group = c10::make_intrusive<c10d::ProcessGroupGloo>(
      handleOf<StoreSlot>(env, args.at(0), Kind::Store, "store").store, wholeOf(env, args, 1, "rank"),
      wholeOf(env, args, 2, "processes"), options);
  return handOver(env, std::make_unique<GroupSlot>(std::move(group)));
}

// ncclGroup(store, rank, processes, timeoutMs, device): collectives of CUDA tensors, which live on this device from now on.
napi_value ncclGroup(napi_env env, const Args& args) {
#ifdef USE_C10D_NCCL
  storeAt(env, args);
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(integerOf(env, args.at(4), "device")));
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = msOf(env, args, 3);
  GroupPointer group = c10::make_intrusive<c10d::ProcessGroupNCCL>(
      handleOf<StoreSlot>(env, args.at(0), Kind::Store, "store").store, wholeOf(env, args, 1, "rank"),
      wholeOf(env, args, 2, "processes"), options);
  return handOver(env, std::make_unique<GroupSlot>(std::move(group)));
#else
  throw BadArgument("the addon was built without NCCL");
#endif
}
napi_value hasNccl(napi_env env, const Args&) {
#ifdef USE_C10D_NCCL
  return toJs(env, true);
#else
  return toJs(env, false);
#endif
}
// Waits for what is under way, then frees the connections.
napi_value groupClose(napi_env env, const Args& args) {
  handleOf<GroupSlot>(env, args.at(0), Kind::Group, "process group").group.reset();
  return undefined(env);
}

// --- collectives ----------------------------------------------------------------------------------------------------

napi_value started(napi_env env, Work work) { return handOver(env, std::make_unique<WorkSlot>(std::move(work))); }

at::Tensor plain(napi_env env, const Args& args, size_t i, const char* what) {
  const auto& tensor = tensorOf(env, args.at(i), what);
  if (!tensor.is_contiguous()) throw BadArgument(std::string(what) + ": wanted a contiguous tensor");
  return tensor.detach();
}

c10d::ReduceOp reductionNamed(const std::string& name) {
  if (name == "sum") return c10d::ReduceOp::SUM;
  if (name == "max") return c10d::ReduceOp::MAX;
  if (name == "min") return c10d::ReduceOp::MIN;
  throw BadArgument("no reduction is named " + name);
}

// startAllReduce(group, tensor, 'sum' | 'max' | 'min'): in place.
napi_value startAllReduce(napi_env env, const Args& args) {
  return started(env, allReduce(*groupAt(env, args), plain(env, args, 1, "allReduce"),
                                reductionNamed(textOf(env, args.at(2)))));
}
// startBroadcast(group, tensor, from): in place.
napi_value startBroadcast(napi_env env, const Args& args) {
  std::vector<at::Tensor> tensors{plain(env, args, 1, "broadcast")};
  if (tensors[0].numel() == 0) return started(env, {});
  c10d::BroadcastOptions options;
  options.rootRank = integerOf(env, args.at(2), "from");
  return started(env, groupAt(env, args)->broadcast(tensors, options));
}

Work allGather(Group& group, const at::Tensor& into, const at::Tensor& own) {
  if (own.numel() == 0) return {};
  std::vector<at::Tensor> inputs{own};
  std::vector<std::vector<at::Tensor>> outputs{into.unbind(0)};
  return group.allgather(outputs, inputs);
}
// startAllGather(group, into [W, …], own […])
napi_value startAllGather(napi_env env, const Args& args) {
  return started(env, allGather(*groupAt(env, args), plain(env, args, 1, "allGather"), plain(env, args, 2, "allGather")));
}
// startSend(group, tensor, to), startReceive(group, tensor, from)
napi_value startSend(napi_env env, const Args& args) {
  std::vector<at::Tensor> tensors{plain(env, args, 1, "send")};
  return started(env, groupAt(env, args)->send(tensors, wholeOf(env, args, 2, "to"), 0));
}
napi_value startReceive(napi_env env, const Args& args) {
  std::vector<at::Tensor> tensors{plain(env, args, 1, "receive")};
  return started(env, groupAt(env, args)->recv(tensors, wholeOf(env, args, 2, "from"), 0));
}
napi_value startBarrier(napi_env env, const Args& args) { return started(env, groupAt(env, args)->barrier()); }

napi_value workWait(napi_env env, const Args& args) {
  auto& slot = handleOf<WorkSlot>(env, args.at(0), Kind::Work, "work");
  await(slot.work);
  slot.work.reset();  // a second wait returns at once
  return undefined(env);
}
napi_value workDone(napi_env env, const Args& args) {
  const auto& work = handleOf<WorkSlot>(env, args.at(0), Kind::Work, "work").work;
  return toJs(env, !work || work->isCompleted());
}

// --- collectives with a gradient ------------------------------------------------------------------------------------

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The graph holds the group, which may be closed before backward.
void remember(AutogradContext* context, const GroupPointer& group, double scale) {
  context->saved_data["group"] = c10::IValue::make_capsule(group);
  context->saved_data["scale"] = scale;
}
Group& remembered(AutogradContext* context) {
  return static_cast<Group&>(*context->saved_data["group"].toCapsule());
}
at::Tensor summed(Group& group, const at::Tensor& tensor) {
  auto sum = tensor.clone(at::MemoryFormat::Contiguous);
  await(allReduce(group, sum));
  return sum;
}

// The sum over the processes; backward, `scale` times the sum of their gradients.
struct SumAcross : torch::autograd::Function<SumAcross> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const GroupPointer& group, double scale) {
    remember(context, group, scale);
    return summed(remembered(context), x);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {summed(remembered(context), gradients[0]).mul_(context->saved_data["scale"].toDouble()), {}, {}};
  }
};

// […] of each process → [W, …]; backward, `scale` times the sum over the processes of the gradient of the own slice.
struct GatherAcross : torch::autograd::Function<GatherAcross> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const GroupPointer& group, double scale) {
    remember(context, group, scale);
    auto& across = remembered(context);
    auto sizes = x.sizes().vec();
    sizes.insert(sizes.begin(), across.getSize());
    auto all = at::empty(sizes, x.options().requires_grad(false));
    await(allGather(across, all, x.contiguous()));
    return all;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto& across = remembered(context);
    const auto sum = summed(across, gradients[0]);
    return {sum.select(0, across.getRank()).mul(context->saved_data["scale"].toDouble()), {}, {}};
  }
};

// sumAcross(group, tensor, scale), gatherAcross(group, tensor, scale)
napi_value sumAcross(napi_env env, const Args& args) {
  return wrap(env, SumAcross::apply(tensorOf(env, args.at(1), "sum"), groupAt(env, args),
                                    numberOf(env, args.at(2), "scale")));
}
napi_value gatherAcross(napi_env env, const Args& args) {
  return wrap(env, GatherAcross::apply(tensorOf(env, args.at(1), "gather"), groupAt(env, args),
                                       numberOf(env, args.at(2), "scale")));
}

// --- gradient buckets -----------------------------------------------------------------------------------------------

// makeBuckets(group, parameters, bytes)
napi_value makeBuckets(napi_env env, const Args& args) {
  return handOver(env, std::make_unique<Buckets>(groupAt(env, args), tensorsOf(env, args.at(1), "buckets"),
                                                 integerOf(env, args.at(2), "bytes")));
}
Buckets& bucketsAt(napi_env env, const Args& args) {
  return handleOf<Buckets>(env, args.at(0), Kind::Buckets, "set of gradient buckets");
}
napi_value bucketsArm(napi_env env, const Args& args) {
  bucketsAt(env, args).arm();
  return undefined(env);
}
napi_value bucketsFinish(napi_env env, const Args& args) {
  bucketsAt(env, args).finish();
  return undefined(env);
}
napi_value bucketsCount(napi_env env, const Args& args) {
  return toJs(env, static_cast<int64_t>(bucketsAt(env, args).count()));
}

// Lets the kernel end this process when the one that started it ends, however it does.
napi_value dieWithParent(napi_env env, const Args&) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  return undefined(env);
}

}  // namespace

void defineDistributed(napi_env env, napi_value exports) {
  // what c10d has to say comes as exceptions; its log of the same, with stacks, would bury our words
  setenv("TORCH_CPP_LOG_LEVEL", "FATAL", 0);
  c10::initLogging();
#define EXPORT(name) define<name>(env, exports, #name)
  EXPORT(tcpStore);
  EXPORT(storePort);
  EXPORT(fileStore);
  EXPORT(prefixStore);
  EXPORT(storeSet);
  EXPORT(storeGet);
  EXPORT(storeAdd);
  EXPORT(storeHas);
  EXPORT(storeClose);
  EXPORT(glooGroup);
  EXPORT(ncclGroup);
  EXPORT(hasNccl);
  EXPORT(groupClose);
  EXPORT(startAllReduce);
  EXPORT(startBroadcast);
  EXPORT(startAllGather);
  EXPORT(startSend);
  EXPORT(startReceive);
  EXPORT(startBarrier);
  EXPORT(workWait);
  EXPORT(workDone);
  EXPORT(sumAcross);
  EXPORT(gatherAcross);
  EXPORT(makeBuckets);
  EXPORT(bucketsArm);
  EXPORT(bucketsFinish);
  EXPORT(bucketsCount);
  EXPORT(dieWithParent);
#undef EXPORT
}

}  // namespace mixbct
