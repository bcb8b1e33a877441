import { digestOf } from '../artifacts/digest.ts';
import type { Resume } from '../artifacts/write-artifact.ts';
import { NonFiniteError, UserError } from '../base/errors.ts';
import { fromHalf, LARGEST_HALF, toHalf } from '../base/half.ts';
import { logLine } from '../base/progress.ts';
import type { FeatureDtype } from './feature-set.ts';
import { npyTypes } from './feature-set.ts';
import { featureFiles } from './feature-set-artifact.ts';
import type { MissingRow } from './missing-rows.ts';
import { countWrittenRows, NpyWriter } from './npy.ts';

/** Rows of a failed attempt are kept for the next one. */
export type RowsResume = {
  /** Of all that decides what the rows are: an attempt of another identity is not resumed. */
  readonly identity: string;
  /** Rows are kept down to a multiple of it: batches then hold the same images again. */
  readonly step: number;
  /** Limit of the rows in the attempt's folder that may be kept; default: all. */
  readonly valid?: (directory: string) => number;
};

/** The array that embeddings are written to: `features.npy` of a folder. */
export type RowsTarget = {
  /** What messages call it. */
  readonly path: string;
  /** N, D */
  readonly count: number;
  readonly dim: number;
  readonly dtype: FeatureDtype;
  /** Id of a row's image; null if unknown. */
  readonly id: ((row: number) => string) | null;
  readonly resume?: RowsResume | undefined;
};

/** What `fill` writes to. `from`: rows written by an earlier attempt. `directory`: for files of the attempt. */
export type RowsBuilder = {
  readonly append: (rows: Float32Array) => void;
  /** Sets the missing rows of the whole set, ascending; they were appended as zeros. */
  readonly markMissing: (rows: readonly MissingRow[]) => void;
  readonly from: number;
  readonly directory: string;
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

const rowsIn = (directory: string, { dtype, dim }: Pick<RowsTarget, 'dtype' | 'dim'>): number =>
  countWrittenRows(featureFiles(directory).features, npyTypes[dtype], [dim]);

/** How the artefact that holds the rows keeps the folder of a failed attempt. */
export const resumeOf = (target: RowsTarget): { readonly resume?: Resume } =>
  target.resume
    ? {
        resume: { key: digestOf(target.resume.identity), isWorthKeeping: (directory) => rowsIn(directory, target) > 0 },
      }
    : {};

/**
 * Writes `features.npy` of a folder; `fill` appends whole rows in order, from row `from` on. → how many
 * rows there are, and those that were marked missing
 * @throws NonFiniteError if an embedding is non-finite: distances and means would become NaN silently.
 */
export async function writeRows(
  target: RowsTarget,
  directory: string,
  fill: (builder: RowsBuilder) => Promise<void> | void,
): Promise<{ readonly rows: number; readonly missing: readonly MissingRow[] }> {
  const { path, count, dim, dtype, id, resume } = target;
  const valid = resume?.valid?.(directory) ?? count;
  const there = resume ? Math.min(rowsIn(directory, target), count, valid) : 0;
  const from = resume ? there - (there % resume.step) : 0;
  if (from > 0) logLine(`${path}: goes on from row ${from} of ${count}`);
  const writer = new NpyWriter<'<f2' | '<f4'>(featureFiles(directory).features, npyTypes[dtype], [dim], { rows: from });
  let rows = from;
  let zeros = 0; // among the rows of this attempt
  const nameOf = (row: number): string => `embedding ${row}${id ? ` (${id(row)})` : ''}`;
  const append = (chunk: Float32Array): void => {
    const bad = firstNonFinite(chunk);
    if (bad >= 0)
      throw new NonFiniteError(`${path}: ${nameOf(rows + Math.floor(bad / dim))} holds ${chunk[bad]}`, {
        hint: 'the model that made it has diverged: train it again with a lower learning rate',
      });
    writer.append(dtype === 'float16' ? halfOf(chunk, (i) => `${path}: ${nameOf(rows + Math.floor(i / dim))}`) : chunk);
    zeros += countZeroRows(chunk, dim);
    rows += chunk.length / dim;
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
  const unmarked = zeros - missing.filter(({ row }) => row >= from).length;
  if (unmarked > 0)
    logLine(
      `warning: ${path}: ${unmarked} of ${rows - from} rows are zeros, which are no embeddings, and are not marked missing; is the model or its extraction broken?`,
    );
  return { rows, missing };
}
