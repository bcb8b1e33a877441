import type { Rng } from '../base/rng.ts';
import type { AdapterMethod } from './adapter-artifact.ts';
import type { AdapterMap } from './adapter-map.ts';
import type { Moments } from './moments.ts';
import type { PairedRows } from './paired-rows.ts';

/** What candidates are fitted on: pairs of rows in folds, each identity in one of them. */
export type TrainingPairs = {
  readonly pairs: PairedRows;
  /** Positions of the rows of each fold, and their moments. */
  readonly folds: readonly { readonly rows: Int32Array; readonly moments: Moments }[];
  readonly rng: Rng;
};

/** A fitted map and what cross-validation chose for it. Its tensors belong to the caller's scope. */
export type FittedMap = { readonly map: AdapterMap; readonly settings: Readonly<Record<string, number>> };

/** One way to map embeddings x [P] into the space of y [Q]. */
export type Candidate = {
  readonly method: AdapterMethod;
  /** Whether it needs P = Q. */
  readonly sameDims?: boolean;
  readonly fit: (training: TrainingPairs) => FittedMap;
};
