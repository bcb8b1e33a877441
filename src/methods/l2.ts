import { z } from 'zod';
import { clamp, mean, norm, normalizeRows, square, sub } from '../torch/index.ts';
import { defineMethod } from './method.ts';

/**
 * Pulls new unit embeddings to the old ones of the same samples: mean of max(‖o - e‖ - threshold, 0). A threshold of 0.2 is the
 * "weakened" form, which ignores cosines above 0.98.
 */
export const l2 = defineMethod({
  name: 'l2',
  source: 'L2 regression of the MixBCT study (methods.md 5.2): the norm, not its square',
  needs: ['oldEmbedding'],
  projects: true,
  options: z.strictObject({
    weight: z.number().min(0).default(10).describe('λ, factor of the regression term'),
    threshold: z
      .number()
      .min(0)
      .lt(2)
      .default(0)
      .describe('distance of unit vectors below which the term is 0; 0.2 is the weakened form'),
    squared: z.boolean().default(false).describe('squared distances, as in other L2 baselines'),
  }),
  search: [[1, 3, 10, 30].map((weight) => ({ weight })), [0, 0.2, 0.4].map((threshold) => ({ threshold }))],
  start: ({ weight, threshold, squared }) => ({
    terms({ embeddings, inOldSpace, labels, head, old }) {
      const distance = norm(sub(old.oldEmbedding, normalizeRows(inOldSpace)), { dim: 1 });
      const excess = clamp(sub(distance, threshold), 0);
      return {
        classify: { value: head.loss(embeddings, labels), weight: 1 },
        regress: { value: mean(squared ? square(excess) : excess), weight },
      };
    },
  }),
});
