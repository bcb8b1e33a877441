import { join } from 'node:path';
import { z } from 'zod';
import { writeArtifact } from '../base/artifact.ts';
import { UserError } from '../base/errors.ts';
import { derivedFields, derivedFrom, readArray, readManifest } from './artifact.ts';
import { credibleByEntropy } from './entropy.ts';
import type { FeatureSet } from './feature-set.ts';
import { meanRow, rowNorm, rowsByClass } from './groups.ts';
import { writeNpy } from './npy.ts';

export type DenoiseOptions = {
  /** T, share of each class that is kept: its ceil(T · n) rows nearest to the class mean. In (0, 1]. */
  readonly keep: number;
  /** Divide each dimension by its length over all samples after the rows are normalised, as the reference does (D-08). */
  readonly columnNormalize?: boolean;
  /** `distance`: nearest to the class mean. `entropy`: see `credibleByEntropy`; `keep` and `columnNormalize` say nothing then. */
  readonly rule?: 'distance' | 'entropy';
};

/** What denoising reads: any object with rows at positions. */
export type Rows = {
  readonly info: { readonly dim: number; readonly count: number; readonly classes: number };
  rows(indices: ArrayLike<number>): Float32Array;
  labels(): Int32Array;
};

const CHUNK_ROWS = 4096;

/**
 * Which old features may be trusted (methods.md 4.2): → [N], 1 or 0. A class's rows, of length 1 (zero rows stay zero)
 * and column-normalised, are ranked by distance to their mean; ties go to the earlier row. Rows are read class by class,
 * so that memory holds one class, whatever N is.
 * @throws UserError if `keep` is out of range or there are no features.
 */
export function denoise(
  features: Rows,
  { keep, columnNormalize = true, rule = 'distance' }: DenoiseOptions,
): Uint8Array {
  if (!(keep > 0 && keep <= 1))
    throw new UserError(`--keep ${keep}: wanted a share above 0, at most 1, for example 0.9`);
  const { count, classes } = features.info;
  if (count === 0) throw new UserError('there are no features to denoise');
  if (rule === 'entropy') return credibleByEntropy(features);
  const scale = columnNormalize ? columnScale(features) : null;
  const mask = new Uint8Array(count);
  for (const rows of rowsByClass(features.labels(), classes)) {
    const distances = distancesToMean(features, rows, scale);
    const order = Array.from(rows.keys()).sort((a, b) => distances[a]! - distances[b]! || a - b);
    for (const i of order.slice(0, Math.ceil(keep * rows.length))) mask[rows[i]!] = 1;
  }
  return mask;
}

/** Rows divided by their length (zero rows stay), then each dimension times `scale`. Double precision, flat [K · D]. */
function unitRows(rows: Float32Array, dim: number, scale: Float64Array | null): Float64Array {
  const unit = new Float64Array(rows.length);
  for (let start = 0; start < rows.length; start += dim) {
    const length = rowNorm(rows, start, dim) || 1;
    for (let d = 0; d < dim; d++) unit[start + d] = rows[start + d]! / length;
    if (scale) for (let d = 0; d < dim; d++) unit[start + d]! *= scale[d]!;
  }
  return unit;
}

/** For each dimension 1 / its length over all unit rows; [D] */
function columnScale(features: Rows): Float64Array {
  const { dim, count } = features.info;
  const squares = new Float64Array(dim);
  for (let from = 0; from < count; from += CHUNK_ROWS) {
    const indices = Int32Array.from({ length: Math.min(CHUNK_ROWS, count - from) }, (_, i) => from + i);
    const rows = features.rows(indices);
    for (let start = 0; start < rows.length; start += dim) {
      const length = rowNorm(rows, start, dim) || 1;
      for (let d = 0; d < dim; d++) squares[d]! += (rows[start + d]! / length) ** 2;
    }
  }
  return squares.map((sum) => (sum > 0 ? 1 / Math.sqrt(sum) : 0));
}

/** Euclidean distances of one class's rows to their mean, [n]. */
export function distancesToMean(features: Rows, rows: Int32Array, scale: Float64Array | null): Float64Array {
  const { dim } = features.info;
  const unit = unitRows(features.rows(rows), dim, scale);
  const mean = meanRow(unit, dim);
  return Float64Array.from(rows, (_, row) => {
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += (unit[row * dim + d]! - mean[d]!) ** 2;
    return Math.sqrt(sum);
  });
}

const credibleSchema = z.object({
  ...derivedFields,
  kind: z.literal('credible'),
  keep: z.number(),
  columnNormalize: z.boolean(),
  rule: z.enum(['distance', 'entropy']).default('distance'),
  kept: z.int(),
});
export type CredibleInfo = z.infer<typeof credibleSchema>;

const maskFile = (path: string): string => join(path, 'credible.npy');

/** Denoises a feature set and writes the mask: a folder with `credible.npy` (bool [N]) and its manifest. */
export function writeCredible(
  path: string,
  features: FeatureSet,
  { keep, columnNormalize = true, rule = 'distance' }: DenoiseOptions,
  { force = false }: { readonly force?: boolean } = {},
): Promise<CredibleInfo> {
  return writeArtifact(path, { force }, (directory) => {
    const mask = denoise(features, { keep, columnNormalize, rule });
    writeNpy(maskFile(directory), '|b1', mask);
    return {
      ...derivedFrom(features, [mask]),
      kind: 'credible' as const,
      keep,
      columnNormalize,
      rule,
      kept: mask.reduce((sum, bit) => sum + bit, 0),
    };
  });
}

/** @throws FileError if `path` is no mask of `mixbct denoise`. */
export function openCredible(path: string): {
  readonly info: CredibleInfo;
  readonly mask: Uint8Array;
  readonly digest: string;
} {
  const info = readManifest(path, credibleSchema, { what: 'a mask of credible samples', command: 'mixbct denoise' });
  const mask = readArray(maskFile(path), '|b1', { shape: [info.count], command: 'mixbct denoise' });
  return { info, mask, digest: info.digest };
}
