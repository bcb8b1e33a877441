import type { Estimate, Evaluation } from '../eval/evaluation.ts';

/** Orders in which the rows of a gallery can be moved to the new model. */
export const backfillOrders = [
  'random',
  'uncertain-first',
  'predicted-disagreement',
  'disagreement',
  'nearest-mean-first',
  'nearest-mean-last',
  'labelled-oracle',
] as const;
export type BackfillOrderName = (typeof backfillOrders)[number];

/** What an order needs beside the old embeddings; `probes`: labelled queries, which no real gallery has. */
export const orderNeeds = ['labels', 'new embeddings', 'probes'] as const;
export type OrderNeed = (typeof orderNeeds)[number];
export const needsOfOrder: Readonly<Record<BackfillOrderName, readonly OrderNeed[]>> = {
  random: [],
  'uncertain-first': [],
  'predicted-disagreement': [],
  disagreement: ['new embeddings'],
  'nearest-mean-first': ['labels'],
  'nearest-mean-last': ['labels'],
  'labelled-oracle': ['labels', 'new embeddings', 'probes'],
};

/** How scores of rows in two spaces are brought into one ranking. */
export const scoreMerges = ['direct', 'calibrated', 'rank-fusion'] as const;
export type ScoreMerge = (typeof scoreMerges)[number];

/** A metric of the three tests in which the whole gallery is of one model. */
export type BackfillEnds = {
  readonly metric: string;
  readonly oldOld: number;
  readonly newOld: number;
  readonly newNew: number;
};

/** A metric while the gallery is moved. Lists have an entry for each of `shares`. */
export type BackfillCurve = {
  readonly order: BackfillOrderName;
  readonly merge: ScoreMerge;
  readonly metric: string;
  /** Mean over the draws of a random order; of other orders, the value. */
  readonly value: readonly number[];
  /** Lowest and highest of the draws of a random order. */
  readonly low?: readonly number[];
  readonly high?: readonly number[];
  /** Trapezoid area below `value`: the mean quality of a move at constant speed. */
  readonly area: number;
  readonly worst: {
    readonly share: number;
    readonly value: number;
    /** What it is more than old → old, with its 95 % interval over identities; of a random order that of the first draw. */
    readonly overOld: Estimate;
  };
  /** Whether the worst point is below old → old. */
  readonly belowOld: boolean;
  /** The least share at which 95 % and 100 % of new → new are reached, interpolated; null: at none. */
  readonly reaches: { readonly most: number | null; readonly all: number | null };
};

/** The content of backfill.json. */
export type BackfillSimulation = {
  readonly kind: 'backfill';
  readonly version: 1;
  readonly title: string;
  readonly dataset: Omit<Evaluation['dataset'], 'families'>;
  /** How new queries meet rows that are not moved yet: as they are, or through a projection or an adapter. */
  readonly crossing: 'direct' | 'projection' | 'query adapter' | 'gallery adapter';
  readonly protocol: {
    readonly seed: number;
    readonly genuinePairs: number;
    readonly impostorPairs: number;
    readonly probes: number;
    readonly galleries: readonly number[];
    /** Draws of the random order. */
    readonly draws: number;
  };
  /** Shares of the gallery that are moved, 0 … 1. */
  readonly shares: readonly number[];
  readonly ends: readonly BackfillEnds[];
  readonly curves: readonly BackfillCurve[];
  /** Orders and merges that were asked for and are not there, and why. */
  readonly skipped: readonly { readonly what: string; readonly why: string }[];
};
