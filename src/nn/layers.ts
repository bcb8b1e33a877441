import { UserError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { Tensor } from '../torch/index.ts';
import * as torch from '../torch/index.ts';
import { checkpointSequential } from './checkpoint-sequential.ts';
import { defaultUniform, fanIn } from './init.ts';
import { Module, type Pass, parameter } from './module.ts';
import { synchronizedBatchNorm } from './synchronized-batch-norm.ts';

export type Conv2dOptions = {
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
  readonly groups?: number;
  readonly bias?: boolean;
  /** Initialises the weight; default: as PyTorch. */
  readonly init?: (shape: readonly number[], rng: Rng) => Tensor;
};

/**
 * x [B, in, H, W] → [B, out, H', W']; weight [out, in/groups, k, k].
 *
 * oneDNN writes past its workspace in the weight gradient of a strided 1×1 convolution with fewer input channels than a vector
 * register holds: wrong gradients, or a crash (oneDNN issue 6035; 3.12 in PyTorch 2.13). Such a convolution subsamples its input
 * instead.
 */
export class Conv2d extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly geometry: Required<torch.ConvOptions>;
  /** Whether the stride is a subsampling before the convolution. */
  readonly #subsamples: boolean;

  constructor(inputs: number, outputs: number, options: Conv2dOptions, rng: Rng) {
    super();
    const { kernel, stride = 1, padding = 0, groups = 1, bias = true, init } = options;
    const shape = [outputs, inputs / groups, kernel, kernel];
    const inputsSeen = fanIn(shape);
    this.weight = parameter(
      init ? init(shape, rng.split('weight')) : defaultUniform(shape, inputsSeen, rng.split('weight')),
    );
    this.bias = bias ? parameter(defaultUniform([outputs], inputsSeen, rng.split('bias'))) : null;
    this.geometry = { stride, padding, groups };
    this.#subsamples = stride > 1 && kernel === 1 && padding === 0 && inputs / groups < torch.vectorFloats();
  }

  /** Whether it is a 3×3 convolution over all channels whose map is as large as its input. */
  get keepsSize3x3(): boolean {
    const { stride, padding, groups } = this.geometry;
    return this.weight.shape[2] === 3 && stride === 1 && padding === 1 && groups === 1;
  }

  override forward(x: Tensor): Tensor {
    const { geometry, weight, bias } = this;
    if (this.keepsSize3x3 && !bias) return torch.conv3x3(x, weight);
    if (!this.#subsamples) return torch.conv2d(x, weight, bias, geometry);
    return torch.conv2d(torch.subsample(x, geometry.stride), weight, bias, { ...geometry, stride: 1 });
  }
}

export type LinearOptions = {
  readonly bias?: boolean;
  /** Initialises the weight, with a bias of 0; default: both as PyTorch. */
  readonly init?: (shape: readonly number[], rng: Rng) => Tensor;
};

/** x [.., in] → [.., out]; weight [out, in]. */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | null;

  constructor(inputs: number, outputs: number, { bias = true, init }: LinearOptions, rng: Rng) {
    super();
    const drawn = (shape: readonly number[], part: string): Tensor => defaultUniform(shape, inputs, rng.split(part));
    const shape = [outputs, inputs];
    this.weight = parameter(init ? init(shape, rng.split('weight')) : drawn(shape, 'weight'));
    this.bias = bias ? parameter(init ? torch.zeros([outputs]) : drawn([outputs], 'bias')) : null;
  }

  override forward(x: Tensor): Tensor {
    return torch.linear(x, this.weight, this.bias);
  }
}

export type BatchNormOptions = { readonly eps?: number; readonly momentum?: number };

/** Batch normalisation of [B, C] or [B, C, H, W] over all but C. running ← (1-momentum)·running + momentum·batch. */
export class BatchNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly runningMean: Tensor;
  readonly runningVar: Tensor;
  readonly numBatchesTracked: Tensor;
  protected override readonly bufferNames = ['runningMean', 'runningVar', 'numBatchesTracked'];
  readonly options: Required<BatchNormOptions>;

  constructor(channels: number, { eps = 1e-5, momentum = 0.1 }: BatchNormOptions = {}) {
    super();
    this.weight = parameter(torch.ones([channels]));
    this.bias = parameter(torch.zeros([channels]));
    this.runningMean = torch.keep(torch.zeros([channels]));
    this.runningVar = torch.keep(torch.ones([channels]));
    this.numBatchesTracked = torch.keep(torch.zeros([], { dtype: 'int64' }));
    this.options = { eps, momentum };
  }

  override forward(x: Tensor, pass: Pass): Tensor {
    return this.#forward(x, pass, null);
  }

  /** The same and a PReLU behind it, at once. */
  thenPrelu(x: Tensor, { weight: slope }: PReLU, pass: Pass): Tensor {
    return this.#forward(x, pass, slope);
  }

  #forward(x: Tensor, { again = false, group, ...pass }: Pass, slope: Tensor | null): Tensor {
    const train = pass.train && !this.frozen;
    const alone = !group || group.processes === 1;
    if (train && alone && x.numel === this.weight.numel) throw oneValue();
    if (train && !again) torch.increment_(this.numBatchesTracked);
    const { weight, bias } = this;
    const state = train && again ? { weight, bias, runningMean: null, runningVar: null } : this;
    if (!train || alone) return torch.batchNorm(x, state, { training: train, slope, ...this.options });
    const y = synchronizedBatchNorm(x, state, group, this.options);
    return slope ? torch.prelu(y, slope) : y;
  }
}

const oneValue = (): UserError =>
  new UserError('batch norm: one value for each channel has no variance to train with, wanted images of a batch to compare', {
    hint: 'let a process see two images or more at a time: raise batchSize, lower accumulate, or set syncBatchNorm if there are several processes',
  }); // biome-ignore format: short

/** Layer normalisation over the last dimension, of size `features`. */
export class LayerNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly eps: number;

  constructor(features: number, { eps = 1e-5 }: { readonly eps?: number } = {}) {
    super();
    this.weight = parameter(torch.ones([features]));
    this.bias = parameter(torch.zeros([features]));
    this.eps = eps;
  }

  override forward(x: Tensor): Tensor {
    return torch.layerNorm(x, this.weight, this.bias, this.eps);
  }
}

/** PReLU: max(0, x) + slope·min(0, x), with a slope per channel. */
export class PReLU extends Module {
  readonly weight: Tensor; // [C]

  constructor(channels: number, { slope = 0.25 }: { readonly slope?: number } = {}) {
    super();
    this.weight = parameter(torch.full([channels], slope));
  }

  override forward(x: Tensor): Tensor {
    return torch.prelu(x, this.weight);
  }
}

/** Dropout with probability `p`. It draws from libtorch's default generator, which the trainer seeds. */
export class Dropout extends Module {
  readonly #p: number;

  constructor(p: number) {
    super();
    this.#p = p;
  }

  override forward(x: Tensor, { train }: Pass): Tensor {
    return train && this.#p > 0 ? torch.dropout(x, this.#p) : x;
  }
}

/** [B, …] → [B, product of the rest], in C, H, W order whatever the memory layout. */
export class Flatten extends Module {
  override forward(x: Tensor): Tensor {
    return torch.flatten(x);
  }
}

/** Runs modules one after the other. Their state is named by position (`0.weight`, `1.bias`). */
export class Sequential extends Module {
  readonly modules: readonly Module[];

  constructor(...modules: readonly Module[]) {
    super();
    this.modules = modules;
  }

  protected override children(): Iterable<readonly [name: string, child: unknown]> {
    return this.modules.map((module, i) => [String(i), module] as const);
  }

  override forward(x: Tensor, pass: Pass): Tensor {
    return checkpointSequential(this.modules, x, pass);
  }
}
