import { basename } from 'node:path';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import type { WriteOptions } from '../artifacts/define-artifact.ts';
import { writeIds } from '../artifacts/id-list.ts';
import type { ClassKeys } from '../data/class-keys.ts';
import { classesPath, trainedClassesPath, writeClassKeys } from './class-key-file.ts';
import type { FeatureDtype } from './feature-set.ts';
import {
  type AppliedAdapter,
  defaultPreprocessing,
  type FeaturesInfo,
  featureFiles,
  featureSetArtifact,
  type Preprocessing,
  rowBytes,
} from './feature-set-artifact.ts';
import { writeNpy } from './npy.ts';
import { type RowsBuilder, type RowsResume, resumeOf, writeRows } from './rows-writer.ts';

/** Bytes of a row's label and family. */
const LABEL_BYTES = 12;

/** What a set holds beside its embeddings. */
export type FeatureSetContent = Pick<FeaturesInfo, 'dim' | 'classes' | 'model' | 'dataset' | 'flip' | 'seed'> & {
  readonly preprocessing?: Preprocessing;
  readonly adapter?: AppliedAdapter;
  readonly labels: Int32Array;
  readonly families: Int32Array;
  readonly classKeys?: ClassKeys | null;
  readonly trainedClassKeys?: ClassKeys | null;
  /** Class ids before numbering as 0 … C-1; null if they were these. [C] */
  readonly classIds?: BigInt64Array | null;
  /** Id of a row's image; null if unknown. */
  readonly id?: ((row: number) => string) | null;
  readonly dtype?: FeatureDtype;
  readonly precision?: FeaturesInfo['precision'];
};

function* idsOf(id: (row: number) => string, count: number): Iterable<string> {
  for (let row = 0; row < count; row++) yield id(row);
}

export type FeatureSetOptions = Pick<WriteOptions, 'force' | 'inputs' | 'lock'> & { readonly resume?: RowsResume };

/**
 * Writes a feature set; `fill` appends whole rows in dataset order, from row `from` on. If `fill` throws, nothing is left,
 * except rows that `resume` keeps.
 * @throws UserError if `path` exists and `force` is not set, or an embedding is non-finite: distances and means would become
 * NaN silently.
 */
export function writeFeatureSet(
  path: string,
  {
    labels,
    families,
    classKeys = null,
    trainedClassKeys = null,
    classIds = null,
    id = null,
    dtype = 'float32',
    precision = 'float32',
    ...info
  }: FeatureSetContent,
  { resume, ...options }: FeatureSetOptions,
  fill: (builder: RowsBuilder) => Promise<void> | void,
): Promise<FeaturesInfo> {
  const target = { path, count: labels.length, dim: info.dim, dtype, id, resume };
  const bytes = labels.length * (rowBytes({ dim: info.dim, dtype }) + LABEL_BYTES);
  const how = { ...options, bytes, ...resumeOf(target) };
  return featureSetArtifact.write(path, how, async (directory) => {
    const { rows, missing } = await writeRows(target, directory, fill);
    if (rows !== labels.length || rows !== families.length)
      throw new Error(`${path}: ${rows} embeddings, ${labels.length} labels, ${families.length} families`);
    const at = featureFiles(directory);
    const others = [at.labels, at.families];
    const also = (file: string, write: (file: string) => void): void => {
      write(file);
      others.push(file);
    };
    writeNpy(at.labels, '<i8', BigInt64Array.from(labels, BigInt));
    writeNpy(at.families, '<i4', families);
    if (classIds) also(at.classIds, (file) => writeNpy(file, '<i8', classIds));
    if (id) also(at.ids, (file) => writeIds(file, idsOf(id, rows)));
    if (classKeys) also(classesPath(directory), (file) => writeClassKeys(file, classKeys));
    if (trainedClassKeys) also(trainedClassesPath(directory), (file) => writeClassKeys(file, trainedClassKeys));
    return {
      ...info,
      preprocessing: info.preprocessing ?? defaultPreprocessing,
      dtype,
      precision,
      count: rows,
      missing: [...missing],
      digest: cachedFileDigest(at.features),
      files: Object.fromEntries(others.map((file) => [basename(file), cachedFileDigest(file)])),
    };
  });
}
