import { z } from 'zod';
import { UserError } from '../base/errors.ts';
import {
  add,
  concat,
  copy_,
  keep,
  linear,
  mul,
  narrow,
  noGrad,
  normalizeRows,
  scope,
  sub,
  tensor,
  toFloat32,
  toNumbers,
  zeros,
} from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { OldRowSampler } from './parts/old-row-sampler.ts';
import { enqueue } from './parts/queue.ts';
import { impostorSimilarities, verificationLoss } from './parts/verification.ts';

/** At more the threshold comes near the mean impostor pair, from which the sharpness is measured. */
const MOST_FAR = 0.1;
/** Old embeddings whose pairs give the threshold: two million pairs. */
const MEASURED = 2048;

/**
 * Trains what an upgrade is judged by: whether pairs of a new query and an old gallery embedding are accepted or rejected rightly,
 * at one threshold for all pairs. It is the threshold at which the old model has the false accept rate `far` on this data. The
 * gallery is a queue of old embeddings, and old embeddings of the batch's classes that are drawn anew at each step.
 */
export const pairs = defineMethod({
  name: 'pairs',
  source: 'of this project: logistic loss of pairs across models at the old model’s threshold (docs/methods.md)',
  needs: ['oldEmbedding', 'oldRows'],
  projects: true,
  options: z.strictObject({
    weight: z.number().min(0).default(2).describe('factor of the term'),
    far: z.number().gt(0).max(MOST_FAR).default(1e-3).describe('false accept rate that the pairs are trained for'),
    sharpness: z
      .number()
      .positive()
      .default(16)
      .describe(
        'factor on how far a pair is beyond the threshold, where 1 is from there to the old model’s mean impostor pair',
      ),
    queueSize: z.int().positive().max(1_048_576).default(8192).describe('old embeddings in the queue'),
    partners: z.int().min(0).max(64).default(2).describe('old embeddings of its class that are drawn for each sample'),
  }),
  search: [
    [0.5, 1, 2, 3, 5].map((weight) => ({ weight })),
    [{ sharpness: 16 }, { sharpness: 24 }, { far: 1e-2, sharpness: 8 }],
  ],
  start({ weight, far, sharpness, queueSize, partners }, { oldDim, rng: drawing }) {
    const queue = keep(zeros([queueSize, oldDim])); // rows of length 1
    const classes = keep(zeros([queueSize], { dtype: 'int64' }));
    const next = keep(zeros([1], { dtype: 'int64' }));
    const decision = keep(zeros([2])); // threshold, factor on a cosine's difference to it
    const sampler = new OldRowSampler(oldDim);
    return {
      state: { queue, classes, next, decision },
      written: [queue, classes, next],
      async onEpoch({ epoch, old: { oldRows } }) {
        if (epoch > 0) return;
        const { mean, threshold } = scope(() => {
          const { rows, labels } = sampler.draw(oldRows, drawing, MEASURED);
          if (labels.every((label) => label === labels[0]))
            throw new UserError('pairs: the old embeddings are of one class: there are no impostor pairs');
          return impostorSimilarities(toFloat32(linear(rows, rows)), labels, far);
        });
        if (!(threshold > mean))
          throw new UserError(
            `pairs: the old embeddings have no threshold at a false accept rate of ${far}: it is ${threshold}, their mean impostor pair ${mean}`,
            { hint: 'wanted old embeddings of several classes that differ; ask for a smaller far' },
          );
        scope(() => noGrad(() => copy_(decision, tensor(Float32Array.of(threshold, sharpness / (threshold - mean))))));
      },
      terms({ embeddings, inOldSpace, labels, head, old, group, rng }) {
        const gallery = noGrad(() => {
          const own = group.gather(labels);
          enqueue({ rows: queue, classes, next }, group.gather(old.oldEmbedding), own);
          if (partners === 0) return { rows: queue, classes };
          const drawn = sampler.drawOf(old.oldRows, rng, toNumbers(own), partners);
          const drawnClasses = add(tensor(BigInt64Array.from(drawn.labels, BigInt)), 1);
          return { rows: concat([queue, drawn.rows]), classes: concat([classes, drawnClasses]) };
        });
        const cosines = linear(normalizeRows(inOldSpace), gallery.rows);
        const beyond = mul(sub(cosines, narrow(decision, 0, 0, 1)), narrow(decision, 0, 1, 1));
        return {
          classify: { value: head.loss(embeddings, labels), weight: 1 },
          pairs: { value: verificationLoss(beyond, labels, gallery.classes, far), weight },
        };
      },
    };
  },
});
