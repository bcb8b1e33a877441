import { z } from 'zod';
import { Linear } from '../nn/index.ts';
import {
  add,
  clamp,
  div,
  greater,
  mean,
  mul,
  NORM_EPS,
  narrow,
  norm,
  normalizeRows,
  selectRows,
  square,
  sub,
  sum,
  type Tensor,
  to,
} from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { countWithoutBoundary } from './parts/boundary.ts';
import { scaleGradient } from './parts/gradient-scale.ts';

/** Σ_c present_c ‖a_c - b_c‖² over rows [C, D] → scalar */
const distances = (a: Tensor, b: Tensor, present: Tensor): Tensor =>
  sum(mul(sum(square(sub(a, b)), { dim: 1 }), present));

/**
 * The cosine of the angle between a class's centre and the farthest of its old embeddings that are kept: with a centre c, the mean
 * of unit rows, and the largest distance r to it, (1 + ‖c‖² - r²) / 2‖c‖. centres [B, D], radii [B] → [B]
 */
export function cosineBoundary(centres: Tensor, radii: Tensor): Tensor {
  const length = norm(centres, { dim: 1 });
  return div(sub(add(square(length), 1), square(radii)), mul(clamp(length, NORM_EPS), 2));
}

/**
 * Aligns the classification layer's class centres with the old ones, and keeps each new embedding as near to its class's old centre
 * as the old embeddings of the class are. If the recipe has a projection, it leads from new centres to old ones, and a second
 * learned map leads back.
 *
 * The reference never gives its transforms to the optimiser, and compares transformed embeddings that are not normalised (D-35).
 * With head.sampleRate below 1, the alignment acts on the sampled classes alone.
 */
export const lce = defineMethod({
  name: 'lce',
  source:
    'LCE, arXiv:2108.01958 (ICCV 2021): class-centre alignment and boundary loss, as in its published code but for D-35',
  needs: ['oldBoundaries'],
  projects: true,
  options: z.strictObject({
    alignWeight: z
      .number()
      .min(0)
      .default(1)
      .describe('factor of the mean squared distance between unit class centres; the reference’s 100 is a mean over D'),
    boundaryWeight: z.number().min(0).default(20).describe('factor of the cosine that is missing to the boundary'),
  }),
  search: [
    [0.3, 1, 3].map((alignWeight) => ({ alignWeight })),
    [1, 5, 20, 50].map((boundaryWeight) => ({ boundaryWeight })),
  ],
  start({ alignWeight, boundaryWeight }, { oldDim, newDim, projected, rng }) {
    const fromOld = projected ? new Linear(oldDim, newDim, { bias: false }, rng.split('fromOld')) : null;
    return {
      modules: fromOld ? { fromOld } : {},
      terms({ embeddings, inOldSpace, toOldSpace, labels, head, old: { oldBoundaries }, group, count }) {
        const { centres, radii, several } = oldBoundaries;
        const present = to(greater(norm(centres, { dim: 1 }), 0), { dtype: centres.dtype }); // [C]
        // the classes that this process holds; a head that pretends to more has rows without a centre
        const { start, count: held } = head.shard ?? { start: 0, count: head.weight.shape[0]! };
        const rows = Math.max(0, Math.min(held, centres.shape[0]! - start));
        const from = Math.min(start, centres.shape[0]! - rows);
        const [olds, here] = [normalizeRows(narrow(centres, 0, from, rows)), narrow(present, 0, from, rows)];
        const news = normalizeRows(narrow(head.weight, 0, 0, rows));
        // replicated maps see the classes of one shard each, and their gradients are averaged over the processes
        const processes = head.shard ? group.processes : 1;
        const shared = (x: Tensor): Tensor => scaleGradient(x, processes);
        const mapped = fromOld ? shared(toOldSpace(scaleGradient(news, 1 / processes))) : news;
        const there = distances(fromOld ? normalizeRows(mapped) : mapped, olds, here);
        const both = fromOld
          ? mul(add(there, distances(normalizeRows(shared(fromOld.forward(olds))), news, here)), 0.5)
          : there;

        const own = selectRows(centres, labels);
        const cosines = sum(mul(normalizeRows(inOldSpace), normalizeRows(own)), { dim: 1 });
        const missing = clamp(sub(cosineBoundary(own, selectRows(radii, labels)), cosines), 0);
        count('samples of classes without a boundary', countWithoutBoundary(labels, oldBoundaries, group));
        return {
          classify: { value: head.loss(embeddings, labels), weight: 1 },
          align: { value: div(head.overClasses(both), sum(present)), weight: alignWeight },
          boundary: { value: mean(mul(missing, selectRows(several, labels))), weight: boundaryWeight },
        };
      },
    };
  },
});
