import { z } from 'zod';
import { add, concat, crossEntropy, linear, mul, normalizeRows, sum, zeros } from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { gatherBatch, withoutOwnClass } from './parts/batch.ts';

/**
 * Each new embedding is to be nearer to the old embedding of its sample than to old *and new* embeddings of other classes. While a
 * gallery is moved, its rows are of both models; a new row of another class must not be nearer than an old one of the own class.
 *
 * The reference gathers negatives of other processes, and its own, without their gradient; here they have it (D-36).
 */
export const ract = defineMethod({
  name: 'ract',
  source: 'RACT, arXiv:2201.09724 (ICLR 2022): regression-alleviating compatibility loss over the batch, τ = 0.05',
  needs: ['oldEmbedding'],
  projects: true,
  options: z.strictObject({
    weight: z.number().min(0).default(3).describe('factor of the contrast'),
    temperature: z.number().positive().default(0.1).describe('τ, temperature of the softmax over cosines'),
    newNegatives: z
      .boolean()
      .default(true)
      .describe('new embeddings of other classes as negatives, too; off: contrastive compatible training'),
  }),
  search: [[1, 3, 10, 30].map((weight) => ({ weight })), [0.05, 0.1, 0.2].map((temperature) => ({ temperature }))],
  start: ({ weight, temperature, newNegatives }) => ({
    terms({ embeddings, inOldSpace, labels, head, old: { oldEmbedding }, group }) {
      const unit = normalizeRows(inOldSpace); // [b, D]
      const excluded = withoutOwnClass(labels, group); // [b, B]
      const positive = sum(mul(unit, oldEmbedding), { dim: 1, keepDim: true });
      const negatives = [group.gather(oldEmbedding), ...(newNegatives ? [gatherBatch(unit, group)] : [])];
      const cosines = concat([positive, ...negatives.map((rows) => add(linear(unit, rows), excluded))], 1);
      const first = zeros([labels.numel], { dtype: 'int64' });
      return {
        classify: { value: head.loss(embeddings, labels), weight: 1 },
        contrast: { value: crossEntropy(mul(cosines, 1 / temperature), first), weight },
      };
    },
  }),
});
