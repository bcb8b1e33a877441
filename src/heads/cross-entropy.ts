import { add, clamp, detach, gather, logSoftmax, mean, neg, sub, type Tensor, unsqueeze } from '../torch/index.ts';

/** Lower bound of reported probabilities: one sample adds at most 69.08 to the reported loss (D-30). */
export const MIN_PROBABILITY = 1e-30;

/**
 * Mean cross-entropy. Its *value* saturates at -ln(1e-30) per sample, its gradient does not, as in the distributed loss of the
 * reference (methods.md 2.9). logits [B, C], labels [B] → scalar
 */
export function saturatedCrossEntropy(logits: Tensor, labels: Tensor): Tensor {
  const each = neg(gather(logSoftmax(logits), 1, unsqueeze(labels, 1)));
  const limited = clamp(each, null, -Math.log(MIN_PROBABILITY));
  return mean(add(each, detach(sub(limited, each))));
}
