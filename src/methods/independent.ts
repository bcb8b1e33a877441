import { z } from 'zod';
import { defineMethod } from './method.ts';

/** The classification loss alone. It trains old models and the oracle, the upper bound for compatible models. */
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
