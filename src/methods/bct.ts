import { z } from 'zod';
import { defineMethod } from './method.ts';
import { influence, influenceOptions } from './parts/influence.ts';

/**
 * New embeddings are also classified by the old model's classifier, which is synthesised: its frozen rows are the class
 * means of the old embeddings. With a scale of 1, as the reference has it, the term hardly moves (D-28).
 */
export const bct = defineMethod({
  name: 'bct',
  source: 'BCT, arXiv:2003.11942, influence loss with a synthesised classifier (methods.md 5.3)',
  needs: ['oldPrototypes'],
  projects: true,
  options: z.strictObject(influenceOptions),
  start: ({ weight, ...options }) => ({
    terms: ({ embeddings, inOldSpace, labels, head, old }) => ({
      classify: { value: head.loss(embeddings, labels), weight: 1 },
      influence: { value: influence(inOldSpace, old.oldPrototypes, labels, options), weight },
    }),
  }),
});
