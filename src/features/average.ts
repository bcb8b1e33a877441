import { join } from 'node:path';
import { z } from 'zod';
import { digestOf, writeArtifact } from '../base/artifact.ts';
import { FileError, UserError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { datasetReference, readManifest } from './artifact.ts';
import type { Rows } from './denoise.ts';
import type { FeatureSet } from './feature-set.ts';
import { meanRow, rowNorm, rowsByClass } from './groups.ts';
import { readNpy, writeNpy } from './npy.ts';

/**
 * Class prototypes (methods.md 4.3): the mean of each class's raw features, then divided by its length. → flat [C · D]
 * @throws UserError naming the first class without a row: prototypes are looked up by label.
 */
export function average(features: Rows): Float32Array {
  const { dim, classes } = features.info;
  const prototypes = new Float32Array(classes * dim);
  for (const [label, rows] of rowsByClass(features.labels(), classes).entries()) {
    if (rows.length === 0)
      throw new UserError(`class ${label} of ${classes} has no features`, {
        hint: 'labels must be 0 … C-1, each present',
      });
    const mean = meanRow(features.rows(rows), dim);
    const length = rowNorm(mean, 0, dim);
    prototypes.set(length > 0 ? mean.map((value) => value / length) : mean, label * dim);
  }
  return prototypes;
}

const prototypesSchema = z.object({
  kind: z.literal('prototypes'),
  version: z.literal(1),
  classes: z.int(),
  dim: z.int(),
  /** Samples that were averaged. */
  count: z.int(),
  dataset: datasetReference.nullable(),
  /** Digest of the features they average. */
  features: z.string(),
  digest: z.string(),
  mixbct: z.string(),
});
export type PrototypesInfo = z.infer<typeof prototypesSchema>;

const rowsFile = (path: string): string => join(path, 'prototypes.npy');

/** Averages a feature set and writes a folder with `prototypes.npy` (float32 [C, D]) and its manifest. */
export function writePrototypes(
  path: string,
  features: FeatureSet,
  { force = false }: { readonly force?: boolean } = {},
): Promise<PrototypesInfo> {
  return writeArtifact(path, { force }, (directory) => {
    const rows = average(features);
    const { dim, classes, count, dataset } = features.info;
    writeNpy(rowsFile(directory), '<f4', rows, [dim]);
    const digest = digestOf(new Uint8Array(rows.buffer));
    return {
      kind: 'prototypes' as const,
      version: 1 as const,
      classes,
      dim,
      count,
      dataset,
      features: features.digest,
      digest,
      mixbct: version,
    };
  });
}

/** @throws FileError if `path` holds no prototypes of `mixbct average`. */
export function openPrototypes(path: string): {
  readonly info: PrototypesInfo;
  readonly rows: Float32Array;
  readonly digest: string;
} {
  const info = readManifest(path, prototypesSchema, { what: 'class prototypes', command: 'mixbct average' });
  const { data: rows, shape } = readNpy(rowsFile(path), ['<f4']);
  if (String(shape) !== String([info.classes, info.dim]))
    throw new FileError(
      rowsFile(path),
      `has shape [${shape.join(', ')}], wanted [${info.classes}, ${info.dim}]`,
      'make it again with: mixbct average',
    );
  return { info, rows, digest: info.digest };
}
