import type { Rng } from '../base/rng.ts';
import { Module } from '../nn/index.ts';
import type { ChosenRows } from '../optim/index.ts';
import type { Tensor } from '../torch/index.ts';
import type { Shard } from './shards.ts';

/** The head in one training step. */
export type HeadOfStep = {
  /** What classifies in this step. Its `weight` is the whole one. */
  readonly classifier: Pick<Head, 'loss' | 'weight' | 'overClasses'>;
  /** The rows of `weight` that learn in this step; null: all of them. */
  readonly chosen: ChosenRows | null;
};

/** The classification layer of a run and its loss: never part of a backbone. */
export abstract class Head extends Module {
  /** Whether its gradients count in the norm that clipping limits, as the reference's softmax layer does and its margin heads do not. */
  abstract readonly clipped: boolean;
  /** Plain logits, without margin. embeddings [B, D] → [B, C] */
  abstract logits(embeddings: Tensor): Tensor;
  /** One row for each class that this process holds: all of them [C, D], unless there is a `shard`. */
  abstract readonly weight: Tensor;
  /** Which of the classes those are, where each process holds some. */
  readonly shard: (Shard & { readonly of: number }) | null = null;
  /** Over all classes the sum of what is summed over the rows of `weight` here; with a gradient. */
  overClasses(sum: Tensor): Tensor {
    return sum;
  }
  /** embeddings [B, D], labels [B] int64 → scalar: the mean over the batch. Of several processes each gives its share of it. */
  abstract loss(embeddings: Tensor, labels: Tensor): Tensor;

  /** The head for a step on samples of these classes. Draws come from `rng`; by default there are none, and all of it learns. */
  forStep(_labels: ArrayLike<number>, _rng: Rng): HeadOfStep {
    return { classifier: this, chosen: null };
  }

  override forward(embeddings: Tensor): Tensor {
    return this.logits(embeddings);
  }
}
