import { z } from 'zod';
import { defineMethod } from './method.ts';

/** The classification loss alone: old models, and the oracle that a compatible model is measured against. */
export const independent = defineMethod({
  name: 'independent',
  source: 'no compatibility term',
  needs: [],
  projects: false,
  options: z.strictObject({}),
  start: () => ({
    terms: ({ embeddings, labels, head }) => ({ classify: { value: head.loss(embeddings, labels), weight: 1 } }),
  }),
});
