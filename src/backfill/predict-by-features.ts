import { momentsOf, totalMoments } from '../adapt/moments.ts';
import type { PairedRows } from '../adapt/paired-rows.ts';
import { chooseStrength, ridgeSystem, ridgeWeight } from '../adapt/ridge.ts';
import type { Rng } from '../base/rng.ts';
import { takeRows } from '../eval/product-blocks.ts';
import { scope, toFloat64 } from '../torch/index.ts';

const FOLDS = 5;
/** One to predict, one to fit on, and one to choose the strength by. */
export const LEAST_IDENTITIES = 3;

/** Embeddings of N rows, flat [N · D], and a number more of each. [N] */
export type Features = { readonly rows: Float32Array; readonly dim: number; readonly extra: Float64Array };

/**
 * Predicts a number of each row from its features, by ridge regressions of which none has seen the row's identity: five folds of
 * identities, each predicted by a fit on the others, whose strength is chosen by cross-validation among these. → [N], null if there are
 * fewer than `LEAST_IDENTITIES`
 */
export function predictByFeatures(
  { rows, dim, extra }: Features,
  target: Float64Array,
  labels: Int32Array,
  rng: Rng,
): Float64Array | null {
  const identities = [...new Set(labels)].sort((a, b) => a - b);
  if (identities.length < LEAST_IDENTITIES) return null;
  const foldOf = new Map(rng.sample(identities, identities.length).map((label, i) => [label, i % FOLDS]));
  const scale = extra.reduce((sum, x) => sum + x, 0) / extra.length || 1;
  const width = dim + 1;
  const read = (positions: Int32Array): Float32Array => {
    const embeddings = takeRows(rows, positions, dim);
    const x = new Float32Array(positions.length * width);
    for (let i = 0; i < positions.length; i++) {
      x.set(embeddings.subarray(i * dim, (i + 1) * dim), i * width);
      x[i * width + dim] = extra[positions[i]!]! / scale;
    }
    return x;
  };
  const pairs: PairedRows = {
    dims: { x: width, y: 1 },
    read: (positions) => ({ x: read(positions), y: Float32Array.from(positions, (row) => target[row]!) }),
  };
  const predicted = new Float64Array(labels.length);
  scope(() => {
    const folds = Array.from({ length: FOLDS }, (_, fold) => {
      const positions = Int32Array.from(labels.keys()).filter((row) => foldOf.get(labels[row]!) === fold);
      return { rows: positions, moments: momentsOf(pairs, positions) };
    });
    for (const fold of folds) {
      const others = folds.filter((other) => other !== fold);
      const system = ridgeSystem(totalMoments(others.map(({ moments }) => moments)));
      const weight = toFloat64(ridgeWeight(system, chooseStrength({ folds: others })));
      const [means, offset] = [toFloat64(system.means.x), toFloat64(system.means.y)[0]!];
      for (const row of fold.rows) {
        const x = read(Int32Array.of(row));
        let sum = offset;
        for (let d = 0; d < width; d++) sum += (x[d]! - means[d]!) * weight[d]!;
        predicted[row] = sum;
      }
    }
  });
  return predicted;
}
