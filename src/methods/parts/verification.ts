import {
  add,
  clamp,
  div,
  equalElements,
  greater,
  mean,
  mul,
  softplus,
  sub,
  sum,
  type Tensor,
  to,
  unsqueeze,
} from '../../torch/index.ts';

/**
 * Logistic loss of accepting or rejecting pairs of a query and a gallery embedding, all by one threshold. z is how far a pair is
 * beyond it: the mean over a query's genuine pairs of log(1 + e⁻ᶻ), plus 1/far times the mean over its impostor pairs of
 * log(1 + eᶻ), averaged over queries. So a share of `far` of the impostor pairs weighs as much as all genuine pairs. A query without
 * genuine pairs adds 0 to the first.
 *
 * z [B, Q]; labels [B] int64; classes [Q] int64: class + 1 of each gallery embedding, 0 if there is none
 */
export function verificationLoss(z: Tensor, labels: Tensor, classes: Tensor, far: number): Tensor {
  const { dtype } = z;
  const genuine = to(equalElements(unsqueeze(labels, 1), unsqueeze(sub(classes, 1), 0)), { dtype });
  const impostor = sub(unsqueeze(to(greater(classes, 0), { dtype }), 0), genuine);
  const accepted = softplus(z); // log(1 + eᶻ), and log(1 + e⁻ᶻ) is z less
  const over = (loss: Tensor, pairs: Tensor): Tensor =>
    mean(div(sum(mul(loss, pairs), { dim: 1 }), clamp(sum(pairs, { dim: 1 }), 1)));
  return add(over(sub(accepted, z), genuine), over(accepted, impostor), { alpha: 1 / far });
}

/** Where the old model's impostor pairs lie: their mean similarity, and the least one that a share of `far` of them reaches. */
export type ImpostorSimilarities = { readonly mean: number; readonly threshold: number };

/** similarities: flat [K · K]; labels of the K rows */
export function impostorSimilarities(
  similarities: Float32Array,
  labels: readonly number[],
  far: number,
): ImpostorSimilarities {
  const count = labels.length;
  const impostors = new Float32Array((count * (count - 1)) / 2);
  let [found, sum] = [0, 0];
  for (let i = 0; i < count; i++)
    for (let j = 0; j < i; j++)
      if (labels[i] !== labels[j]) {
        impostors[found++] = similarities[i * count + j]!;
        sum += similarities[i * count + j]!;
      }
  const sorted = impostors.subarray(0, found).sort();
  return { mean: sum / found, threshold: sorted[Math.max(0, found - Math.ceil(far * found))]! };
}
