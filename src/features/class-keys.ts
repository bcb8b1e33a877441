import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../base/errors.ts';
import type { Dataset } from '../data/index.ts';
import { lineageOf } from '../data/lineage.ts';
import { readNpy, writeNpy } from './npy.ts';

/** What tells the classes of a dataset from those of another; both arrays have an entry for each class id. */
export type ClassKeys = {
  /** Ids of the classes in the dataset's origin [C]. */
  readonly ids: Int32Array;
  /** 64-bit hashes of the class names [C]; null where classes have no names. */
  readonly names: BigInt64Array | null;
};

/** Where the keys of the classes that a model was trained on lie, in a run and in a feature set. */
export const trainedClassesPath = (folder: string): string => join(folder, 'trained-classes.npy');
/** Where a feature set has the keys of its dataset's classes. */
export const classesPath = (folder: string): string => join(folder, 'classes.npy');

export function classKeysOf(dataset: Dataset): ClassKeys {
  const { classes: names } = dataset.sidecar;
  return {
    ids: lineageOf(dataset).classes,
    names: names?.length === dataset.classes ? BigInt64Array.from(names, hashOf) : null,
  };
}

const hashOf = (name: string): bigint => createHash('sha256').update(name).digest().readBigInt64LE();

/** Writes keys as int64 [1, C] or, with names, [2, C]. */
export function writeClassKeys(path: string, { ids, names }: ClassKeys): void {
  const keys = new BigInt64Array((names ? 2 : 1) * ids.length);
  for (const [i, id] of ids.entries()) keys[i] = BigInt(id);
  if (names) keys.set(names, ids.length);
  writeNpy(path, '<i8', keys, [ids.length]);
}

/**
 * Reads the keys of C `classes`. → null if there is no such file: the folder was made by an earlier version.
 * @throws FileError if it holds something else.
 */
export function readClassKeys(path: string, classes: number): ClassKeys | null {
  if (!existsSync(path)) return null;
  const { data, shape } = readNpy(path, ['<i8']);
  const [rows] = shape;
  if (shape.length !== 2 || shape[1] !== classes || (rows !== 1 && rows !== 2))
    throw new FileError(
      path,
      `has shape [${shape.join(', ')}], wanted [1, ${classes}] or [2, ${classes}]`,
      'make the folder again that it lies in',
    );
  return {
    ids: Int32Array.from(data.subarray(0, classes), Number),
    names: rows === 2 ? data.subarray(classes) : null,
  };
}
