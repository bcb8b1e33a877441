import type { Rng } from '../base/rng.ts';
import { init, parameter } from '../nn/index.ts';
import {
  add,
  clamp,
  cosines,
  gather,
  greater,
  mul,
  noGrad,
  type ProcessGroup,
  requireGrad,
  scatter,
  selectRows,
  singleProcess,
  sqrt,
  square,
  sub,
  type Tensor,
  tensor,
  toNumbers,
  unsqueeze,
  where,
} from '../torch/index.ts';
import { saturatedCrossEntropy } from './cross-entropy.ts';
import { Head, type StepHead } from './head.ts';
import { positionsInSample, sampleClasses } from './sampling.ts';
import { labelsInShard, shardedCrossEntropy, shardOf } from './shards.ts';

/** Lower bound of 1 - cos², so that the derivative of ArcFace stays finite at cos = ±1 (D-29). */
export const SINE_SQUARED_FLOOR = 1e-12;

export type MarginOptions = {
  readonly scale: number;
  /** Share of the classes that a training step samples; see `sampleClasses`. */
  readonly sampleRate?: number;
};
export type ArcFaceOptions = MarginOptions & { readonly marginRad: number; readonly sineFloor?: number };
export type CosFaceOptions = MarginOptions & { readonly marginCos: number };

/** Replaces the target's cosine by `changed(cosine)`. cos [B, C], labels [B] (-1: no target here) → [B, C] */
function withTarget(cos: Tensor, labels: Tensor, changed: (target: Tensor) => Tensor): Tensor {
  const column = unsqueeze(labels, 1);
  const index = clamp(column, 0);
  const target = gather(cos, 1, index);
  return scatter(cos, 1, index, where(greater(column, -1), changed(target), target));
}

/**
 * ArcFace logits: adds `marginRad` to the angle to the target's centre. Beyond π - margin the target falls linearly instead, so
 * that it stays monotonic. cos [B, C] in [-1, 1], labels [B] → [B, C] times `scale`
 *
 * Source: arXiv:1801.07698 eq. 3; methods.md 2.3.
 */
export function arcfaceLogits(
  cos: Tensor,
  labels: Tensor,
  { marginRad: m, scale, sineFloor = SINE_SQUARED_FLOOR }: ArcFaceOptions,
): Tensor {
  const turned = (t: Tensor): Tensor => {
    const sine = sqrt(clamp(sub(mul(square(t), -1), -1), sineFloor));
    const inside = sub(mul(t, Math.cos(m)), mul(sine, Math.sin(m)));
    const beyond = sub(t, Math.sin(Math.PI - m) * m);
    return where(greater(t, Math.cos(Math.PI - m)), inside, beyond);
  };
  return mul(withTarget(cos, labels, turned), scale);
}

/** CosFace logits: the target's cosine less `marginCos`. cos [B, C], labels [B] → [B, C] times `scale`. Source: arXiv:1801.09414 eq. 4. */
export const cosfaceLogits = (cos: Tensor, labels: Tensor, { marginCos, scale }: CosFaceOptions): Tensor =>
  mul(
    withTarget(cos, labels, (t) => add(t, -marginCos)),
    scale,
  );

type MarginLogits = (cos: Tensor, labels: Tensor) => Tensor;

/** Class centres on the unit sphere, and a margin on the target's cosine. Source: methods.md 2.3, in shards 2.8. */
class MarginHead extends Head {
  override readonly clipped = false;
  override readonly weight: Tensor; // [C, D], or the rows of a shard
  override readonly shard: Head['shard'];
  readonly #scale: number;
  readonly #sampleRate: number;
  readonly #marginLogits: MarginLogits;
  readonly #group: ProcessGroup;

  constructor(
    embeddingDim: number,
    classes: number,
    { scale, sampleRate = 1, marginLogits }: MarginOptions & { readonly marginLogits: MarginLogits },
    rng: Rng,
    group: ProcessGroup,
  ) {
    super();
    this.#scale = scale;
    this.#sampleRate = sampleRate;
    this.#marginLogits = marginLogits;
    this.#group = group;
    const rows = shardOf(classes, group);
    this.shard = group.processes > 1 ? { ...rows, of: classes } : null;
    this.weight = parameter(init.normalRows([classes, embeddingDim], 0.01, rng.split('weight'), rows));
  }

  override logits(embeddings: Tensor): Tensor {
    return mul(cosinesTo(this.weight, embeddings), this.#scale);
  }

  override loss(embeddings: Tensor, labels: Tensor): Tensor {
    return this.#lossAmong(this.weight, embeddings, this.#rowsOf(labels));
  }

  override overClasses(sum: Tensor): Tensor {
    return this.#group.sumOfShards(sum);
  }

  /** The whole batch's labels as rows of `weight`; -1 for classes of other shards. [b] int64 → [B] int64 */
  #rowsOf(labels: Tensor): Tensor {
    return this.shard ? labelsInShard(this.#group.gather(labels), this.shard) : labels;
  }

  /** centres [K, D], labels [B] of the whole batch as rows of them */
  #lossAmong(centres: Tensor, embeddings: Tensor, labels: Tensor): Tensor {
    const cos = cosinesTo(centres, this.#group.gather(embeddings)); // [B, K]
    const logits = centres.shape[0] === 0 ? cos : this.#marginLogits(cos, labels);
    return this.shard ? shardedCrossEntropy([{ logits, labels }], this.#group) : saturatedCrossEntropy(logits, labels);
  }

  override forStep(labels: ArrayLike<number>, rng: Rng): StepHead {
    if (this.#sampleRate === 1) return super.forStep(labels, rng);
    const classes = this.weight.shape[0]!;
    const count = Math.floor(this.#sampleRate * classes);
    const present = this.#rowsOf(tensor(BigInt64Array.from(Array.from(labels), BigInt)));
    const draws = this.shard ? rng.split(this.#group.rank) : rng;
    const sample = sampleClasses(toNumbers(present), { classes, count }, () => draws.uniform());
    const index = tensor(BigInt64Array.from(sample, BigInt));
    const rows = requireGrad(noGrad(() => selectRows(this.weight, index)));
    const places = tensor(positionsInSample(sample, classes));
    return {
      classifier: {
        weight: this.weight,
        shard: this.shard,
        overClasses: (sum) => this.overClasses(sum),
        loss: (embeddings, among) => this.#lossAmong(rows, embeddings, placesOf(this.#rowsOf(among), places)),
      },
      chosen: { whole: this.weight, index, rows },
    };
  }
}

/** Labels (-1: of another shard) as positions in the sample. labels [B], places [C] → [B], all int64 */
const placesOf = (labels: Tensor, places: Tensor): Tensor =>
  places.numel === 0 ? labels : where(greater(labels, -1), selectRows(places, clamp(labels, 0)), labels);

/** embeddings [B, D] → [B, K] in [-1, 1] */
const cosinesTo = (centres: Tensor, embeddings: Tensor): Tensor => clamp(cosines(embeddings, centres), -1, 1);

export class ArcFace extends MarginHead {
  constructor(embeddingDim: number, classes: number, options: ArcFaceOptions, rng: Rng, group = singleProcess) {
    const marginLogits = (cos: Tensor, labels: Tensor): Tensor => arcfaceLogits(cos, labels, options);
    super(embeddingDim, classes, { ...options, marginLogits }, rng, group);
  }
}

export class CosFace extends MarginHead {
  constructor(embeddingDim: number, classes: number, options: CosFaceOptions, rng: Rng, group = singleProcess) {
    const marginLogits = (cos: Tensor, labels: Tensor): Tensor => cosfaceLogits(cos, labels, options);
    super(embeddingDim, classes, { ...options, marginLogits }, rng, group);
  }
}
