import { z } from 'zod';
import { defineMethod } from './method.ts';

/**
 * The new model's classifier also classifies the old embeddings of the same samples, so that each class region must hold both. As in
 * MixBCT old embeddings teach the classifier where a class lies, but none takes the place of a new one: every image has its gradient.
 */
export const joint = defineMethod({
  name: 'joint',
  source:
    'this project: MixBCT (arXiv:2308.06948) without replacement, which docs/ablations.md found to cost it a third of its gain',
  needs: ['oldEmbedding'],
  projects: false,
  options: z.strictObject({
    weight: z
      .number()
      .min(0)
      .default(1)
      .describe('of the classification of old embeddings; that of the new ones has 1'),
  }),
  search: [[0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3].map((weight) => ({ weight }))],
  start: ({ weight }) => ({
    terms: ({ embeddings, labels, head, old }) => ({
      classify: { value: head.loss(embeddings, labels), weight: 1 },
      old: { value: head.loss(old.oldEmbedding, labels), weight },
    }),
  }),
});
