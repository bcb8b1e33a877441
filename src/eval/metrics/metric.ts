import type { Measured, TestResult } from '../evaluation.ts';
import { mean } from '../mean.ts';
import type { RocPoints } from '../roc.ts';

/** What is evaluated: pairs and galleries drawn from a labelled set, or a published protocol of templates. */
export type ProtocolKind = 'labelled set' | 'templates';

/** What a metric reads of one test of 1:1 verification. */
export type VerificationTest = {
  readonly curve: RocPoints;
  /** The largest TAR whose FAR does not exceed `far`. */
  tar(far: number): Measured;
};

/** What a metric reads of one test of 1:N identification. */
export type IdentificationTest = {
  /** Mean over the enrolled probes of `of` the right entry's rank: 1, 2, …, or infinity where it can never be found. */
  meanOverProbes(of: (rank: number) => number): Measured;
  /** TPIR at FPIR `fpir`, mean over the galleries. */
  tpir(fpir: number): Measured;
};

/** A metric: how it is measured, what it means, and where it is shown. Values are shares, 0 … 1. */
export type Metric = {
  /** Its name in evaluation.json and in reports. */
  readonly name: string;
  /** What the report's glossary says. Metrics that share a term share its meaning. */
  readonly term: string;
  readonly meaning: string;
  /** Head of its column in the table of tests. Columns of one family stand together, by level. null: it has no column. */
  readonly column: string | { readonly family: string; readonly level: number } | null;
  /** How verdicts use it: larger must be better, and it must have replicates. Absent: it is only shown. */
  readonly verdict?: {
    readonly protocols: readonly ProtocolKind[];
    /** Its value for a model that knows nothing; `galleries` holds their numbers of entries. */
    chance(galleries: readonly number[]): number;
    /** Whether it has a table of its own where several new models or evaluations stand side by side. */
    readonly summary: boolean;
  };
  /** Where evaluation.json has it, if not in the test's `metrics`. */
  stored?(test: TestResult): number | undefined;
} & (
  | { readonly test: 'verification'; measure(test: VerificationTest): Measured }
  | { readonly test: 'identification'; measure(test: IdentificationTest): Measured }
);

/** Both kinds of protocol. */
export const EVERY_PROTOCOL: readonly ProtocolKind[] = ['labelled set', 'templates'];

/** Rank-1 rate of a random ranking, mean over the galleries. */
export const chanceOfRankOne = (galleries: readonly number[]): number => mean(galleries.map((entries) => 1 / entries));

/** 0.001 as 1e-3 */
export const powerOfTen = (x: number): string => (x === 1 ? '1' : `1e${Math.round(Math.log10(x))}`);
