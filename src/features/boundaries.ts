import { join } from 'node:path';
import { z } from 'zod';
import { writeArtifact } from '../base/artifact.ts';
import { derivedFields, derivedFrom, readArray, readManifest } from './artifact.ts';
import type { Rows } from './denoise.ts';
import type { FeatureSet } from './feature-set.ts';
import { meanRow, rowNorm, rowsByClass } from './groups.ts';
import { writeNpy } from './npy.ts';

/** A class with fewer rows keeps all its distances: quartiles would mean nothing. */
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
 * For each class the centre of its unit embeddings and the largest distance to it, outliers left out: what AdvBCT's
 * boundaries start from (methods.md 4.5). Memory holds one class.
 */
export function boundaries(features: Rows): ClassBoundaries {
  const { dim, classes } = features.info;
  const [centres, largest, kept] = [
    new Float32Array(classes * dim),
    new Float32Array(classes),
    new Int32Array(classes),
  ];
  for (const [label, indices] of rowsByClass(features.labels(), classes).entries()) {
    if (indices.length === 0) continue;
    const rows = Float64Array.from(features.rows(indices));
    for (let start = 0; start < rows.length; start += dim) {
      const length = rowNorm(rows, start, dim) || 1;
      for (let d = 0; d < dim; d++) rows[start + d]! /= length;
    }
    const centre = meanRow(rows, dim);
    const distances = withoutOutliers(
      Float64Array.from(indices, (_, row) => {
        let sum = 0;
        for (let d = 0; d < dim; d++) sum += (rows[row * dim + d]! - centre[d]!) ** 2;
        return Math.sqrt(sum);
      }).sort(),
    );
    centres.set(centre, label * dim);
    largest[label] = distances.at(-1)!;
    kept[label] = distances.length;
  }
  return { centres, largest, kept };
}

/** Those within 1.5 interquartile ranges of the quartiles, which are elements of the list (no interpolation); all if none is. */
export function withoutOutliers(ascending: Float64Array): Float64Array {
  const n = ascending.length;
  if (n < FEWEST_FOR_QUARTILES) return ascending;
  const [q1, q3] = [ascending[Math.floor(n / 4)]!, ascending[Math.floor((3 * n) / 4)]!];
  const reach = 1.5 * (q3 - q1);
  const inside = ascending.filter((distance) => distance >= q1 - reach && distance <= q3 + reach);
  return inside.length > 0 ? inside : ascending;
}

const boundariesSchema = z.object({
  ...derivedFields,
  kind: z.literal('boundaries'),
  classes: z.int(),
  dim: z.int(),
});
export type BoundariesInfo = z.infer<typeof boundariesSchema>;

const files = (path: string) => ({
  centres: join(path, 'centres.npy'),
  largest: join(path, 'radii.npy'),
  kept: join(path, 'kept.npy'),
});

/** Writes a folder with `centres.npy` (float32 [C, D]), `radii.npy` (float32 [C]), `kept.npy` (int32 [C]) and its manifest. */
export function writeBoundaries(
  path: string,
  features: FeatureSet,
  { force = false }: { readonly force?: boolean } = {},
): Promise<BoundariesInfo> {
  return writeArtifact(path, { force }, (directory) => {
    const { centres, largest, kept } = boundaries(features);
    const { dim, classes } = features.info;
    const at = files(directory);
    writeNpy(at.centres, '<f4', centres, [dim]);
    writeNpy(at.largest, '<f4', largest);
    writeNpy(at.kept, '<i4', kept);
    return { ...derivedFrom(features, [centres, largest, kept]), kind: 'boundaries' as const, classes, dim };
  });
}

/** @throws FileError if `path` holds no boundaries of `mixbct boundaries`. */
export function openBoundaries(
  path: string,
): ClassBoundaries & { readonly info: BoundariesInfo; readonly digest: string } {
  const info = readManifest(path, boundariesSchema, { what: 'class boundaries', command: 'mixbct boundaries' });
  const { classes, dim } = info;
  const at = files(path);
  const of = (...shape: readonly number[]) => ({ shape, command: 'mixbct boundaries' });
  return {
    info,
    digest: info.digest,
    centres: readArray(at.centres, '<f4', of(classes, dim)),
    largest: readArray(at.largest, '<f4', of(classes)),
    kept: readArray(at.kept, '<i4', of(classes)),
  };
}
