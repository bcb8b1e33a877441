import type { Rng } from '../base/rng.ts';
import { Module } from '../nn/index.ts';
import type { ChosenRows } from '../optim/index.ts';
import type { Tensor } from '../torch/index.ts';
import type { Shard } from './shards.ts';

/** The head in one training step. */
export type StepHead = {
  /** The classifier of this step. Its `weight` has all rows. */
  readonly classifier: Pick<Head, 'loss' | 'weight' | 'shard' | 'overClasses'>;
  /** The rows of `weight` that this step updates; null: all of them. */
  readonly chosen: ChosenRows | null;
};

/** The classification layer of a run and its loss. It is never part of a backbone. */
export abstract class Head extends Module {
  /** Whether its gradients count in the clipped norm. As in the reference, those of softmax do and those of margin heads do not. */
  abstract readonly clipped: boolean;
  /** Plain logits, without margin. embeddings [B, D] → [B, C] */
  abstract logits(embeddings: Tensor): Tensor;
  /** One row per class that this process holds: all of them [C, D], unless there is a `shard`. */
  abstract readonly weight: Tensor;
  /** The classes that this process holds; null: all. */
  readonly shard: (Shard & { readonly of: number }) | null = null;
  /** Adds up a sum over the rows of `weight` over all processes that hold rows. Differentiable. */
  overClasses(sum: Tensor): Tensor {
    return sum;
  }
  /** Mean loss over the batch. With several processes, each passes its share of the batch. embeddings [B, D], labels [B] int64 → scalar */
  abstract loss(embeddings: Tensor, labels: Tensor): Tensor;

  /** The head for a step on samples of these classes. Sampled heads draw from `rng`; by default all rows are updated. */
  forStep(_labels: ArrayLike<number>, _rng: Rng): StepHead {
    return { classifier: this, chosen: null };
  }

  override forward(embeddings: Tensor): Tensor {
    return this.logits(embeddings);
  }
}
