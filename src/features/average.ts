import { join } from 'node:path';
import { z } from 'zod';
import { writeArtifact } from '../artifacts/artifact.ts';
import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { classMeans, normalizeRows, scope, tensor, toFloat64 } from '../torch/index.ts';
import { derivedFields, derivedFrom, readArray, readManifest, requireArrays } from './artifact.ts';
import type { FeatureSet } from './feature-set.ts';
import { classBlocks, lostClasses, type Rows, rowsOf, sortByClass } from './groups.ts';
import { writeNpy } from './npy.ts';

/**
 * Class prototypes (methods.md 4.3): the mean of each class's raw features, then divided by its length; zeros for a class
 * whose rows are all missing. → flat [C · D]
 * @throws UserError naming the first class without a row: prototypes are looked up by label.
 */
export function average(features: Rows): Float32Array {
  const { dim, classes } = features.info;
  const lost = new Set(lostClasses(features));
  const order = sortByClass(features);
  const prototypes = new Float32Array(classes * dim);
  for (const block of classBlocks(features, order)) {
    const { first, starts } = block;
    const empty = starts.findIndex((start, k) => start === starts[k + 1] && !lost.has(first + k));
    if (empty >= 0)
      throw new UserError(`${features.path ?? 'the features'}: class ${first + empty} of ${classes} has no features`, {
        hint: 'every class needs a prototype: extract a dataset in which every class has an image',
      });
    prototypes.set(
      scope(() => toFloat64(normalizeRows(classMeans(rowsOf(block), tensor(starts))))),
      first * dim,
    );
  }
  return prototypes;
}

const prototypesSchema = z.object({
  ...derivedFields,
  kind: z.literal('prototypes'),
  classes: z.int(),
  dim: z.int(),
  /** Classes whose rows are all missing: their prototypes are zeros. */
  empty: z.array(z.int().nonnegative()).default([]),
});
export type PrototypesInfo = z.infer<typeof prototypesSchema>;

const rowsFile = (path: string): string => join(path, 'prototypes.npy');

/** Averages a feature set and writes a folder with `prototypes.npy` (float32 [C, D]) and its manifest. */
export function writePrototypes(
  path: string,
  features: FeatureSet,
  { force = false }: { readonly force?: boolean } = {},
): Promise<PrototypesInfo> {
  return writeArtifact(path, { kind: 'prototypes', force, inputs: [features.path] }, (directory) => {
    const rows = average(features);
    const { dim, classes } = features.info;
    writeNpy(rowsFile(directory), '<f4', rows, [dim]);
    const empty = lostClasses(features);
    if (empty.length > 0)
      logLine(
        `${path}: the prototypes of ${empty.length} of ${classes} classes are zeros, for all their rows are missing`,
      );
    return { ...derivedFrom(features, [rows]), kind: 'prototypes' as const, classes, dim, empty };
  });
}

/** @throws FileError if `path` holds no prototypes of `mixbct average`. */
export function openPrototypes(path: string): {
  readonly info: PrototypesInfo;
  readonly rows: Float32Array;
  readonly digest: string;
} {
  const info = readManifest(path, prototypesSchema, { what: 'class prototypes', command: 'mixbct average' });
  const rows = readArray(rowsFile(path), '<f4', { shape: [info.classes, info.dim], command: 'mixbct average' });
  requireArrays(path, info, { arrays: [rows], command: 'mixbct average' });
  return { info, rows, digest: info.digest };
}
