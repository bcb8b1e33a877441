import { z } from 'zod';
import { UserError } from '../base/errors.ts';
import { add, mean, mul, neg, normalizeRows, sum } from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { influenceLoss, influenceOptions } from './parts/influence.ts';

/**
 * The new embedding has more dimensions than the old one. A learned rotation turns it so that its first coordinates, which queries
 * on the old gallery use, follow the old embeddings: by their cosine, and by the class means as a classifier. What is
 * incompatible moves to the other coordinates, and the new gallery uses all of them.
 *
 * The rotation is the recipe's orthonormal projection. The paper has two rotations, adds coordinates by a second branch that is not
 * classified, and also follows the embeddings of an independently trained new model (D-34).
 */
export const bt2 = defineMethod({
  name: 'bt2',
  source: 'BT², arXiv:2211.03989 (ICCV 2023): basis transformation with matching and influence losses',
  needs: ['oldEmbedding', 'oldPrototypes'],
  projects: true,
  options: z.strictObject({
    ...influenceOptions,
    cosineWeight: z.number().min(0).default(5).describe('factor of 1 - cosine to the old embedding of the sample'),
  }),
  search: [[1, 3, 10, 30].map((weight) => ({ weight })), [1, 5, 20].map((cosineWeight) => ({ cosineWeight }))],
  start({ weight, cosineWeight, ...options }, { orthonormal, oldDim, newDim }) {
    if (!orthonormal)
      throw new UserError('bt2: wanted an orthonormal projection from the new embeddings to the old space', {
        hint: `give the recipe network.embeddingDim above the ${oldDim} dimensions of the old embeddings, and projection: { dim: ${Math.min(oldDim, newDim)}, orthonormal: true }`,
      });
    return {
      terms({ embeddings, inOldSpace, labels, head, old }) {
        const cosines = sum(mul(normalizeRows(inOldSpace), old.oldEmbedding), { dim: 1 });
        return {
          classify: { value: head.loss(embeddings, labels), weight: 1 },
          influence: { value: influenceLoss(inOldSpace, old.oldPrototypes, labels, options), weight },
          match: { value: add(neg(mean(cosines)), 1), weight: cosineWeight },
        };
      },
    };
  },
});
