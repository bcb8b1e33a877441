import { z } from 'zod';
import { UserError } from '../base/errors.ts';
import {
  clamp,
  detach,
  div,
  keep,
  linear,
  matmul,
  mul,
  NORM_EPS,
  noGrad,
  normalizeRows,
  selectRows,
  sqrt,
  sum,
  type Tensor,
  tensor,
  transpose,
  unsqueeze,
  zeros,
} from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { gatherRows } from './parts/batch.ts';
import { countWithoutPositives, neighbourhoodLoss } from './parts/neighbourhood.ts';
import { enqueue } from './parts/queue.ts';

/** Lengths of the class similarities of `rows` [K, D] under WᵀW [D, D], as a column (1) or a row (0). → [K, 1] or [1, K] */
const lengths = (rows: Tensor, gram: Tensor, dim: 0 | 1): Tensor =>
  unsqueeze(sqrt(clamp(sum(mul(matmul(rows, gram), rows), { dim: 1 }), NORM_EPS)), dim);

/** Name of the count of samples that add 0 to both contrasts. */
const LONELY = 'samples without an old embedding of their class in the queue';

/**
 * Contrasts new embeddings with a queue of old ones from the last batches, so that those of one class attract each other: by the
 * embeddings (alpha) and by the head's class similarities (beta).
 *
 * The class similarity of a and b is the cosine of Wa and Wb, their cosines to all classes. ⟨Wa, Wb⟩ = aᵀ(WᵀW)b needs no logits
 * of batch or queue, so memory does not grow with their size times classes. Shards of the classes only add up their WᵀW. It has a
 * gradient, unlike the reference's (D-06).
 */
export const nccl = defineMethod({
  name: 'nccl',
  source:
    'NCCL, AAAI 2022 (methods.md 5.5); logits with gradient (D-06), weights free of the number of processes (D-09)',
  needs: ['oldEmbedding'],
  wants: ['credible'],
  projects: true,
  options: z.strictObject({
    alpha: z
      .number()
      .min(0)
      .default(10)
      .describe('factor of the contrast of embeddings; the reference on 8 GPUs had 8'),
    beta: z
      .number()
      .min(0)
      .default(0.01)
      .describe('factor of the contrast of class similarities; 0 has the effect of the reference’s'),
    queueSize: z.int().positive().max(1_048_576).default(8192).describe('old embeddings in the queue'),
    temperature: z
      .number()
      .positive()
      .default(0.1)
      .describe('temperature of both softmaxes over the queue; at 1, as in the reference, they are flat'),
  }),
  search: [[1, 3, 10, 30].map((alpha) => ({ alpha })), [0.05, 0.1, 0.2].map((temperature) => ({ temperature }))],
  start({ alpha, beta, queueSize, temperature }, { oldDim, projected }) {
    if (beta > 0 && projected)
      throw new UserError('nccl: class similarities of the old embeddings need the new model’s own dimension', {
        hint: 'set beta of nccl to 0, or leave the projection out',
      });
    const queue = keep(zeros([queueSize, oldDim])); // rows of length 1
    const classes = keep(zeros([queueSize], { dtype: 'int64' }));
    const next = keep(zeros([1], { dtype: 'int64' }));
    const ring = { rows: queue, classes, next };
    return {
      state: { queue, classes, next },
      written: [queue, classes, next],
      terms({ embeddings, inOldSpace, labels, head, old, group, count }) {
        const { oldEmbedding, credible } = old;
        noGrad(() => {
          const [olds, own] = [group.gather(oldEmbedding), group.gather(labels)];
          if (!credible) enqueue(ring, olds, own);
          else {
            const trusted = gatherRows(credible, labels.numel, group);
            const rows = tensor(trusted, { dtype: 'int32' });
            count('old embeddings skipped', own.numel - trusted.length);
            enqueue(ring, selectRows(olds, rows), selectRows(own, rows));
          }
          // a sample in the queue is similar to itself
          if (credible || own.numel > queueSize) count(LONELY, countWithoutPositives(own, classes));
        });
        const target = { queue, classes, oldEmbedding, labels };
        const unit = normalizeRows(inOldSpace);
        const classify = { value: head.loss(embeddings, labels), weight: 1 };
        const contrast = { value: neighbourhoodLoss(mul(linear(unit, queue), 1 / temperature), target), weight: alpha };
        if (beta === 0) return { classify, contrast };
        const centres = normalizeRows(head.weight); // [C, D]
        const gram = head.overClasses(matmul(transpose(centres), centres)); // [D, D]
        const towards = head.overClasses(matmul(transpose(centres), detach(centres)));
        const alike = div(
          div(linear(matmul(unit, towards), queue), lengths(unit, gram, 1)),
          lengths(queue, detach(gram), 0),
        );
        return {
          classify,
          contrast,
          agree: { value: neighbourhoodLoss(mul(alike, 1 / temperature), target), weight: beta },
        };
      },
    };
  },
});
