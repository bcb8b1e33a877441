import { Module } from '../../nn/index.ts';
import { permute, reshape, type Tensor } from '../../torch/index.ts';
import type { Block, Iresnet } from '../iresnet.ts';
import { inTurn, type Packed, PackedConv, PackedLinear, PackedWinograd, suitsWinograd } from './layers.ts';

/** Narrower networks embed thousands of images a second as they are, and to the same bytes on processors of every width. */
const LEAST_CHANNELS = 64;

/** Two operations, or three where the shape changes, and nothing between them. */
class PackedBlock extends Module {
  readonly first: Packed;
  readonly second: Packed;
  readonly downsample: Packed | null;

  constructor({ bn1, conv1, bn2, prelu, conv2, bn3, downsample }: Block) {
    super();
    this.first = new PackedWinograd(conv1, { before: bn1, after: bn2, prelu });
    this.second = suitsWinograd(conv2)
      ? new PackedWinograd(conv2, { after: bn3 })
      : new PackedConv(conv2, { after: bn3 });
    const [conv, norm] = downsample;
    this.downsample = conv && norm ? new PackedConv(conv, { after: norm }) : null;
  }

  override forward(x: Tensor): Tensor {
    return this.second.plus(this.first.forward(x), this.downsample ? this.downsample.forward(x) : x);
  }
}

/** An `Iresnet` that only embeds. images [B, 3, S, S], channels last → embeddings [B, D] */
export class PackedIresnet extends Module {
  readonly stem: PackedConv;
  readonly blocks: readonly PackedBlock[];
  readonly fc: PackedLinear;

  constructor({ conv1, bn1, prelu, blocks, bn2, fc, features }: Iresnet) {
    super();
    this.stem = new PackedConv(conv1, { after: bn1, prelu });
    this.blocks = blocks.map((block) => new PackedBlock(block));
    const channels = bn2.weight.shape[0]!;
    this.fc = new PackedLinear(fc, { before: bn2, after: features, order: [channels, fc.weight.shape[1]! / channels] });
  }

  /** Whether a network is wide enough, and its images large enough. */
  static suits({ conv1, blocks, bn2, fc }: Iresnet): boolean {
    const places = fc.weight.shape[1]! / bn2.weight.shape[0]!;
    return (
      places > 1 && conv1.weight.shape[0]! >= LEAST_CHANNELS && blocks.every((block) => suitsWinograd(block.conv1))
    );
  }

  override forward(images: Tensor): Tensor {
    const maps = inTurn([this.stem, ...this.blocks], images, (part, x) => part.forward(x));
    return this.fc.forward(reshape(permute(maps, [0, 2, 3, 1]), [images.shape[0]!, -1]));
  }
}
