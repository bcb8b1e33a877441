import { BatchNorm, Conv2d, type Linear, Module, PReLU } from '../../nn/index.ts';
import { flatten, packedLanes, type Tensor } from '../../torch/index.ts';
import { type MobileFaceNet, Residual, type Stack } from '../mobilefacenet.ts';
import { FoldedConv, inTurn, type Packed, PackedConv, PackedDepthwise, PackedLinear } from './layers.ts';

const through = (layers: readonly Module[], x: Tensor): Tensor =>
  inTurn(layers, x, (layer, value) => layer.forward(value, { train: false }));

/** Layers one after the other. */
class Chain extends Module {
  readonly layers: readonly Module[];

  constructor(layers: readonly Module[]) {
    super();
    this.layers = layers;
  }

  override forward(x: Tensor): Tensor {
    return through(this.layers, x);
  }

  /** The same, and another branch, which the last layer adds. */
  plus(x: Tensor, other: Tensor): Tensor {
    return (this.layers.at(-1) as Packed).plus(through(this.layers.slice(0, -1), x), other);
  }
}

/** Blocks that are added to what enters them. */
class PackedResidual extends Module {
  readonly blocks: readonly Chain[];

  constructor(residual: Residual) {
    super();
    this.blocks = residual.layers.map((block) => new Chain(packedLayers(flat(block))));
  }

  override forward(x: Tensor): Tensor {
    return inTurn(this.blocks, x, (block, value) => block.plus(value, value));
  }
}

/** Layers in their order, those of stacks among them. */
const flat = (layer: Module): Module[] =>
  'layers' in layer && !(layer instanceof Residual) ? (layer as Stack).layers.flatMap(flat) : [layer];

const grouping = ({ weight, geometry }: Conv2d): 'all' | 'each' | 'some' =>
  geometry.groups === 1
    ? 'all'
    : geometry.groups === weight.shape[0] && weight.shape[0] % packedLanes() === 0
      ? 'each'
      : 'some';

/** A convolution takes in the batch norm and PReLU behind it. */
function packedLayers(layers: readonly Module[]): Module[] {
  const made: Module[] = [];
  for (let i = 0; i < layers.length; i++) {
    const layer = layers[i]!;
    if (layer instanceof Residual) made.push(new PackedResidual(layer));
    else if (layer instanceof Conv2d) {
      const after = layers[i + 1] instanceof BatchNorm ? (layers[++i] as BatchNorm) : undefined;
      const prelu = layers[i + 1] instanceof PReLU ? (layers[++i] as PReLU) : undefined;
      const Form = { all: PackedConv, each: PackedDepthwise, some: FoldedConv }[grouping(layer)];
      made.push(new Form(layer, { after, prelu }));
    } else throw new Error(`packed: a ${layer.constructor.name} has no packed form`);
  }
  return made;
}

/** A `MobileFaceNet` that only embeds. images [B, 3, S, S], channels last → embeddings [B, D] */
export class PackedMobileFaceNet extends Module {
  readonly trunk: Chain;
  readonly last: PackedLinear;

  constructor({ layers, convSep, features }: MobileFaceNet) {
    super();
    const [map, , linear, norm] = features.layers as readonly [Stack, Module, Linear, BatchNorm];
    this.trunk = new Chain(packedLayers([...layers, convSep, map].flatMap(flat)));
    this.last = new PackedLinear(linear, { after: norm });
  }

  override forward(images: Tensor): Tensor {
    return this.last.forward(flatten(this.trunk.forward(images)));
  }
}
