import type { ChosenCalibration } from './calibration.ts';
import type { Cmc } from './identification.ts';
import type { TrainingData } from './training-data.ts';

/** A metric of one test, and in each resample of the identities [R]; null if it is not resampled. */
export type Measured = { readonly value: number; readonly replicates: Float64Array | null };

/** A number and the middle 95 % of its bootstrap distribution. */
export type Estimate = { readonly value: number; readonly low: number; readonly high: number };

/** The middle 95 % of a curve's resamples, at points of its x axis. */
export type Band = { readonly x: readonly number[]; readonly low: readonly number[]; readonly high: readonly number[] };

/** Results of 1:1 verification. */
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
  /** Of the curve. Missing from older evaluations. */
  readonly band?: Band;
  /** Genuine pairs refused at a FAR of `tar` because their score is exactly an impostor's. Missing from older evaluations. */
  readonly tied?: number;
};

/** Results of 1:N identification. */
export type IdentificationResult = {
  readonly ranks: readonly { readonly rank: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly tpir: readonly { readonly fpir: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly curve: { readonly fpir: readonly number[]; readonly tpir: readonly number[] };
  /** Missing from older evaluations. */
  readonly cmc?: Cmc;
  /** Of `curve` and of `cmc`. Missing from older evaluations. */
  readonly band?: Band;
  readonly cmcBand?: Band;
  /** Protocols with named galleries: the rates of each gallery, and of searches of all galleries at once. */
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
   * `met`: the interval of the difference lies above 0, and M(old, old) plus its lower end above chance. `missed`: it lies
   * below 0. `withheld`: nothing can be concluded from it.
   */
  readonly criterion: 'met' | 'undecided' | 'missed' | 'withheld';
  /**
   * Share of the oracle's gain over the old model that is reached without re-embedding the gallery; null without an oracle, and if the
   * interval of its gain includes 0: there is nothing to have a share of then.
   */
  readonly updateGain: Estimate | null;
  /** The cost of compatibility: M(oracle, oracle) - M(new, new). */
  readonly tax: Estimate | null;
  /** The scores of AdvBCT (7.1), 0 … 100, 50 means parity. */
  readonly scores: { readonly up: number; readonly comp: number; readonly one: number } | null;
};

/** Rates of one test at one threshold: a cosine that accepted scores are above. TPIR and FPIR are means over the galleries. */
type RatesAtThreshold = { readonly tar: Estimate; readonly tpir: Estimate; readonly fpir: Estimate };

/** One test at the threshold that the old system runs at, and at the one that keeps its FAR. What is not measured is NaN. */
export type OperatingPointResult = {
  readonly atOldThreshold: RatesAtThreshold & {
    readonly far: Estimate;
    /** Impostor pairs accepted. */
    readonly falseAccepts: number;
  };
  /** The largest TAR whose FAR does not exceed the one that the old system runs at. */
  readonly keepingFar: RatesAtThreshold & { readonly threshold: Estimate };
  /** Brings the scores to log-odds; null if no genuine or no impostor pair has a score, and in protocols of templates. */
  readonly calibration: ChosenCalibration | null;
};

/** Whether queries of a new model can be compared with the old gallery at the threshold that the old system runs at. */
export type DropInTest = {
  /** `withheld`: nothing can be concluded, as for `Comparison.criterion`. */
  readonly grade: 'drop-in' | 'new threshold' | 'no' | 'withheld';
  /** new → old minus old → old, at the old threshold. */
  readonly tarDifference: Estimate;
  readonly farDifference: Estimate;
  /** Impostor pairs that old → old accepts there. */
  readonly falseAccepts: number;
  /** TAR of new → old minus that of old → old, each at its own threshold for the FAR. */
  readonly ownThresholdDifference: Estimate;
};

/** Why numbers are shown but nothing is concluded from them. */
export type WithheldVerdict =
  | { readonly reason: 'trial' | 'training images' }
  | { readonly reason: 'too few identities'; readonly identities: number; readonly needed: number };

/** How many pairs score from `from + i · step` up to the next step. Pairs with an embedding of zeros have no score. */
export type ScoreHistogram = {
  readonly from: number;
  readonly step: number;
  readonly genuine: readonly number[];
  readonly impostor: readonly number[];
};

/** Embeddings of some images in a plane: those of the gallery's model, and the queries' in the same space. Images are positions in the dataset. */
export type EmbeddingMap = {
  /** Share of the variance of these embeddings that the plane shows. */
  readonly explained: number;
  readonly classes: readonly {
    readonly label: number;
    readonly images: readonly number[];
    readonly gallery: readonly MapPoint[];
    readonly query: readonly MapPoint[];
  }[];
};
export type MapPoint = readonly [x: number, y: number];

/** Decisions that change with the model, and their share of all. */
export type Change = { readonly count: number; readonly share: Estimate };

/** Searches of the old gallery that the new model's queries repair (right at rank 1, and wrong by the old model) and break (the reverse). */
export type SearchChanges = {
  readonly searches: number;
  readonly repaired: Change;
  readonly broken: Change;
  /** The classes that lose most: more searches are broken than repaired. */
  readonly worstClasses: readonly ClassChanges[];
  /** Drawn by seed, of each class at most one. */
  readonly examples: { readonly repaired: readonly ChangedSearch[]; readonly broken: readonly ChangedSearch[] };
};
export type ClassChanges = {
  readonly label: number;
  readonly searches: number;
  readonly repaired: number;
  readonly broken: number;
};

/** Images are positions in the dataset, or ids of templates. `wrong` is the entry that the model which errs ranks first. A rank is null if the right entry cannot be found. */
export type ChangedSearch = {
  readonly query: number;
  readonly right: number;
  readonly wrong: number;
  readonly oldRank: number | null;
  readonly newRank: number | null;
};

/** Pairs that the new model's queries decide otherwise, each model at its own threshold for the FAR of the operating point. */
export type PairChanges = {
  /** The FAR that both thresholds keep; absent: that of the operating point. */
  readonly far?: number;
  readonly oldThreshold: number;
  readonly newThreshold: number;
  readonly genuine: DecisionChanges;
  /** Missing from protocols of templates, whose impostor pairs are too many to be kept. */
  readonly impostor?: DecisionChanges;
};
export type DecisionChanges = {
  readonly pairs: number;
  readonly repaired: Change;
  readonly broken: Change;
  /** Those whose new score is nearest to the new threshold. */
  readonly examples: { readonly repaired: readonly ChangedPair[]; readonly broken: readonly ChangedPair[] };
};
export type ChangedPair = {
  readonly query: number;
  readonly gallery: number;
  readonly oldScore: number;
  readonly newScore: number;
};

/** One test: queries of one model on a gallery of another or the same. A part that the protocol lacks is null. */
export type TestResult = {
  readonly query: string;
  readonly gallery: string;
  readonly verification: VerificationResult | null;
  readonly identification: IdentificationResult | null;
  /** Missing from older evaluations, and from protocols of templates without pairs. */
  readonly operatingPoint?: OperatingPointResult;
  /** Metrics that have no place in those above. */
  readonly metrics?: readonly { readonly name: string; readonly value: number; readonly interval: Estimate | null }[];
  /** The metrics of verdicts. Missing from older evaluations, and where there is no old model. */
  readonly judged?: readonly JudgedMetric[];
  /** Missing from older evaluations and from protocols of templates. */
  readonly scores?: ScoreHistogram;
  /** Of tests of a new model's queries on the old gallery. Missing from older evaluations and from protocols of templates. */
  readonly map?: EmbeddingMap;
};

/** A metric of one test, and what it is more than that of old → old: paired, both sides see the same resamples. */
export type JudgedMetric = { readonly metric: string; readonly value: Estimate; readonly overOld: Estimate };

/** `query`: it maps the queries into the old space. `gallery`: it maps the old gallery into the new space. */
export type CrossingAdapter = {
  readonly direction: 'query' | 'gallery';
  readonly method: string;
  readonly digest: string;
  /** It was fitted on images of the evaluation set; absent: not known, or on others. */
  readonly images?: 'shared';
};

export type CandidateResult = {
  readonly name: string;
  /** Why the criterion of all comparisons is withheld; absent if it is not. */
  readonly withheld?: WithheldVerdict;
  /** Missing from older evaluations, and from protocols of templates without pairs. */
  readonly dropIn?: DropInTest;
  /**
   * What the upgrade changes. Missing from older evaluations. Protocols of templates have what they evaluate, 1:N or 1:1, and ids of
   * templates in place of positions.
   */
  readonly changes?: { readonly searches?: SearchChanges; readonly pairs?: PairChanges };
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
    /** Images skipped for all models because one has no embedding of them. */
    readonly missing?: number;
    readonly classes: number;
    readonly families: number | null;
  };
  readonly protocol: {
    /** Name of the published protocol; absent if pairs and galleries were drawn from a labelled set. */
    readonly name?: string;
    readonly seed: number;
    readonly genuinePairs: number;
    /** Genuine pairs of the set, if `genuinePairs` are drawn from more. */
    readonly genuinePairsInAll?: number;
    readonly impostorPairs: number;
    readonly allImpostors: boolean;
    readonly probes: number;
    /** Probes of the set, if `probes` are drawn from more. */
    readonly probesInAll?: number;
    readonly galleries: readonly number[];
    /** Identities that are searched for in a gallery that has them. Missing from older evaluations, and where nothing is searched for. */
    readonly identities?: number;
    readonly resamples: number;
  };
  readonly models: readonly {
    readonly name: string;
    readonly role: 'old' | 'oracle' | 'new';
    readonly dim: number;
    /** Of the model that embedded its features, where these tell. Missing from older evaluations and from protocols of templates. */
    readonly digest?: string;
    readonly preset?: string;
    readonly differences?: readonly string[];
    /** Missing from older evaluations and from protocols of templates. */
    readonly trainingData?: TrainingData;
    /** The adapter between it and the old model that its queries cross through. */
    readonly adapter?: CrossingAdapter;
    /** Digest of its projection into the old space, where its queries cross through one. Missing from older evaluations. */
    readonly projection?: string;
    /** Embeddings or templates that are zeros in its own space or the old one. They count as misses. Missing from older evaluations. */
    readonly zeros?: number;
  }[];
  /** The FAR that the old system runs at, and the score above which old → old then accepts pairs. Missing from older evaluations, and from protocols of templates without pairs. */
  readonly operatingPoint?: { readonly far: number; readonly threshold: number };
  readonly tests: readonly TestResult[];
  readonly candidates: readonly CandidateResult[];
};
