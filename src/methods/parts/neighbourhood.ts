import {
  add,
  clamp,
  div,
  equalElements,
  linear,
  logSoftmax,
  mean,
  mul,
  neg,
  sum,
  type Tensor,
  to,
  toNumbers,
  unsqueeze,
} from '../../torch/index.ts';

export type Neighbours = {
  /** Old embeddings, rows of length 1; zero rows are empty. [Q, D] */
  readonly queue: Tensor;
  /** Class + 1 of each; 0 for an empty row. [Q] int64 */
  readonly classes: Tensor;
  /** Old embeddings of the batch, rows of length 1. [B, D] */
  readonly oldEmbedding: Tensor;
  readonly labels: Tensor; // [B] int64
};

/** Counts the samples of classes `labels` [B] without any sample of their class in a queue of `classes` [Q]. */
export function countWithoutPositives(labels: Tensor, classes: Tensor): number {
  const there = new Set(toNumbers(classes));
  return toNumbers(labels).filter((label) => !there.has(label + 1)).length;
}

/**
 * -mean_i Σ_j p_ij w_ij log softmax(similarity)_ij / Σ_j p_ij over the queue, where p_ij marks equal classes and w_ij =
 * (⟨o_i, F_j⟩ + 1)/2 is their similarity in the old model. A sample without any of its class in the queue adds 0.
 * similarity [B, Q] → scalar. Source: methods.md 5.5. Empty rows take part in the softmax, as in the reference.
 */
export function neighbourhoodLoss(similarity: Tensor, { queue, classes, oldEmbedding, labels }: Neighbours): Tensor {
  const same = to(equalElements(unsqueeze(add(labels, 1), 1), unsqueeze(classes, 0)), { dtype: similarity.dtype });
  const weights = mul(add(linear(oldEmbedding, queue), 1), 0.5);
  const drawn = sum(mul(mul(same, weights), logSoftmax(similarity)), { dim: 1 });
  return neg(mean(div(drawn, clamp(sum(same, { dim: 1 }), 1))));
}
