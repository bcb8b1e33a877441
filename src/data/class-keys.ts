import { createHash } from 'node:crypto';
import type { Dataset } from './dataset.ts';
import { lineageOf } from './lineage.ts';

/** Keys that identify the K classes with images across datasets. */
export type ClassKeys = {
  /** Class ids in the dataset [K], ascending. */
  readonly labels: Int32Array;
  /** Ids of the classes in the dataset's origin [K]. */
  readonly ids: Int32Array;
  /** 64-bit hashes of the class names [K]; null where classes have no names. */
  readonly names: BigInt64Array | null;
};

export function classKeysOf(dataset: Dataset): ClassKeys {
  const { classes: names } = dataset.sidecar;
  const { classes } = lineageOf(dataset);
  const labels = Int32Array.from(new Set(dataset.labels())).sort();
  return {
    labels,
    ids: labels.map((label) => classes.at(label)),
    names: names?.length === dataset.classes ? BigInt64Array.from(labels, (label) => hashOf(names[label]!)) : null,
  };
}

const hashOf = (name: string): bigint => createHash('sha256').update(name).digest().readBigInt64LE();
