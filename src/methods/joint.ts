import { z } from 'zod';
import { eye, matmul, transpose } from '../torch/index.ts';
import { defineMethod } from './method.ts';

/**
 * The new model's classifier also classifies the old embeddings of the same samples, so that each class region must hold both. As in
 * MixBCT old embeddings teach the classifier where a class lies, but none takes the place of a new one: every image has its gradient.
 * With a projection M [P, D] old embeddings o are lifted to Mᵀo, so that they are compared with projected classes: w · Mᵀo = Mw · o.
 */
export const joint = defineMethod({
  name: 'joint',
  source:
    'this project: MixBCT (arXiv:2308.06948) without replacement, which costs it a third of its gain (docs/ablations.md)',
  needs: ['oldEmbedding'],
  projects: true,
  options: z.strictObject({
    weight: z
      .number()
      .min(0)
      .default(1.5)
      .describe('of the classification of old embeddings; that of the new ones has 1'),
  }),
  search: [[0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3].map((weight) => ({ weight }))],
  start: ({ weight }, { projected, newDim }) => ({
    terms({ embeddings, toOldSpace, labels, head, old: { oldEmbedding } }) {
      const lifted = projected ? matmul(oldEmbedding, transpose(toOldSpace(eye(newDim)), 0, 1)) : oldEmbedding;
      return {
        classify: { value: head.loss(embeddings, labels), weight: 1 },
        old: { value: head.loss(lifted, labels), weight },
      };
    },
  }),
});
