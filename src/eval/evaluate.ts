import { UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import {
  type Estimate,
  estimate,
  impostorWeights,
  pairCounts,
  type Resamples,
  rankReplicates,
  resampleIdentities,
  type ScoredPairs,
  tarReplicates,
  tpirReplicates,
} from './bootstrap.ts';
import { type Comparison, compare, type Measured } from './compatibility.ts';
import {
  alarms,
  alarmThreshold,
  CMC_RANKS,
  type Cmc,
  cumulativeMatches,
  FPIR_CURVE,
  FPIR_TARGETS,
  RANKS,
  search,
  topRank,
  tpir,
} from './identification.ts';
import {
  type IdentificationProtocol,
  type Identities,
  identificationSplit,
  type VerificationProtocol,
  verificationPairs,
} from './protocol.ts';
import { auc, equalErrorRate, FAR_TARGETS, roc, tarAtMost, tarNearest } from './roc.ts';
import { type Embeddings, pairScores, similarities, unitEmbeddings } from './scores.ts';

/** A model's embeddings of the evaluation set, flat [N · D], as its backbone made them. */
export type ModelFeatures = {
  readonly name: string;
  readonly rows: Float32Array;
  readonly dim: number;
  /** Preset of behaviour that the model was trained under, and where its recipe differs from the reference. */
  readonly preset?: string;
  readonly differences?: readonly string[];
  /** The same images in the old space, if a projection leads there; otherwise its own space is the old one. */
  readonly inOldSpace?: { readonly rows: Float32Array; readonly dim: number };
};

export type EvaluateOptions = Identities & {
  readonly title: string;
  readonly dataset: { readonly path: string; readonly digest: string };
  readonly old: ModelFeatures;
  /** A new model trained without any thought of the old one: what an upgrade could reach if the gallery were embedded again. */
  readonly oracle?: ModelFeatures | undefined;
  readonly candidates: readonly ModelFeatures[];
  readonly seed?: number;
  /** Impostor pairs to draw; all are taken if there are not more. */
  readonly impostors?: number;
  /** Bootstrap resamples of the identities. */
  readonly resamples?: number;
  /** Told before each test. */
  readonly onTest?: (done: number, total: number, name: string) => void;
};

/** FAR whose TAR gets an interval; the smaller ones rest on too few impostor pairs, the larger say little. */
const FAR_WITH_INTERVAL = [1e-4, 1e-3, 1e-2] as const;
const FPIR_WITH_INTERVAL = [1e-2, 1e-1] as const;
/** What the compatibility summary asks: is it the same one, who is it, and who is it if it may be somebody unknown. */
export const HEADLINES = ['TAR@FAR=1e-3', 'rank-1', 'TPIR@FPIR=1e-1', 'TPIR@FPIR=1e-2'] as const;

export type VerificationResult = {
  readonly auc: number;
  readonly eer: number;
  readonly tar: readonly {
    readonly far: number;
    readonly nearest: number;
    readonly atMost: number;
    readonly interval: Estimate | null;
  }[];
  readonly curve: { readonly far: readonly number[]; readonly tar: readonly number[] };
};

export type IdentificationResult = {
  readonly ranks: readonly { readonly rank: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly tpir: readonly { readonly fpir: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly curve: { readonly fpir: readonly number[]; readonly tpir: readonly number[] };
  /** Missing from evaluations made before there was one. */
  readonly cmc?: Cmc;
};

/** One test: queries of one model against a gallery of another (or the same); null where the protocol has no such part. */
export type TestResult = {
  readonly query: string;
  readonly gallery: string;
  readonly verification: VerificationResult | null;
  readonly identification: IdentificationResult | null;
};

export type CandidateResult = { readonly name: string; readonly comparisons: readonly Comparison[] };

export type Evaluation = {
  readonly kind: 'evaluation';
  readonly version: 1;
  readonly title: string;
  readonly dataset: {
    readonly path: string;
    readonly digest: string;
    readonly images: number;
    readonly classes: number;
    readonly families: number | null;
  };
  readonly protocol: {
    readonly seed: number;
    readonly genuinePairs: number;
    readonly impostorPairs: number;
    readonly allImpostors: boolean;
    readonly probes: number;
    readonly galleries: readonly number[];
    readonly resamples: number;
  };
  readonly models: readonly {
    readonly name: string;
    readonly role: 'old' | 'oracle' | 'new';
    readonly dim: number;
    readonly preset?: string;
    readonly differences?: readonly string[];
  }[];
  readonly tests: readonly TestResult[];
  readonly candidates: readonly CandidateResult[];
};

/** Judges new models on classes that none of them was trained on, against themselves and against the old model's gallery. */
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
    impostors = 2_000_000,
    resamples = 500,
    onTest,
  } = options;
  const news = [...(oracle ? [oracle] : []), ...candidates];
  for (const model of news)
    if (meeting(model).dim !== old.dim && model !== oracle)
      throw new UserError(
        `${model.name} makes ${meeting(model).dim} dimensions, the old model ${old.dim}: its queries cannot meet the old gallery`,
        { hint: `train it with network.embeddingDim ${old.dim}, or give it a projection` },
      );
  for (const { name, rows, dim } of [old, ...news, ...news.map((model) => ({ ...meeting(model), name: model.name }))])
    if (rows.length !== labels.length * dim)
      throw new UserError(`${name}: ${rows.length / dim} embeddings for ${labels.length} labels`);
  const names = [old, ...news].map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UserError(`two models are called ${twice}`, { hint: 'give each a name of its own: --new name=folder' });

  const rng = new Rng(seed).split('evaluate');
  const protocol = {
    labels,
    families,
    pairs: verificationPairs({ labels, families }, { impostors, rng: rng.split('1:1') }),
    split: identificationSplit({ labels, families }, rng.split('1:N')),
  };
  const judge = makeJudge(protocol, { resamples, rng: rng.split('bootstrap') });
  const unit = new Map([old, ...news].map(({ name, rows, dim }) => [name, unitEmbeddings(rows, dim, name)]));
  const wanted = [
    [old, old],
    ...news.flatMap((model) => [[model, model], ...(meeting(model).dim === old.dim ? [[model, old]] : [])]),
  ] as [ModelFeatures, ModelFeatures][];
  const judged = new Map<string, Judged>();
  for (const [i, [query, gallery]] of wanted.entries()) {
    const key = testKey(query.name, gallery.name);
    onTest?.(i, wanted.length, `${query.name} → ${gallery.name}`);
    const { inOldSpace } = query;
    const queries =
      gallery === old && inOldSpace
        ? unitEmbeddings(inOldSpace.rows, inOldSpace.dim, query.name)
        : unit.get(query.name)!;
    judged.set(key, judge(query.name, gallery.name, queries, unit.get(gallery.name)!));
  }
  const measured = (query: ModelFeatures, gallery: ModelFeatures, metric: string): Measured =>
    judged.get(testKey(query.name, gallery.name))!.headlines.get(metric)!;
  const familyIds = new Set(families);
  familyIds.delete(-1);
  return {
    kind: 'evaluation',
    version: 1,
    title,
    dataset: { ...dataset, images: labels.length, classes: new Set(labels).size, families: familyIds.size || null },
    protocol: {
      seed,
      genuinePairs: protocol.pairs.genuine.gallery.length,
      impostorPairs: protocol.pairs.impostor.gallery.length,
      allImpostors: protocol.pairs.allImpostors,
      probes: protocol.split.probes.length,
      galleries: protocol.split.galleries.map(({ entries }) => entries.length),
      resamples,
    },
    models: [old, ...news].map(({ name, dim, preset = 'default', differences = [] }) => ({
      name,
      dim,
      preset,
      differences,
      role: name === old.name ? 'old' : name === oracle?.name ? 'oracle' : 'new',
    })),
    tests: [...judged.values()].map(({ result }) => result),
    candidates: candidates.map((model) => ({
      name: model.name,
      comparisons: HEADLINES.map((metric) =>
        compare(metric, {
          oldOld: measured(old, old, metric),
          newOld: measured(model, old, metric),
          newNew: measured(model, model, metric),
          oracle: oracle ? measured(oracle, oracle, metric) : null,
        }),
      ),
    })),
  };
}

/** A model's embeddings as they meet the old gallery. */
const meeting = (model: ModelFeatures): { readonly rows: Float32Array; readonly dim: number } =>
  model.inOldSpace ?? model;

const testKey = (query: string, gallery: string): string => JSON.stringify([query, gallery]);

type Judged = { readonly result: TestResult; readonly headlines: ReadonlyMap<string, Measured> };
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

  return (queryName: string, galleryName: string, query: Embeddings, gallery: Embeddings): Judged => {
    const genuine = { score: pairScores(query, gallery, pairs.genuine), ...genuineSides };
    const impostor = { score: pairScores(query, gallery, pairs.impostor), ...impostorSides };
    const verification = verify(genuine, impostor, drawn, totals);
    const identification = identify({ split, query, gallery, probeIdentity, drawn });
    return {
      result: {
        query: queryName,
        gallery: galleryName,
        verification: verification.result,
        identification: identification.result,
      },
      headlines: new Map([...verification.measured, ...identification.measured]),
    };
  };
}

function verify(genuine: ScoredPairs, impostor: ScoredPairs, drawn: Resamples, totals: Float64Array) {
  const scores = { genuine: genuine.score.slice().sort(), impostor: impostor.score.slice().sort() };
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
  const result = { auc: auc(curve), eer: equalErrorRate(curve), tar, curve: thinned(scores) };
  return { result, measured: [...measured].map(([far, m]) => [`TAR@FAR=${exponent(far)}`, m] as const) };
}

/** The curve at logarithmic steps of FAR: what a plot shows. */
function thinned(scores: { readonly genuine: Float32Array; readonly impostor: Float32Array }) {
  const far = Array.from({ length: 121 }, (_, i) => 10 ** (-6 + i / 20));
  return { far, tar: far.map((x) => tarAtMost(scores, x)) };
}

type IdentifyInput = {
  readonly split: IdentificationProtocol;
  readonly query: Embeddings;
  readonly gallery: Embeddings;
  readonly probeIdentity: Int32Array;
  readonly drawn: Resamples;
};

function identify({ split, query, gallery, probeIdentity, drawn }: IdentifyInput) {
  const searches = split.galleries.map(({ entries, enrolled }) =>
    search(similarities(query, gallery, split.probes, entries), enrolled, entries.length),
  );
  const falling = searches.map(alarms);
  const tpirAt = (fpir: number): number => mean(searches.map((s, i) => tpir(s, alarmThreshold(falling[i]!, fpir))));
  // identities of the two galleries are disjoint: the joint rate is over the union of their searches
  const mated = searches.map(({ ahead }) => ahead.filter((n) => n >= 0).length);
  const rankRate = (rank: number): number =>
    searches.reduce((sum, s, i) => sum + topRank(s, rank) * mated[i]!, 0) / mated.reduce((a, b) => a + b);
  const rankOne = { value: rankRate(1), replicates: rankReplicates(searches, probeIdentity, 1, drawn) };
  const atFpir = new Map(
    FPIR_WITH_INTERVAL.map((fpir) => [
      fpir as number,
      { value: tpirAt(fpir), replicates: tpirReplicates(searches, probeIdentity, fpir, drawn) },
    ]),
  );
  const result = {
    ranks: RANKS.map((rank) => ({
      rank,
      rate: rankRate(rank),
      interval: rank === 1 ? estimate(rankOne.value, rankOne.replicates) : null,
    })),
    tpir: FPIR_TARGETS.map((fpir) => {
      const known = atFpir.get(fpir);
      return { fpir, rate: tpirAt(fpir), interval: known ? estimate(known.value, known.replicates) : null };
    }),
    curve: { fpir: FPIR_CURVE, tpir: FPIR_CURVE.map(tpirAt) },
    cmc: cumulativeMatches(searches, Math.min(CMC_RANKS, ...split.galleries.map(({ entries }) => entries.length))),
  };
  return {
    result,
    measured: [
      ['rank-1', rankOne] as const,
      ...[...atFpir].map(([fpir, m]) => [`TPIR@FPIR=${exponent(fpir)}`, m] as const),
    ],
  };
}

const mean = (xs: readonly number[]): number => xs.reduce((sum, x) => sum + x, 0) / xs.length;

/** 0.001 as 1e-3 */
export const exponent = (x: number): string => `1e${Math.round(Math.log10(x))}`;
