export type { MemoryFormat } from './aten.gen.ts';
export { autocast, backward, checkpointed, gradients, inFloat32, inference, noGrad, requireGrad } from './autograd.ts';
export * from './comparisons.ts';
export { defaultDevice, setDefaultDevice } from './device.ts';
export {
  type BucketOptions,
  C10dProcessGroup,
  dieWithParent,
  type GradientBuckets,
  hasNccl,
  PeerLost,
  type PendingCollective,
  type ProcessGroup,
  type ProcessGroupOptions,
  Store,
  singleProcess,
  withPeerErrors,
} from './distributed.ts';
export { type AllocatorStats, type BuildInfo, libtorchOrigin } from './native.ts';
export * from './ops.ts';
export {
  type Finish,
  PACKED_COLUMNS,
  type PackedGeometry,
  pack,
  packedAttention,
  packedConv,
  packedDepthwise,
  packedLanes,
  packedLinear,
  packedMlp,
  packedWinograd,
  packWinograd,
} from './packed.ts';
export { type PytorchState, readPytorch, readPytorchState } from './pytorch.ts';
export { pytorchArchive } from './pytorch-writer.ts';
export {
  type DistributedContext,
  type JoinOptions,
  joinProcessGroup,
  type RankInfo,
  rankInfoOf,
} from './rendezvous.ts';
export {
  allocatorStats,
  areThreadsChosen,
  bf16Instructions,
  buildInfo,
  setThreads,
  threads,
  trimMemory,
  vectorFloats,
} from './runtime.ts';
export {
  type Metadata,
  readSafetensors,
  readSafetensorsMetadata,
  safetensorsChunks,
  type TensorFile,
  writeSafetensors,
} from './safetensors.ts';
export { keep, liveTensors, scope } from './scope.ts';
export { ScriptedModule } from './scripted-module.ts';
export {
  atHome,
  BYTES,
  defaultGenerator,
  generator,
  hostTensor,
  isTensor,
  share,
  tensor,
  toBytes,
  toFloat32,
  toFloat64,
  toInt32,
  toInt64,
  toNumbers,
  toUint8,
} from './tensor.ts';
export type { Dtype, Generator, HostTensor, Tensor } from './tensor-types.ts';
