import { z } from 'zod';
import { defineMethod } from './method.ts';
import { influenceLoss, influenceOptions } from './parts/influence.ts';

/**
 * The old model's classifier also classifies the new embeddings. It is synthesised: its frozen rows are the class means of the
 * old embeddings. With a scale of 1, as in the reference, the term hardly changes (D-28).
 */
export const bct = defineMethod({
  name: 'bct',
  source: 'BCT, arXiv:2003.11942, influence loss with a synthesised classifier (methods.md 5.3)',
  needs: ['oldPrototypes'],
  projects: true,
  options: z.strictObject(influenceOptions),
  search: [[1, 3, 10, 30].map((weight) => ({ weight })), [6, 10, 16, 30].map((scale) => ({ scale }))],
  start: ({ weight, ...options }) => ({
    terms: ({ embeddings, inOldSpace, labels, head, old }) => ({
      classify: { value: head.loss(embeddings, labels), weight: 1 },
      influence: { value: influenceLoss(inOldSpace, old.oldPrototypes, labels, options), weight },
    }),
  }),
});
