import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../base/errors.ts';
import type { ClassKeys } from '../data/class-keys.ts';
import { readNpy, writeNpy } from './npy.ts';

/** File with the keys of a model's training classes, in a run or a feature set. */
export const trainedClassesPath = (folder: string): string => join(folder, 'trained-classes.npy');
/** File with the keys of the dataset's classes, in a feature set. */
export const classesPath = (folder: string): string => join(folder, 'classes.npy');

/** Writes keys as int64 [2, K], or [3, K] with names. */
export function writeClassKeys(path: string, { labels, ids, names }: ClassKeys): void {
  const keys = new BigInt64Array((names ? 3 : 2) * labels.length);
  for (const [row, column] of [labels, ids].entries())
    for (const [i, id] of column.entries()) keys[row * labels.length + i] = BigInt(id);
  if (names) keys.set(names, 2 * labels.length);
  writeNpy(path, '<i8', keys, [labels.length]);
}

/** Null if the file is absent: an earlier version made the folder. @throws FileError if the array has another shape. */
export function readClassKeys(path: string): ClassKeys | null {
  if (!existsSync(path)) return null;
  const { data, shape } = readNpy(path, ['<i8']);
  const [rows, length] = shape;
  if (shape.length !== 2 || length === undefined || (rows !== 2 && rows !== 3))
    throw new FileError(
      path,
      `has shape [${shape.join(', ')}], wanted [2, K] or [3, K]`,
      'make the folder again that it lies in',
    );
  const column = (row: number): BigInt64Array => data.subarray(row * length, (row + 1) * length);
  return {
    labels: Int32Array.from(column(0), Number),
    ids: Int32Array.from(column(1), Number),
    names: rows === 3 ? column(2) : null,
  };
}
