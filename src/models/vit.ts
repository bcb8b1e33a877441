import type { Rng } from '../base/rng.ts';
import {
  BatchNorm,
  Conv2d,
  checkpointSequential,
  init,
  LayerNorm,
  Linear,
  Module,
  type Pass,
  parameter,
  Sequential,
} from '../nn/index.ts';
import {
  add,
  argsort,
  clamp,
  concat,
  div,
  expand,
  flatten,
  floor,
  gather,
  inFloat32,
  matmul,
  mul,
  narrow,
  permute,
  rand,
  reshape,
  select,
  softmax,
  type Tensor,
  transpose,
  unsqueeze,
} from '../torch/index.ts';
import type { BackboneOptions } from './options.ts';

/** Side of a patch and distance between two, in pixels. */
const PATCH = 9;
export const HEADS = 8;
/** Of the two batch norms behind the tokens; everything else has 1e-5. */
const FEATURE_EPS = 2e-5;

/** The reference truncates this normal at ±2, a hundred deviations away. */
const small = (shape: readonly number[], rng: Rng): Tensor => init.normal(shape, 0.02, rng);
const dense = (inputs: number, outputs: number, bias: boolean, rng: Rng): Linear =>
  new Linear(inputs, outputs, { bias, init: small }, rng);

/** Self-attention of 8 heads. [B, T, E] → [B, T, E] */
class Attention extends Module {
  readonly qkv: Linear;
  readonly proj: Linear;

  constructor(dim: number, rng: Rng) {
    super();
    this.qkv = dense(dim, 3 * dim, false, rng.split('qkv'));
    this.proj = dense(dim, dim, true, rng.split('proj'));
  }

  override forward(x: Tensor): Tensor {
    const [batch, tokens, dim] = x.shape as [number, number, number];
    const size = dim / HEADS;
    const split = permute(reshape(this.qkv.forward(x), [batch, tokens, 3, HEADS, size]), [2, 0, 3, 1, 4]);
    const attended = inFloat32(split, (wide) => {
      const [q, k, v] = [0, 1, 2].map((part) => select(wide, 0, part)) as [Tensor, Tensor, Tensor]; // [B, heads, T, size]
      return matmul(softmax(mul(matmul(q, transpose(k)), size ** -0.5)), v);
    });
    return this.proj.forward(reshape(transpose(attended, 1, 2), [batch, tokens, dim]));
  }
}

/** E → 4 E → ReLU6 → E */
class Mlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;

  constructor(dim: number, rng: Rng) {
    super();
    this.fc1 = dense(dim, 4 * dim, true, rng.split('fc1'));
    this.fc2 = dense(4 * dim, dim, true, rng.split('fc2'));
  }

  override forward(x: Tensor): Tensor {
    return this.fc2.forward(clamp(this.fc1.forward(x), 0, 6));
  }
}

/** Zeroes whole samples with probability `share` and scales the others by 1 / (1 - share). [B, …] → [B, …] */
export function dropSamples(x: Tensor, share: number): Tensor {
  const kept = floor(add(rand([x.shape[0]!, ...x.shape.slice(1).map(() => 1)]), 1 - share)); // 1 with probability 1 - share
  return mul(x, div(kept, 1 - share));
}

/** x + Attention(LN x), then x + MLP(LN x); in training either branch may be left out of a sample (arXiv:1603.09382). */
export class VitBlock extends Module {
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly attn: Attention;
  readonly mlp: Mlp;
  readonly #dropPath: number;

  constructor(dim: number, dropPath: number, rng: Rng) {
    super();
    this.norm1 = new LayerNorm(dim);
    this.norm2 = new LayerNorm(dim);
    this.attn = new Attention(dim, rng.split('attn'));
    this.mlp = new Mlp(dim, rng.split('mlp'));
    this.#dropPath = dropPath;
  }

  override forward(x: Tensor, { train }: Pass): Tensor {
    const branch = (value: Tensor): Tensor =>
      train && this.#dropPath > 0 ? dropSamples(value, this.#dropPath) : value;
    const attended = add(x, branch(this.attn.forward(this.norm1.forward(x))));
    return add(attended, branch(this.mlp.forward(this.norm2.forward(attended))));
  }
}

/** A strided convolution with a bias: images [B, 3, S, S] → [B, T, E]; pixels beyond the last whole patch are not seen. */
class PatchEmbed extends Module {
  readonly proj: Conv2d;

  constructor(dim: number, rng: Rng) {
    super();
    this.proj = new Conv2d(3, dim, { kernel: PATCH, stride: PATCH }, rng.split('proj'));
  }

  override forward(images: Tensor): Tensor {
    return inFloat32(images, (wide) => transpose(flatten(this.proj.forward(wide), 2), 1, 2));
  }
}

/**
 * Which tokens a training pass sees: for each sample the `count` of smallest noise [B, T]. → positions seen [B, count], and
 * the place of each token in the order of noise [B, T], which undoes the selection
 */
export function drawTokens(noise: Tensor, count: number): { readonly seen: Tensor; readonly places: Tensor } {
  const order = argsort(noise, 1);
  return { seen: narrow(order, 1, 0, count), places: argsort(order, 1) };
}

/** Tokens [B, T, E] at positions [B, K] → [B, K, E] */
const tokensAt = (x: Tensor, positions: Tensor): Tensor =>
  gather(x, 1, expand(unsqueeze(positions, 2), [-1, -1, x.shape[2]!]));

export type VitSize = {
  /** E, size of a token. */
  readonly dim: number;
  readonly depth: number;
};

/**
 * A vision transformer without class token: all tokens together make the embedding. images [B, 3, S, S] → [B, D], not
 * normalised. Random draws (masked tokens, left-out branches) come from libtorch's default generator, which the trainer seeds.
 *
 * Under autocast the linear layers of the blocks compute in half precision, the rest keeps float32 (methods.md 2.7).
 * Source: the reference's backbones/vit.py as methods.md 3.4 states it; state names are the reference's.
 */
export class Vit extends Module {
  readonly posEmbed: Tensor; // [1, T, E]
  readonly maskToken: Tensor; // [1, 1, E], in place of tokens that were not seen
  readonly patchEmbed: PatchEmbed;
  readonly blocks: readonly VitBlock[];
  readonly norm: LayerNorm;
  readonly feature: Sequential;
  readonly #seen: number;
  readonly #checkpointEvery: number;

  constructor(
    { dim: fullDim, depth }: VitSize,
    { embeddingDim, inputSide = 112, width = 1, dropPath = 0, maskRatio = 0, checkpointEvery = 0 }: BackboneOptions,
    rng: Rng,
  ) {
    super();
    const perSide = Math.floor(inputSide / PATCH);
    if (perSide < 1) throw new RangeError(`vit: inputSide must be at least ${PATCH}, got ${inputSide}`);
    const dim = HEADS * Math.max(1, Math.round((fullDim * width) / HEADS));
    const tokens = perSide ** 2;
    this.posEmbed = parameter(small([1, tokens, dim], rng.split('pos_embed')));
    this.maskToken = parameter(small([1, 1, dim], rng.split('mask_token')));
    this.patchEmbed = new PatchEmbed(dim, rng.split('patch_embed'));
    const dropAt = (i: number): number => (depth === 1 ? dropPath : (dropPath * i) / (depth - 1));
    this.blocks = Array.from({ length: depth }, (_, i) => new VitBlock(dim, dropAt(i), rng.split('blocks', i)));
    this.norm = new LayerNorm(dim);
    this.feature = new Sequential(
      dense(tokens * dim, dim, false, rng.split('feature', 0)),
      new BatchNorm(dim, { eps: FEATURE_EPS }),
      dense(dim, embeddingDim, false, rng.split('feature', 2)),
      new BatchNorm(embeddingDim, { eps: FEATURE_EPS }),
    );
    this.#seen = maskRatio > 0 ? Math.floor(tokens * (1 - maskRatio)) : tokens;
    this.#checkpointEvery = checkpointEvery;
  }

  override forward(images: Tensor, pass: Pass): Tensor {
    const all = add(this.patchEmbed.forward(images), this.posEmbed);
    const [batch, tokens, dim] = all.shape as [number, number, number];
    const drawn = pass.train && this.#seen < tokens ? drawTokens(rand([batch, tokens]), this.#seen) : null;
    const inside = checkpointSequential(
      this.blocks,
      drawn ? tokensAt(all, drawn.seen) : all,
      pass,
      this.#checkpointEvery,
    );
    const out = this.norm.forward(inside);
    const missing = (): Tensor => expand(this.maskToken, [batch, tokens - this.#seen, dim]);
    const whole = drawn ? tokensAt(concat([out, missing()], 1), drawn.places) : out;
    return inFloat32(flatten(whole), (wide) => this.feature.forward(wide, pass));
  }
}
