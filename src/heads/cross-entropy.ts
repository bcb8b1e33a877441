import { add, clamp, detach, gather, logSoftmax, mean, neg, sub, type Tensor, unsqueeze } from '../torch/index.ts';

/** A probability below this is reported as this, so that one sample adds at most 69.08 to the reported loss (D-30). */
export const LEAST_PROBABILITY = 1e-30;

/**
 * Mean cross-entropy whose *value* saturates at -ln(1e-30) for each sample while its gradient does not, as the
 * distributed loss of the reference behaves (methods.md 2.9). logits [B, C], labels [B] → scalar
 */
export function saturatedCrossEntropy(logits: Tensor, labels: Tensor): Tensor {
  const each = neg(gather(logSoftmax(logits), 1, unsqueeze(labels, 1)));
  const limited = clamp(each, null, -Math.log(LEAST_PROBABILITY));
  return mean(add(each, detach(sub(limited, each))));
}
