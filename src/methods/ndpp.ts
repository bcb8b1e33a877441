import { z } from 'zod';
import { copy_, detach, keep, noGrad, normalizeRows, scope, to, zero_, zeros } from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { influenceLoss, influenceOptions } from './parts/influence.ts';
import { addToClassSums_, perturbPrototypes } from './parts/prototype-perturbation.ts';

/**
 * BCT with prototypes that move apart: where old classes are close and the new model separates them better, a new embedding is
 * aligned with a place beyond its old class mean. The new model's class directions are those of the training embeddings of the
 * epoch before, so no pass over the data is needed; the first epoch is BCT's.
 */
export const ndpp = defineMethod({
  name: 'ndpp',
  source:
    'after the abstract of arXiv:2503.14824 (neighbor-driven prototype perturbation), whose formula was not available: the rule of the perturbation is of this project (docs/methods.md)',
  needs: ['oldPrototypes'],
  projects: true,
  options: z.strictObject({
    ...influenceOptions,
    neighbours: z
      .int()
      .positive()
      .default(10)
      .describe('nearest other old prototypes that a prototype is moved away from'),
    strength: z.number().min(0).default(1).describe('factor on how far prototypes are moved; 0: BCT'),
  }),
  search: [
    [1, 3, 10, 30].map((weight) => ({ weight })),
    [6, 10, 16, 30].map((scale) => ({ scale })),
    [0.5, 1, 2].map((strength) => ({ strength })),
  ],
  start({ weight, neighbours, strength, ...options }, { oldDim, dataClasses }) {
    const prototypes = keep(zeros([dataClasses, oldDim]));
    const sums = keep(zeros([dataClasses, oldDim])); // of the new unit embeddings since the epoch began
    return {
      state: { prototypes, sums },
      written: [sums],
      async onEpoch({ epoch, old: { oldPrototypes } }) {
        scope(() =>
          noGrad(() => {
            const renewed =
              epoch === 0 ? oldPrototypes : perturbPrototypes(oldPrototypes, sums, { neighbours, strength });
            copy_(prototypes, renewed);
            zero_(sums);
          }),
        );
      },
      terms({ embeddings, inOldSpace, labels, head, group }) {
        noGrad(() => {
          const unit = to(normalizeRows(detach(inOldSpace)), { dtype: 'float32' });
          addToClassSums_(sums, group.gather(unit), group.gather(labels));
        });
        return {
          classify: { value: head.loss(embeddings, labels), weight: 1 },
          influence: { value: influenceLoss(inOldSpace, prototypes, labels, options), weight },
        };
      },
    };
  },
});
