import { z } from 'zod';
import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { copy_, keep, narrow, noGrad, normalizeRows, scope, type Tensor, tensor, to, zeros } from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { influenceLoss, influenceOptions } from './parts/influence.ts';
import { refinePrototype } from './parts/prototype-refinement.ts';

/**
 * BCT with prototypes that are recomputed during training: old embeddings are propagated along the graph of the new model's
 * neighbours within each class, so that the old model's outliers count less.
 */
export const unibct = defineMethod({
  name: 'unibct',
  source: 'UniBCT, arXiv:2204.13919 (methods.md 5.4); rows of the graph normalised (D-04), each class once (D-15)',
  needs: ['oldRows'],
  projects: true,
  options: z.strictObject({
    ...influenceOptions,
    startEpoch: z.int().min(0).default(0).describe('first epoch with the influence term'),
    refreshEpochs: z
      .array(z.int().min(0))
      .min(1)
      .default([0, 1, 2, 3, 10, 20])
      .describe('epochs before which prototypes are recomputed'),
    lambda: z.number().min(0).lt(1).default(0.9).describe('λ, the share that propagates along the graph'),
    temperature: z.number().positive().default(0.05).describe('temperature of the graph’s softmax'),
    refineAxis: z
      .enum(['row', 'column'])
      .default('row')
      .describe('axis of the graph’s softmax; column, as in the reference, has no effect (D-04)'),
    normalizeNew: z.boolean().default(true).describe('neighbours by cosine; off in the reference'),
    normalizePrototype: z.boolean().default(true).describe('prototypes of length 1; off in the reference'),
  }),
  search: [[1, 3, 10, 30].map((weight) => ({ weight })), [6, 10, 16, 30].map((scale) => ({ scale }))],
  start(
    { weight, startEpoch, refreshEpochs, normalizeNew, normalizePrototype, ...options },
    { oldDim, dataClasses, epochs },
  ) {
    const first = Math.min(...refreshEpochs);
    if (startEpoch < first)
      throw new UserError(`unibct: startEpoch ${startEpoch}: there are no prototypes before epoch ${first}`, {
        hint: 'let the first of refreshEpochs be no later than startEpoch',
      });
    if (startEpoch >= epochs)
      logLine(`unibct: its term begins with epoch ${startEpoch + 1} of ${epochs}: this training does without it`);
    const prototypes = keep(zeros([dataClasses, oldDim]));
    return {
      state: { prototypes },
      async onEpoch({ epoch, old: { oldRows }, embedTrainSet }) {
        if (!refreshEpochs.includes(epoch)) return;
        const embeddings = await embedTrainSet();
        const float64 = (data: Float32Array): Tensor =>
          to(tensor(data, { shape: [data.length / oldDim, oldDim] }), { dtype: 'float64' });
        for (const [label, rows] of oldRows.byClass().entries()) {
          if (rows.length === 0) continue;
          scope(() => {
            const news = float64(gatherRows(embeddings, rows, oldDim));
            const refined = refinePrototype(
              normalizeNew ? normalizeRows(news) : news,
              float64(oldRows.rows(rows)),
              options,
            );
            noGrad(() => copy_(narrow(prototypes, 0, label, 1), normalizePrototype ? normalizeRows(refined) : refined));
          });
        }
      },
      terms: ({ embeddings, inOldSpace, labels, head, epoch }) => ({
        classify: { value: head.loss(embeddings, labels), weight: 1 },
        ...(epoch >= startEpoch && {
          influence: { value: influenceLoss(inOldSpace, prototypes, labels, options), weight },
        }),
      }),
    };
  },
});

/** Rows of a flat [N · D] array, flat. */
function gatherRows(all: Float32Array, rows: Int32Array, dim: number): Float32Array {
  const result = new Float32Array(rows.length * dim);
  for (const [i, row] of rows.entries()) result.set(all.subarray(row * dim, (row + 1) * dim), i * dim);
  return result;
}
