import { logLine } from '../base/progress.ts';
import { type BoundariesInfo, boundariesArtifact } from './boundaries-artifact.ts';
import {
  classBlocks,
  classesWithoutRows,
  classMeansAndDistances,
  type LabelledRows,
  sortByClass,
} from './class-blocks.ts';
import type { FeatureSet } from './feature-set.ts';

/** A class with fewer rows keeps all its distances: quartiles need more. */
const FEWEST_FOR_QUARTILES = 4;

export type ClassBoundaries = {
  /** Means of unit rows, not normalised again; zeros for a class without rows. Flat [C · D] */
  readonly centres: Float32Array;
  /** Largest kept distance to the centre. [C] */
  readonly largest: Float32Array;
  /** How many distances were kept. [C] */
  readonly kept: Int32Array;
};

/**
 * The centre of each class's unit embeddings and the largest distance to it without outliers: the start of AdvBCT's
 * boundaries (methods.md 4.5). Rows are read block by block.
 */
export function boundaries(features: LabelledRows): ClassBoundaries {
  const { dim, classes } = features.info;
  const order = sortByClass(features);
  const centres = new Float32Array(classes * dim);
  const [largest, kept] = [new Float32Array(classes), new Int32Array(classes)];
  const factors = new Float64Array(dim).fill(1);
  for (const block of classBlocks(features, order, 'boundaries')) {
    const { first, starts } = block;
    const { means, distances } = classMeansAndDistances(block, factors);
    centres.set(means, first * dim);
    for (let k = 0; k + 1 < starts.length; k++) {
      const inside = withoutOutliers(distances.subarray(starts[k], starts[k + 1]).sort());
      largest[first + k] = inside.at(-1) ?? 0;
      kept[first + k] = inside.length;
    }
  }
  return { centres, largest, kept };
}

/** The distances within 1.5 interquartile ranges of the quartiles, which are list elements (no interpolation); all if none is. */
export function withoutOutliers(ascending: Float64Array): Float64Array {
  const n = ascending.length;
  if (n < FEWEST_FOR_QUARTILES) return ascending;
  const [q1, q3] = [ascending[Math.floor(n / 4)]!, ascending[Math.floor((3 * n) / 4)]!];
  const reach = 1.5 * (q3 - q1);
  let [from, to] = [0, n];
  while (from < to && ascending[from]! < q1 - reach) from++;
  while (from < to && ascending[to - 1]! > q3 + reach) to--;
  return from < to ? ascending.subarray(from, to) : ascending;
}

/** Writes the boundaries of a feature set's classes. */
export function writeBoundaries(
  path: string,
  features: FeatureSet,
  options: { readonly force?: boolean } = {},
): Promise<BoundariesInfo> {
  return boundariesArtifact.derive(path, features, options, () => {
    const arrays = boundaries(features);
    const { dim, classes } = features.info;
    const lost = classesWithoutRows(features).length;
    if (lost > 0)
      logLine(`${path}: ${lost} of ${classes} classes have no boundary, because all their rows are missing`);
    return { arrays, fields: { classes, dim } };
  });
}
