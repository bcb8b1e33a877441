import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';

/** A row without an embedding: zeros in features.npy, left out by all that reads the set. */
const missingRow = z.object({
  row: z.int().nonnegative(),
  /** What its image is called. */
  id: z.string(),
  /** Why there is no embedding. */
  problem: z.string(),
});
export type MissingRow = z.infer<typeof missingRow>;
export const missingSchema = z.array(missingRow).default([]);

/** The positions of missing rows. @throws FileError if one lies beyond the set's `count` rows, or they do not ascend. */
export function missingPositions(path: string, missing: readonly MissingRow[], count: number): ReadonlySet<number> {
  let last = -1;
  for (const { row } of missing) {
    if (row >= count || row <= last)
      throw new FileError(
        join(path, MANIFEST),
        row >= count
          ? `marks row ${row} as missing, the set has ${count} rows`
          : `marks row ${row} as missing after row ${last}, wanted ascending rows, each once`,
        'make the feature set again',
      );
    last = row;
  }
  return new Set(missing.map(({ row }) => row));
}

/** Missing rows that a message names. */
const NAMED = 10;

/** Says which rows of a new set have no embedding, if any. @throws UserError if none has one. */
export function reportMissingRows(path: string, missing: readonly MissingRow[], count: number): void {
  const [first] = missing;
  if (!first) return;
  if (missing.length === count)
    throw new UserError(`${path}: none of the ${count} rows has an embedding`, {
      hint: `the first: ${first.id} (${first.problem})`,
    });
  const rows = missing.slice(0, NAMED).map(({ row, id, problem }) => `\n  row ${row}: ${id} (${problem})`);
  const more = missing.length > NAMED ? `\n  … all of them: "missing" in ${join(path, MANIFEST)}` : '';
  logLine(
    `${path}: ${missing.length} of ${count} rows have no embedding; they are zeros, marked missing, and skipped by every later step:${rows.join('')}${more}`,
  );
}

/** Where an extraction that is not finished keeps its missing rows. */
const fileOf = (directory: string): string => join(directory, 'missing-rows.json');

/** The missing rows that an earlier attempt found. */
export const readSavedMissingRows = (directory: string): readonly MissingRow[] =>
  existsSync(fileOf(directory)) ? missingSchema.parse(readJson(fileOf(directory))) : [];

export const saveMissingRows = (directory: string, missing: readonly MissingRow[]): void =>
  writeJson(fileOf(directory), missing);

export const removeSavedMissingRows = (directory: string): void => rmSync(fileOf(directory), { force: true });
