import type { LayerNorm } from '../../nn/index.ts';
import { type BatchNorm, type Linear, Module } from '../../nn/index.ts';
import { add, attention, flatten, permute, reshape, select, type Tensor, transpose } from '../../torch/index.ts';
import { HEADS, type Vit, type VitBlock } from '../vit.ts';
import { inTurn, PackedConv, PackedLinear } from './layers.ts';

/** Tokens [B, T, E] → rows [B · T, E], the same memory */
const rowsOf = (x: Tensor): Tensor => reshape(x, [-1, x.shape.at(-1)!]);

/** A block whose linear layers are packed and take in bias, ReLU6 and the other branch. Its layer norms are the model's own. */
class PackedBlock extends Module {
  readonly qkv: PackedLinear;
  readonly proj: PackedLinear;
  readonly fc1: PackedLinear;
  readonly fc2: PackedLinear;
  readonly #norms: readonly [LayerNorm, LayerNorm];

  constructor({ norm1, norm2, attn, mlp }: VitBlock) {
    super();
    this.#norms = [norm1, norm2];
    this.qkv = new PackedLinear(attn.qkv);
    this.proj = new PackedLinear(attn.proj);
    this.fc1 = new PackedLinear(mlp.fc1, { relu6: true });
    this.fc2 = new PackedLinear(mlp.fc2);
  }

  /** [B, T, E] → [B, T, E] */
  override forward(x: Tensor): Tensor {
    const [batch, tokens, dim] = x.shape as [number, number, number];
    const [first, second] = this.#norms;
    const qkv = reshape(this.qkv.forward(rowsOf(first.forward(x))), [batch, tokens, 3, HEADS, dim / HEADS]);
    const split = permute(qkv, [2, 0, 3, 1, 4]);
    const [q, k, v] = [0, 1, 2].map((part) => select(split, 0, part)) as [Tensor, Tensor, Tensor]; // [B, heads, T, size]
    const attended = this.proj.plus(rowsOf(reshape(transpose(attention(q, k, v), 1, 2), x.shape)), rowsOf(x));
    return reshape(this.fc2.plus(this.fc1.forward(second.forward(attended)), attended), x.shape);
  }
}

/** A `Vit` that only embeds, which it shares layer norms and positions with. images [B, 3, S, S], channels last → embeddings [B, D] */
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
