import type { Cmc } from './identification.ts';
import type { TrainingData } from './training-data.ts';

/** A metric of one test, and in each resample of the identities [R]; null if it is not resampled. */
export type Measured = { readonly value: number; readonly replicates: Float64Array | null };

/** A number and the middle 95 % of its bootstrap distribution. */
export type Estimate = { readonly value: number; readonly low: number; readonly high: number };

/** What 1:1 verification found. */
export type VerificationResult = {
  readonly auc: number;
  readonly eer: number;
  readonly tar: readonly {
    readonly far: number;
    readonly nearest: number;
    readonly atMost: number;
    /** `atMost` accepts pairs of a higher cosine. Missing from older evaluations and from protocols of templates. */
    readonly threshold?: number;
    readonly interval: Estimate | null;
  }[];
  readonly curve: { readonly far: readonly number[]; readonly tar: readonly number[] };
  /** Genuine pairs refused at a FAR of `tar` because their score is exactly an impostor's. Missing from older evaluations. */
  readonly tied?: number;
};

/** What 1:N identification found. */
export type IdentificationResult = {
  readonly ranks: readonly { readonly rank: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly tpir: readonly { readonly fpir: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly curve: { readonly fpir: readonly number[]; readonly tpir: readonly number[] };
  /** Missing from evaluations made before there was one. */
  readonly cmc?: Cmc;
  /** Of protocols whose galleries have names: the rates of each, and of searches of all galleries at once. */
  readonly galleries?: readonly {
    readonly name: string;
    readonly ranks: readonly Rate<'rank'>[];
    readonly tpir: readonly Rate<'fpir'>[];
  }[];
  readonly mixed?: readonly Rate<'rank'>[];
  /** Searches that miss because another entry is exactly as similar as the right one. Missing from older evaluations. */
  readonly tied?: number;
};

type Rate<K extends string> = { readonly [key in K | 'rate']: number };

/** How a metric judges one new model. Differences are paired: both sides see the same resamples. */
export type Comparison = {
  readonly metric: string;
  readonly oldOld: number;
  readonly newOld: number;
  readonly newNew: number;
  readonly oracle: number | null;
  /** M(new, old) - M(old, old): positive is the criterion of backward compatibility (methods.md 7.1). */
  readonly difference: Estimate;
  /**
   * `met`: the interval of the difference lies above 0, and puts M(new, old) above chance. `missed`: it lies below 0.
   * `withheld`: nothing can be concluded from it.
   */
  readonly criterion: 'met' | 'undecided' | 'missed' | 'withheld';
  /** Share of what the oracle gains over the old model that comes without re-embedding the gallery; null without an oracle. */
  readonly updateGain: Estimate | null;
  /** What compatibility costs: M(oracle, oracle) - M(new, new). */
  readonly tax: Estimate | null;
  /** The scores of AdvBCT (7.1), 0 … 100, 50 means parity. */
  readonly scores: { readonly up: number; readonly comp: number; readonly one: number } | null;
};

/** Why numbers are shown but nothing is concluded from them. */
export type Withheld =
  | { readonly reason: 'trial' | 'training images' }
  | { readonly reason: 'too few identities'; readonly identities: number; readonly needed: number };

/** One test: queries of one model against a gallery of another (or the same); null where the protocol has no such part. */
export type TestResult = {
  readonly query: string;
  readonly gallery: string;
  readonly verification: VerificationResult | null;
  readonly identification: IdentificationResult | null;
  /** Metrics that have no place in the two above. */
  readonly metrics?: readonly { readonly name: string; readonly value: number; readonly interval: Estimate | null }[];
};

export type CandidateResult = {
  readonly name: string;
  /** Why the criterion of all comparisons is withheld; absent if it is not. */
  readonly withheld?: Withheld;
  readonly comparisons: readonly Comparison[];
};

export type Evaluation = {
  readonly kind: 'evaluation';
  readonly version: 1;
  readonly title: string;
  readonly dataset: {
    readonly path: string;
    readonly digest: string;
    readonly images: number;
    /** Images left out for all models, because one has no embedding of them. */
    readonly missing?: number;
    readonly classes: number;
    readonly families: number | null;
  };
  readonly protocol: {
    /** Of a published protocol; without it pairs and galleries were drawn from a labelled set. */
    readonly name?: string;
    readonly seed: number;
    readonly genuinePairs: number;
    /** Where `genuinePairs` are a draw: how many there are. */
    readonly genuinePairsInAll?: number;
    readonly impostorPairs: number;
    readonly allImpostors: boolean;
    readonly probes: number;
    /** Where `probes` are a draw: how many there are. */
    readonly probesInAll?: number;
    readonly galleries: readonly number[];
    readonly resamples: number;
  };
  readonly models: readonly {
    readonly name: string;
    readonly role: 'old' | 'oracle' | 'new';
    readonly dim: number;
    readonly preset?: string;
    readonly differences?: readonly string[];
    /** Missing where nobody has compared, and from evaluations made before it was compared. */
    readonly trainingData?: TrainingData;
    /** Embeddings (or templates) that are zeros, in its own space or the old one: misses in every metric. Missing from older evaluations. */
    readonly zeros?: number;
  }[];
  readonly tests: readonly TestResult[];
  readonly candidates: readonly CandidateResult[];
};
