import { UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import {
  estimate,
  fallingPairs,
  impostorWeights,
  pairCounts,
  type Resamples,
  resampleIdentities,
  type ScoredPairs,
  tarReplicates,
} from './bootstrap.ts';
import { type Comparison, chanceLevel, compare, type Measured } from './compatibility.ts';
import { DRAWN, RESAMPLES } from './drawn.ts';
import { searchParts } from './gallery-search.ts';
import {
  exponent,
  FAR_CURVE,
  type IdentificationResult,
  type Judged,
  judgeSearches,
  type VerificationResult,
} from './judge.ts';
import { requireDistinctNames } from './names.ts';
import {
  type IdentificationProtocol,
  type Identities,
  identificationSplit,
  type VerificationProtocol,
  verificationPairs,
} from './protocol.ts';
import { auc, equalErrorRate, FAR_TARGETS, roc, tarAtMost, tarNearest, tiedPairs } from './roc.ts';
import { type Embeddings, pairScores, requireFewZeros, unitEmbeddings, zeroRows } from './scores.ts';
import type { TrainingData } from './training-data.ts';
import type { Withheld } from './verdict.ts';

/** Embeddings, flat [N · D], as a backbone made them; or what reads them, so that those of one new model are in memory at a time. */
export type RowSource = Float32Array | (() => Float32Array);

/** A model's embeddings of the evaluation set. */
export type ModelFeatures = {
  readonly name: string;
  readonly rows: RowSource;
  readonly dim: number;
  /** Preset of behaviour that the model was trained under, and where its recipe differs from the reference. */
  readonly preset?: string;
  readonly differences?: readonly string[];
  /** How its training set stands to the evaluation set. */
  readonly trainingData?: TrainingData;
  /** The same images in the old space, if a projection leads there; otherwise its own space is the old one. */
  readonly inOldSpace?: { readonly rows: RowSource; readonly dim: number };
};

export type EvaluateOptions = Identities & {
  readonly title: string;
  readonly dataset: { readonly path: string; readonly digest: string };
  readonly old: ModelFeatures;
  /** A new model trained without any thought of the old one: what an upgrade could reach if the gallery were embedded again. */
  readonly oracle?: ModelFeatures | undefined;
  readonly candidates: readonly ModelFeatures[];
  readonly seed?: number;
  /** Images that are not among the labels, because a model has no embedding of them. */
  readonly missing?: number;
  /** Genuine pairs, impostor pairs and probes to draw; all are taken if there are not more. */
  readonly genuines?: number;
  readonly impostors?: number;
  readonly probes?: number;
  /** Bootstrap resamples of the identities. */
  readonly resamples?: number;
  /** Share of a model's embeddings that may be zeros. */
  readonly maxZeroShare?: number | undefined;
  /** Told before each test. */
  readonly onTest?: (done: number, total: number, name: string) => void;
};

/** FAR whose TAR gets an interval; the smaller ones rest on too few impostor pairs, the larger say little. */
const FAR_WITH_INTERVAL = [1e-4, 1e-3, 1e-2] as const;
/** What the compatibility summary asks: is it the same one, who is it, and who is it if it may be somebody unknown. */
export const HEADLINES = ['TAR@FAR=1e-3', 'rank-1', 'TPIR@FPIR=1e-1', 'TPIR@FPIR=1e-2'] as const;

/** One test: queries of one model against a gallery of another (or the same); null where the protocol has no such part. */
export type TestResult = {
  readonly query: string;
  readonly gallery: string;
  readonly verification: VerificationResult | null;
  readonly identification: IdentificationResult | null;
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

/**
 * Judges new models against themselves and against the old model's gallery.
 * @throws UserError if models cannot be compared, or too many embeddings of one are zeros.
 */
export function evaluate(options: EvaluateOptions): Evaluation {
  const {
    title,
    dataset,
    old,
    oracle,
    candidates,
    labels,
    families,
    seed = 0,
    missing = 0,
    genuines = DRAWN.genuines,
    impostors = DRAWN.impostors,
    probes = DRAWN.probes,
    resamples = RESAMPLES,
    maxZeroShare,
    onTest,
  } = options;
  const news = [...(oracle ? [oracle] : []), ...candidates];
  for (const model of news)
    if (meeting(model).dim !== old.dim && model !== oracle)
      throw new UserError(
        `${model.name} makes ${meeting(model).dim} dimensions, the old model ${old.dim}: its queries cannot meet the old gallery`,
        { hint: `train it with network.embeddingDim ${old.dim}, or give it a projection` },
      );
  requireDistinctNames([old, ...news].map(({ name }) => name));

  const rng = new Rng(seed).split('evaluate');
  const protocol = {
    labels,
    families,
    pairs: verificationPairs({ labels, families }, { genuines, impostors, rng: rng.split('1:1') }),
    split: identificationSplit({ labels, families }, rng.split('1:N'), { most: probes }),
  };
  const judge = makeJudge(protocol, { resamples, rng: rng.split('bootstrap') });
  const zeros = new Map<string, number>();
  const load = (model: ModelFeatures): Loaded => {
    const loaded = loadModel(model, labels.length);
    zeros.set(model.name, requireFewZeros(model.name, loaded.zeros, { of: labels.length, most: maxZeroShare }));
    return loaded;
  };
  const tests = news.reduce((sum, model) => sum + (meeting(model).dim === old.dim ? 2 : 1), 1);
  const judged = new Map<string, Judged<TestResult>>();
  const test = (query: ModelFeatures, gallery: ModelFeatures, queries: Embeddings, entries: Embeddings): void => {
    onTest?.(judged.size, tests, `${query.name} → ${gallery.name}`);
    judged.set(testKey(query.name, gallery.name), judge(query.name, gallery.name, queries, entries));
  };
  const oldLoaded = load(old);
  test(old, old, oldLoaded.own, oldLoaded.own);
  for (const model of news) {
    const { own, meetingOld } = load(model);
    test(model, model, own, own);
    if (meeting(model).dim === old.dim) test(model, old, meetingOld, oldLoaded.own);
  }
  const measured = (query: ModelFeatures, gallery: ModelFeatures, metric: string): Measured =>
    judged.get(testKey(query.name, gallery.name))!.measured.get(metric)!;
  const familyIds = new Set(families);
  familyIds.delete(-1);
  const galleries = protocol.split.galleries.map(({ entries }) => entries.length);
  return {
    kind: 'evaluation',
    version: 1,
    title,
    dataset: {
      ...dataset,
      images: labels.length,
      ...(missing > 0 && { missing }),
      classes: new Set(labels).size,
      families: familyIds.size || null,
    },
    protocol: {
      seed,
      genuinePairs: protocol.pairs.genuine.gallery.length,
      ...(protocol.pairs.totalGenuine > protocol.pairs.genuine.gallery.length && {
        genuinePairsInAll: protocol.pairs.totalGenuine,
      }),
      impostorPairs: protocol.pairs.impostor.gallery.length,
      allImpostors: protocol.pairs.allImpostors,
      probes: protocol.split.probes.length,
      ...(protocol.split.totalProbes > protocol.split.probes.length && { probesInAll: protocol.split.totalProbes }),
      galleries,
      resamples,
    },
    models: [old, ...news].map(({ name, dim, preset = 'default', differences = [], trainingData }) => ({
      name,
      dim,
      preset,
      differences,
      ...(trainingData && { trainingData }),
      role: name === old.name ? 'old' : name === oracle?.name ? 'oracle' : 'new',
      zeros: zeros.get(name)!,
    })),
    tests: [...judged.values()].map(({ result }) => result),
    candidates: candidates.map((model) => ({
      name: model.name,
      comparisons: HEADLINES.map((metric) =>
        compare(
          metric,
          {
            oldOld: measured(old, old, metric),
            newOld: measured(model, old, metric),
            newNew: measured(model, model, metric),
            oracle: oracle ? measured(oracle, oracle, metric) : null,
          },
          chanceLevel(metric, galleries),
        ),
      ),
    })),
  };
}

/** A model's embeddings as they meet the old gallery. */
const meeting = (model: ModelFeatures): { readonly rows: RowSource; readonly dim: number } => model.inOldSpace ?? model;

/** A model's embeddings at hand: of length 1, in its own space and in that of the old gallery; and its rows of zeros in either. */
type Loaded = { readonly own: Embeddings; readonly meetingOld: Embeddings; readonly zeros: ReadonlySet<number> };

function loadModel(model: ModelFeatures, count: number): Loaded {
  const { name, inOldSpace } = model;
  const unit = ({ rows: source, dim }: { readonly rows: RowSource; readonly dim: number }): Embeddings => {
    const read = typeof source === 'function';
    const rows = read ? source() : source;
    if (rows.length !== count * dim)
      throw new UserError(`${name}: ${rows.length / dim} embeddings for ${count} labels`);
    return unitEmbeddings(rows, dim, name, read ? rows : undefined);
  };
  const own = unit(model);
  const meetingOld = inOldSpace ? unit(inOldSpace) : own;
  const zeros = [own, ...(inOldSpace ? [meetingOld] : [])].flatMap(({ rows, dim }) => zeroRows(rows, dim));
  return { own, meetingOld, zeros: new Set(zeros) };
}

const testKey = (query: string, gallery: string): string => JSON.stringify([query, gallery]);

type Protocol = Identities & { readonly pairs: VerificationProtocol; readonly split: IdentificationProtocol };

/** What all tests share is made once: identities as positions, resamples, the weight of all impostors in each. */
function makeJudge(
  { labels, pairs, split }: Protocol,
  { resamples, rng }: { readonly resamples: number; readonly rng: Rng },
) {
  const classes = [...new Set(labels)].sort((a, b) => a - b);
  const at = new Map(classes.map((label, i) => [label, i]));
  const identity = labels.map((label) => at.get(label)!);
  const sides = ({ gallery, query }: VerificationProtocol['genuine']) => ({
    a: gallery.map((i) => identity[i]!),
    b: query.map((i) => identity[i]!),
  });
  const [genuineSides, impostorSides] = [sides(pairs.genuine), sides(pairs.impostor)];
  const drawn = resampleIdentities(classes.length, resamples, rng);
  const totals = impostorWeights(pairCounts(impostorSides, classes.length), drawn);
  const probeIdentity = split.probes.map((i) => identity[i]!);

  return (queryName: string, galleryName: string, query: Embeddings, gallery: Embeddings): Judged<TestResult> => {
    const genuine = fallingPairs({ score: pairScores(query, gallery, pairs.genuine), ...genuineSides });
    const impostor = fallingPairs({ score: pairScores(query, gallery, pairs.impostor), ...impostorSides });
    const verification = verify(genuine, impostor, drawn, totals);
    const identification = identify({ split, query, gallery, probeIdentity, drawn });
    return {
      result: {
        query: queryName,
        gallery: galleryName,
        verification: verification.result,
        identification: identification.result,
      },
      measured: new Map([...verification.measured, ...identification.measured]),
    };
  };
}

/** Verification by pairs of falling score. */
function verify(
  genuine: ScoredPairs,
  impostor: ScoredPairs,
  drawn: Resamples,
  totals: Float64Array,
): Judged<VerificationResult> {
  const scores = { genuine: genuine.score.toReversed(), impostor: impostor.score.toReversed() };
  const curve = roc(scores);
  const replicates = tarReplicates(genuine, impostor, FAR_WITH_INTERVAL, drawn, totals);
  const measured = new Map(
    FAR_WITH_INTERVAL.map((far, i) => [far as number, { value: tarAtMost(scores, far), replicates: replicates[i]! }]),
  );
  const tar = FAR_TARGETS.map((far) => {
    const known = measured.get(far);
    return {
      far,
      nearest: tarNearest(curve, far),
      atMost: tarAtMost(scores, far),
      interval: known ? estimate(known.value, known.replicates) : null,
    };
  });
  return {
    result: {
      auc: auc(curve),
      eer: equalErrorRate(curve),
      tar,
      curve: { far: FAR_CURVE, tar: FAR_CURVE.map((far) => tarAtMost(scores, far)) },
      tied: tiedPairs(scores, FAR_TARGETS),
    },
    measured: new Map([...measured].map(([far, m]) => [`TAR@FAR=${exponent(far)}`, m])),
  };
}

type IdentifyInput = {
  readonly split: IdentificationProtocol;
  readonly query: Embeddings;
  readonly gallery: Embeddings;
  readonly probeIdentity: Int32Array;
  readonly drawn: Resamples;
};

function identify({ split, query, gallery, probeIdentity, drawn }: IdentifyInput): Judged<IdentificationResult> {
  const [first, second] = split.galleries;
  const searches = searchParts(
    { ...query, positions: split.probes },
    { ...gallery, positions: Int32Array.from([...first.entries, ...second.entries]) },
    [
      { start: 0, size: first.entries.length, enrolled: first.enrolled },
      { start: first.entries.length, size: second.entries.length, enrolled: second.enrolled },
    ],
  );
  return judgeSearches(searches, probeIdentity, drawn);
}
