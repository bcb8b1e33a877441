import { type BatchNorm, type Linear, Module } from '../../nn/index.ts';
import {
  add,
  concat,
  flatten,
  full,
  packedAttention,
  packedMlp,
  permute,
  reshape,
  type Tensor,
} from '../../torch/index.ts';
import { HEADS, type Vit, type VitBlock } from '../vit.ts';
import { type Affine, inTurn, PackedConv, PackedLinear } from './layers.ts';

/** Tokens [B, T, E] → rows [B · T, E], the same memory */
const rowsOf = (x: Tensor): Tensor => reshape(x, [-1, x.shape.at(-1)!]);

/** A block of three operations: only tokens lie in memory between them. */
class PackedBlock extends Module {
  readonly qkv: PackedLinear;
  readonly proj: PackedLinear;
  readonly fc1: PackedLinear;
  readonly fc2: PackedLinear;
  readonly #eps: readonly [number, number];

  constructor({ norm1, norm2, attn, mlp }: VitBlock) {
    super();
    const dim = norm1.weight.shape[0]!;
    this.qkv = new PackedLinear(attn.qkv, { before: norm1, after: inBits(dim) });
    this.proj = new PackedLinear(attn.proj);
    this.fc1 = new PackedLinear(mlp.fc1, { before: norm2 });
    this.fc2 = new PackedLinear(mlp.fc2);
    this.#eps = [norm1.eps, norm2.eps];
  }

  /** [B, T, E] → [B, T, E] */
  override forward(x: Tensor): Tensor {
    const [first, second] = this.#eps;
    const attended = this.proj.plus(rowsOf(packedAttention(x, first, this.qkv, HEADS)), rowsOf(x));
    return reshape(packedMlp(attended, second, this.fc1.columns, this.fc1, this.fc2), x.shape);
  }
}

/** Scales q so that the weights of attention, e^(q · k / √size), are powers of two. */
function inBits(dim: number): Affine {
  const filled = (count: number, value: number): Tensor => full([count], value, { dtype: 'float64' });
  const scale = concat([filled(dim, Math.LOG2E / Math.sqrt(dim / HEADS)), filled(2 * dim, 1)], 0);
  return { scale, shift: filled(3 * dim, 0) };
}

/** A `Vit` that only embeds, which it shares positions and the last norm with. images [B, 3, S, S], channels last → embeddings [B, D] */
export class PackedVit extends Module {
  readonly patches: PackedConv;
  readonly blocks: readonly PackedBlock[];
  readonly first: PackedLinear;
  readonly last: PackedLinear;
  readonly #shared: Pick<Vit, 'posEmbed' | 'norm'>;

  constructor(vit: Vit) {
    super();
    const [inner, innerNorm, outer, outerNorm] = vit.feature.modules as readonly [Linear, BatchNorm, Linear, BatchNorm];
    this.patches = new PackedConv(vit.patchEmbed.proj, {});
    this.blocks = vit.blocks.map((block) => new PackedBlock(block));
    this.first = new PackedLinear(inner, { after: innerNorm });
    this.last = new PackedLinear(outer, { after: outerNorm });
    this.#shared = vit;
  }

  override forward(images: Tensor): Tensor {
    const { posEmbed, norm } = this.#shared;
    const patches = permute(this.patches.forward(images), [0, 2, 3, 1]); // [B, side, side, E]
    const tokens = add(reshape(patches, [images.shape[0]!, -1, posEmbed.shape[2]!]), posEmbed);
    const out = norm.forward(inTurn(this.blocks, tokens, (block, x) => block.forward(x)));
    return this.last.forward(this.first.forward(flatten(out)));
  }
}
