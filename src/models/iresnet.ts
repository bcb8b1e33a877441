import type { Rng } from '../base/rng.ts';
import {
  BatchNorm,
  Conv2d,
  checkpointSequential,
  Dropout,
  Flatten,
  init,
  Linear,
  Module,
  type Pass,
  PReLU,
} from '../nn/index.ts';
import { add, inFloat32, requireGrad, type Tensor } from '../torch/index.ts';
import type { BackboneOptions } from './options.ts';

/** Every convolution starts at Normal(0, 0.1), whatever its fan (the reference's choice). */
const convInit = (shape: readonly number[], rng: Rng): Tensor => init.normal(shape, 0.1, rng);

const conv3x3 = (inputs: number, outputs: number, stride: number, rng: Rng): Conv2d =>
  new Conv2d(inputs, outputs, { kernel: 3, stride, padding: 1, bias: false, init: convInit }, rng);

/** BN → 3×3 → BN → PReLU → 3×3 (strided) → BN, plus the input (through a strided 1×1 where the shape changes). */
export class Block extends Module {
  readonly bn1: BatchNorm;
  readonly conv1: Conv2d;
  readonly bn2: BatchNorm;
  readonly prelu: PReLU;
  readonly conv2: Conv2d;
  readonly bn3: BatchNorm;
  readonly downsample: readonly [] | readonly [conv: Conv2d, norm: BatchNorm];

  constructor(inputs: number, outputs: number, stride: number, rng: Rng) {
    super();
    this.bn1 = new BatchNorm(inputs);
    this.conv1 = conv3x3(inputs, outputs, 1, rng.split('conv1'));
    this.bn2 = new BatchNorm(outputs);
    this.prelu = new PReLU(outputs);
    this.conv2 = conv3x3(outputs, outputs, stride, rng.split('conv2'));
    this.bn3 = new BatchNorm(outputs);
    const projection = { kernel: 1, stride, bias: false, init: convInit };
    this.downsample =
      stride === 1 && inputs === outputs
        ? []
        : [new Conv2d(inputs, outputs, projection, rng.split('downsample')), new BatchNorm(outputs)];
  }

  override forward(x: Tensor, pass: Pass): Tensor {
    const inner = this.bn2.thenPrelu(this.conv1.forward(this.bn1.forward(x, pass)), this.prelu, pass);
    const out = this.bn3.forward(this.conv2.forward(inner), pass);
    return add(out, checkpointSequential(this.downsample, x, pass));
  }
}

/**
 * The residual network of face recognition. images [B, 3, S, S] → embeddings [B, D], not normalised.
 *
 * Under autocast the last linear layer and batch norm keep float32 (methods.md 2.7).
 * Source: the reference's backbones/iresnet.py as methods.md 3.1 states it; state names are the reference's.
 */
export class Iresnet extends Module {
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm;
  readonly prelu: PReLU;
  readonly layer1: readonly Block[];
  readonly layer2: readonly Block[];
  readonly layer3: readonly Block[];
  readonly layer4: readonly Block[];
  readonly bn2: BatchNorm;
  readonly fc: Linear;
  /** The last batch norm; its weight is 1 and stays so. */
  readonly features: BatchNorm;
  readonly #dropout: Dropout;
  readonly #flatten = new Flatten();
  readonly #checkpointEvery: number;

  /** `depths`: blocks in each of the four stages. */
  constructor(
    depths: readonly [number, number, number, number],
    { embeddingDim, inputSide = 112, width = 1, dropout = 0, checkpointEvery = 0 }: BackboneOptions,
    rng: Rng,
  ) {
    super();
    if (inputSide % 16 !== 0) throw new RangeError(`iresnet: inputSide must be a multiple of 16, got ${inputSide}`);
    const channels = [64, 128, 256, 512].map((full) => Math.max(1, Math.round(full * width)));
    const [stem, , , last] = channels as [number, number, number, number];
    const stage = (index: number): readonly Block[] =>
      Array.from({ length: depths[index]! }, (_, i) => {
        const inputs = i > 0 ? channels[index]! : (channels[index - 1] ?? stem);
        return new Block(inputs, channels[index]!, i === 0 ? 2 : 1, rng.split(`layer${index + 1}`, i));
      });
    this.conv1 = conv3x3(3, stem, 1, rng.split('conv1'));
    this.bn1 = new BatchNorm(stem);
    this.prelu = new PReLU(stem);
    this.layer1 = stage(0);
    this.layer2 = stage(1);
    this.layer3 = stage(2);
    this.layer4 = stage(3);
    this.bn2 = new BatchNorm(last);
    this.#dropout = new Dropout(dropout);
    this.fc = new Linear(last * (inputSide / 16) ** 2, embeddingDim, {}, rng.split('fc'));
    this.features = new BatchNorm(embeddingDim);
    requireGrad(this.features.weight, false);
    this.#checkpointEvery = checkpointEvery;
  }

  /** Of all stages, in their order. */
  get blocks(): readonly Block[] {
    return [...this.layer1, ...this.layer2, ...this.layer3, ...this.layer4];
  }

  override forward(images: Tensor, pass: Pass): Tensor {
    let x = this.bn1.thenPrelu(this.conv1.forward(images), this.prelu, pass);
    for (const stage of [this.layer1, this.layer2, this.layer3, this.layer4])
      x = checkpointSequential(stage, x, pass, this.#checkpointEvery);
    x = this.#dropout.forward(this.#flatten.forward(this.bn2.forward(x, pass)), pass);
    return inFloat32(x, (wide) => this.features.forward(this.fc.forward(wide), pass));
  }
}
