import { progressIfLong } from '../base/progress.ts';
import {
  clamp,
  exp,
  linear,
  logSoftmax,
  mul,
  neg,
  normalizeRows,
  scope,
  sqrt,
  square,
  sub,
  sum,
  tensor,
  toFloat32,
  unsqueeze,
} from '../torch/index.ts';
import { classBlocks, classMeansAndDistances, type LabelledRows, sortByClass } from './class-blocks.ts';

/** Keeps the variance of a class whose distances are all equal above 0. */
const LEAST_VARIANCE = 1e-10;
/** Elements of one block of sample-to-centre distances. */
const BLOCK = 1 << 24;

/**
 * The mask of credible old features by the entropy of their class probabilities: p_ik = softmax over the class centres of
 * -‖x_i - c_k‖ / v, with unit rows x and v the variance of the own class's distances. A sample is credible if the entropy of
 * p_i is at most ln(C)/2. C counts the classes with a row. A missing row is not credible.
 * → [N], 1 or 0
 *
 * Source: methods.md 4.4, as intended (D-13: the reference's code selects everything).
 */
export function credibleByEntropy(features: LabelledRows): Uint8Array {
  const { dim, count } = features.info;
  const order = sortByClass(features);
  const classes = order.starts.reduce((some, start, k) => some + (start < order.starts[k + 1]! ? 1 : 0), 0);
  const centres = new Float32Array(classes * dim);
  const variances = new Float32Array(count).fill(1);
  const factors = new Float64Array(dim).fill(1);
  let place = 0;
  for (const block of classBlocks(features, order, 'class means')) {
    const { starts, order: rows, from } = block;
    const { means, distances } = classMeansAndDistances(block, factors);
    for (let k = 0; k + 1 < starts.length; k++) {
      if (starts[k] === starts[k + 1]) continue;
      centres.set(means.subarray(k * dim, (k + 1) * dim), place++ * dim);
      const variance = varianceOf(distances.subarray(starts[k], starts[k + 1])) + LEAST_VARIANCE;
      for (let i = starts[k]!; i < starts[k + 1]!; i++) variances[rows ? rows[i]! : from + i] = variance;
    }
  }
  const mask = new Uint8Array(count);
  const most = Math.log(classes) / 2;
  const step = Math.max(1, Math.floor(BLOCK / classes));
  const bar = progressIfLong('entropies', count);
  for (let from = 0; from < count; from += step) {
    bar.update(from);
    const indices = Int32Array.from({ length: Math.min(step, count - from) }, (_, i) => from + i);
    const entropies = scope(() => {
      const x = normalizeRows(tensor(features.rows(indices), { shape: [indices.length, dim] }));
      const c = tensor(centres, { shape: [classes, dim] });
      const squares = sub(
        sum(square(c), { dim: 1 }),
        sub(mul(linear(x, c), 2), sum(square(x), { dim: 1, keepDim: true })),
      );
      const scale = unsqueeze(tensor(variances.subarray(from, from + indices.length).map((v) => -1 / v)), 1);
      const logs = logSoftmax(mul(sqrt(clamp(squares, 0)), scale));
      return toFloat32(neg(sum(mul(exp(logs), logs), { dim: 1 })));
    });
    for (const [i, entropy] of entropies.entries()) if (entropy <= most) mask[from + i] = 1;
  }
  bar.stop();
  for (const row of features.missing?.() ?? []) mask[row] = 0;
  return mask;
}

function varianceOf(values: Float64Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}
