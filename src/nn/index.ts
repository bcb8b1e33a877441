export { checkpointSequential } from './checkpoint-sequential.ts';
export * as init from './init.ts';
export {
  BatchNorm,
  type BatchNormOptions,
  Conv2d,
  type Conv2dOptions,
  Dropout,
  Flatten,
  LayerNorm,
  Linear,
  type LinearOptions,
  PReLU,
  Sequential,
} from './layers.ts';
export { Module, type Pass, parameter } from './module.ts';
export { OrthonormalLinear } from './orthonormal-linear.ts';
