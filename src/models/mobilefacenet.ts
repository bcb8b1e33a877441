import type { Rng } from '../base/rng.ts';
import {
  BatchNorm,
  Conv2d,
  checkpointSequential,
  Flatten,
  init,
  Linear,
  Module,
  type Pass,
  PReLU,
} from '../nn/index.ts';
import { add, inFloat32, type Tensor } from '../torch/index.ts';
import type { BackboneOptions } from './options.ts';

/** Kaiming's normal for ReLU by the outputs: each weight of an output channel is drawn with variance 2 / (out · k²). */
const byOutputs = (shape: readonly number[], rng: Rng): Tensor => {
  const [outputs, , ...kernel] = shape as [number, number, ...number[]];
  return init.normal(shape, Math.sqrt(2 / kernel.reduce((product, size) => product * size, outputs)), rng);
};

type ConvOptions = {
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
  readonly groups?: number;
};

/** Layers one after the other, under the name that the reference gives them. */
export class Stack extends Module {
  readonly layers: readonly Module[];

  constructor(...layers: readonly Module[]) {
    super();
    this.layers = layers;
  }

  override forward(x: Tensor, pass: Pass): Tensor {
    return checkpointSequential(this.layers, x, pass);
  }
}

const convolution = (inputs: number, outputs: number, options: ConvOptions, rng: Rng): Conv2d =>
  new Conv2d(inputs, outputs, { ...options, bias: false, init: byOutputs }, rng.split('conv'));

/** Convolution and batch norm. */
const linearBlock = (inputs: number, outputs: number, options: ConvOptions, rng: Rng): Stack =>
  new Stack(convolution(inputs, outputs, options, rng), new BatchNorm(outputs));

/** The same and a PReLU. */
class ConvBlock extends Stack {
  override readonly layers: readonly [conv: Conv2d, norm: BatchNorm, prelu: PReLU];

  constructor(...layers: readonly [conv: Conv2d, norm: BatchNorm, prelu: PReLU]) {
    super();
    this.layers = layers;
  }

  override forward(x: Tensor, pass: Pass): Tensor {
    const [conv, norm, prelu] = this.layers;
    return norm.thenPrelu(conv.forward(x), prelu, pass);
  }
}

const convBlock = (inputs: number, outputs: number, options: ConvOptions, rng: Rng): Stack =>
  new ConvBlock(convolution(inputs, outputs, options, rng), new BatchNorm(outputs), new PReLU(outputs));

type DepthWiseOptions = { readonly width: number; readonly stride: number };

/** 1×1 to `width` channels → 3×3 on each channel alone → 1×1. */
const depthWise = (inputs: number, outputs: number, { width, stride }: DepthWiseOptions, rng: Rng): Stack =>
  new Stack(
    convBlock(inputs, width, { kernel: 1 }, rng.split('expand')),
    convBlock(width, width, { kernel: 3, stride, padding: 1, groups: width }, rng.split('depth')),
    linearBlock(width, outputs, { kernel: 1 }, rng.split('project')),
  );

/** `count` such blocks, each added to what enters it. */
export class Residual extends Stack {
  constructor(channels: number, count: number, width: number, rng: Rng) {
    const block = { width, stride: 1 };
    super(...Array.from({ length: count }, (_, i) => depthWise(channels, channels, block, rng.split('block', i))));
  }

  override forward(x: Tensor, pass: Pass): Tensor {
    return this.layers.reduce((value, block) => add(value, block.forward(value, pass)), x);
  }
}

export type MobileFaceNetSize = {
  /** Multiplies the channels of the trunk. */
  readonly scale: number;
  /** Residual blocks of the four stages. */
  readonly blocks: readonly [number, number, number, number];
};

/**
 * The small network of face recognition. images [B, 3, S, S] → embeddings [B, D], not normalised.
 *
 * Under autocast all behind the residual trunk keeps float32 (methods.md 2.7, 3.3).
 * Source: MobileFaceNets, arXiv:1804.07573, in the reference's form (methods.md 3.3); state names are the reference's.
 */
export class MobileFaceNet extends Module {
  readonly layers: readonly Module[];
  readonly convSep: Stack;
  /** A convolution over the whole map, a linear layer, a batch norm. */
  readonly features: Stack;
  readonly #checkpointEvery: number;

  constructor(
    { scale, blocks }: MobileFaceNetSize,
    { embeddingDim, inputSide = 112, width = 1, checkpointEvery = 0 }: BackboneOptions,
    rng: Rng,
  ) {
    super();
    if (inputSide % 16 !== 0)
      throw new RangeError(`mobilefacenet: inputSide must be a multiple of 16, got ${inputSide}`);
    this.#checkpointEvery = checkpointEvery;
    const c = Math.max(1, Math.round(64 * width));
    const [narrow, wide] = [c * scale, 2 * c * scale];
    const at = (i: number): Rng => rng.split('layers', i);
    const strided = (width: number) => ({ width, stride: 2 });
    this.layers = [
      convBlock(3, narrow, { kernel: 3, stride: 2, padding: 1 }, at(0)),
      blocks[0] === 1
        ? convBlock(narrow, narrow, { kernel: 3, padding: 1, groups: c }, at(1))
        : new Residual(narrow, blocks[0], 2 * c, at(1)),
      depthWise(narrow, narrow, strided(2 * c), at(2)),
      new Residual(narrow, blocks[1], 2 * c, at(3)),
      depthWise(narrow, wide, strided(4 * c), at(4)),
      new Residual(wide, blocks[2], 4 * c, at(5)),
      depthWise(wide, wide, strided(8 * c), at(6)),
      new Residual(wide, blocks[3], 4 * c, at(7)),
    ];
    this.convSep = convBlock(wide, 8 * c, { kernel: 1 }, rng.split('conv_sep'));
    this.features = new Stack(
      linearBlock(8 * c, 8 * c, { kernel: inputSide / 16, groups: 8 * c }, rng.split('features', 'map')),
      new Flatten(),
      new Linear(8 * c, embeddingDim, { bias: false, init: byOutputs }, rng.split('features', 'linear')),
      new BatchNorm(embeddingDim),
    );
  }

  override forward(images: Tensor, pass: Pass): Tensor {
    const trunk = checkpointSequential(this.layers, images, pass, this.#checkpointEvery);
    return inFloat32(trunk, (wide) => this.features.forward(this.convSep.forward(wide, pass), pass));
  }
}
