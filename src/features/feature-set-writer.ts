import { basename } from 'node:path';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import type { WriteOptions } from '../artifacts/define-artifact.ts';
import { digestOf } from '../artifacts/digest.ts';
import { writeIds } from '../artifacts/id-list.ts';
import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import type { ClassKeys } from '../data/class-keys.ts';
import { classesPath, trainedClassesPath, writeClassKeys } from './class-key-file.ts';
import { type FeatureDtype, npyTypes } from './feature-set.ts';
import {
  defaultPreprocessing,
  type FeaturesInfo,
  featureFiles,
  featureSetArtifact,
  type Preprocessing,
} from './feature-set-artifact.ts';
import { fromHalf, LARGEST_HALF, toHalf } from './half.ts';
import type { MissingRow } from './missing-rows.ts';
import { countWrittenRows, NpyWriter, writeNpy } from './npy.ts';

/** Bytes of one number, and of a row's label and family. */
const [BYTES, LABEL_BYTES] = [{ float32: 4, float16: 2 }, 12] as const;

/** What a set holds beside its embeddings. */
export type FeatureSetContent = Pick<FeaturesInfo, 'dim' | 'classes' | 'model' | 'dataset' | 'flip'> & {
  readonly preprocessing?: Preprocessing;
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

/** @throws UserError if a number is too large for float16. */
function halfOf(rows: Float32Array, nameOf: (i: number) => string): Uint16Array {
  const half = toHalf(rows);
  const over = fromHalf(half).findIndex((value) => !Number.isFinite(value));
  if (over >= 0)
    throw new UserError(`${nameOf(over)}: ${rows[over]} is beyond float16, which ends at ${LARGEST_HALF}`, {
      hint: 'store these features as float32',
    });
  return half;
}

function* idsOf(id: (row: number) => string, count: number): Iterable<string> {
  for (let row = 0; row < count; row++) yield id(row);
}

/** Position of the first value that is NaN or infinite, or -1. */
function firstNonFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return -1;
}

function countZeroRows(rows: Float32Array, dim: number): number {
  let zeros = 0;
  for (let start = 0; start < rows.length; start += dim) {
    let end = start;
    while (end < start + dim && rows[end] === 0) end++;
    if (end === start + dim) zeros++;
  }
  return zeros;
}

export type FeatureSetOptions = Pick<WriteOptions, 'force' | 'inputs' | 'lock'> & {
  /**
   * Rows of a failed attempt are kept for the next one with the same `identity`, down to a multiple of `step`: batches then
   * hold the same images again.
   */
  readonly resume?: {
    readonly identity: string;
    readonly step: number;
    /** Limit of the rows in the attempt's folder that may be kept; default: all. */
    readonly valid?: (directory: string) => number;
  };
};

/** What `fill` writes to. `from`: rows written by an earlier attempt. `directory`: for files of the attempt. */
export type FeatureSetBuilder = {
  readonly append: (rows: Float32Array) => void;
  /** Sets the missing rows of the whole set, ascending; they were appended as zeros. */
  readonly markMissing: (rows: readonly MissingRow[]) => void;
  readonly from: number;
  readonly directory: string;
};

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
  fill: (filling: FeatureSetBuilder) => Promise<void> | void,
): Promise<FeaturesInfo> {
  const rowsIn = (directory: string): number =>
    countWrittenRows(featureFiles(directory).features, npyTypes[dtype], [info.dim]);
  const keep = resume && {
    key: digestOf(resume.identity),
    isWorthKeeping: (directory: string) => rowsIn(directory) > 0,
  };
  const bytes = labels.length * (info.dim * BYTES[dtype] + LABEL_BYTES);
  const how = { ...options, bytes, ...(keep && { resume: keep }) };
  return featureSetArtifact.write(path, how, async (directory) => {
    const target = featureFiles(directory);
    const valid = resume?.valid?.(directory) ?? labels.length;
    const there = resume ? Math.min(rowsIn(directory), labels.length, valid) : 0;
    const from = resume ? there - (there % resume.step) : 0;
    if (from > 0) logLine(`${path}: goes on from row ${from} of ${labels.length}`);
    const writer = new NpyWriter<'<f2' | '<f4'>(target.features, npyTypes[dtype], [info.dim], { rows: from });
    let rows = from;
    let zeros = 0; // among the rows of this attempt
    const nameOf = (row: number): string => `embedding ${row}${id ? ` (${id(row)})` : ''}`;
    const append = (chunk: Float32Array): void => {
      const bad = firstNonFinite(chunk);
      if (bad >= 0)
        throw new UserError(`${path}: ${nameOf(rows + Math.floor(bad / info.dim))} holds ${chunk[bad]}`, {
          hint: 'the model that made it has diverged: train it again with a lower learning rate',
        });
      writer.append(
        dtype === 'float16' ? halfOf(chunk, (i) => `${path}: ${nameOf(rows + Math.floor(i / info.dim))}`) : chunk,
      );
      zeros += countZeroRows(chunk, info.dim);
      rows += chunk.length / info.dim;
    };
    let missing: readonly MissingRow[] = [];
    try {
      await fill({
        append,
        from,
        directory,
        markMissing: (marked) => {
          missing = marked;
        },
      });
    } catch (error) {
      if (resume && rows > 0) logLine(`${path}: ${rows} rows are kept, the same command goes on from there`);
      throw error;
    } finally {
      writer.close();
    }
    if (rows !== labels.length || rows !== families.length)
      throw new Error(`${path}: ${rows} embeddings, ${labels.length} labels, ${families.length} families`);
    const unmarked = zeros - missing.filter(({ row }) => row >= from).length;
    if (unmarked > 0)
      logLine(
        `warning: ${path}: ${unmarked} of ${rows - from} rows are zeros, which are no embeddings, and are not marked missing; is the model or its extraction broken?`,
      );
    const others = [target.labels, target.families];
    const also = (file: string, write: (file: string) => void): void => {
      write(file);
      others.push(file);
    };
    writeNpy(target.labels, '<i8', BigInt64Array.from(labels, BigInt));
    writeNpy(target.families, '<i4', families);
    if (classIds) also(target.classIds, (file) => writeNpy(file, '<i8', classIds));
    if (id) also(target.ids, (file) => writeIds(file, idsOf(id, rows)));
    if (classKeys) also(classesPath(directory), (file) => writeClassKeys(file, classKeys));
    if (trainedClassKeys) also(trainedClassesPath(directory), (file) => writeClassKeys(file, trainedClassKeys));
    return {
      ...info,
      preprocessing: info.preprocessing ?? defaultPreprocessing,
      dtype,
      precision,
      count: rows,
      missing: [...missing],
      digest: cachedFileDigest(target.features),
      files: Object.fromEntries(others.map((file) => [basename(file), cachedFileDigest(file)])),
    };
  });
}
