import { z } from 'zod';
import { add, exp, greater, largest, linear, log, mean, mul, normalizeRows, sub, sum, to } from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { gatherBatch, NO_NEGATIVE, withoutOwnClass } from './parts/batch.ts';

/**
 * Aligns new embeddings with old ones beyond the class: the old embedding of each sample is to be nearer to its new one than to new
 * ones of other classes. It is meant for `head: { kind: simplex }`, whose classes stand still from model to model, and weighs against
 * the classification: the paper's convex combination.
 *
 * The reference multiplies the cosines of one class by 0 instead of leaving them out, so that each counts as a negative at a right
 * angle (D-37). A sample without one of another class in the batch adds 0.
 */
export const hoc = defineMethod({
  name: 'hoc',
  source: 'Stationary representations, arXiv:2405.02581 (CVPR 2024), eq. 3 and 4: λ · cross-entropy + (1 - λ) · HOC',
  needs: ['oldEmbedding'],
  projects: true,
  options: z.strictObject({
    lambda: z.number().gt(0).lt(1).default(0.1).describe('λ, factor of the classification; the contrast has 1 - λ'),
    scale: z.number().positive().default(10).describe('μ, factor on the cosines'),
  }),
  search: [[0.03, 0.1, 0.3, 0.5].map((lambda) => ({ lambda })), [5, 10, 20].map((scale) => ({ scale }))],
  start: ({ lambda, scale }) => ({
    terms({ embeddings, inOldSpace, labels, head, old: { oldEmbedding }, group }) {
      const unit = normalizeRows(inOldSpace);
      const others = add(mul(linear(oldEmbedding, gatherBatch(unit, group)), scale), withoutOwnClass(labels, group));
      const most = largest(others, 1); // [b, 1]
      const negative = add(log(sum(exp(sub(others, most)), { dim: 1, keepDim: true })), most);
      const positive = mul(sum(mul(oldEmbedding, unit), { dim: 1, keepDim: true }), scale);
      const counted = to(greater(most, NO_NEGATIVE / 2), { dtype: unit.dtype });
      return {
        classify: { value: head.loss(embeddings, labels), weight: lambda },
        contrast: { value: mean(mul(sub(negative, positive), counted)), weight: 1 - lambda },
      };
    },
  }),
});
