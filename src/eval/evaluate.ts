import { UserError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { numberClasses } from '../data/number-classes.ts';
import {
  impostorWeights,
  pairCounts,
  type Resamples,
  resampleIdentities,
  type ScoredPairs,
  sortPairsByScore,
  tarReplicates,
} from './bootstrap.ts';
import { type ChangesContext, pairChanges, type RanTest, searchChanges } from './changes.ts';
import { compareByMetrics, judgedMetrics } from './compatibility.ts';
import { BAND_FARS, bandOf } from './curve-bands.ts';
import { OPERATING_FAR, RESAMPLES } from './defaults.ts';
import { dropInTest } from './drop-in.ts';
import { embeddingMap, mapImages } from './embedding-map.ts';
import type { CrossingAdapter, Evaluation, Measured, TestResult, VerificationResult } from './evaluation.ts';
import { searchParts } from './gallery-search.ts';
import type { Searches } from './identification.ts';
import {
  drawProtocol,
  evaluationRng,
  type IdentificationProtocol,
  type Identities,
  type LabelledSetProtocol,
  type VerificationProtocol,
} from './labelled-set-protocol.ts';
import type { VerificationTest } from './metrics/metric.ts';
import { requireDistinctNames } from './model-names.ts';
import {
  type MeasuredOperatingPoint,
  measureOperatingPoint,
  type OperatingPointOptions,
  type TestScores,
} from './operating-point.ts';
import { FAR_TARGETS, roc, tarAtMost, thresholdAtMost, tiedPairs } from './roc.ts';
import { scoreHistogram } from './score-histogram.ts';
import { cosine, type Embeddings, pairScores, requireFewZeros, unitEmbeddings, zeroRows } from './scores.ts';
import { identificationTest, listedMetrics, measureMetrics, verificationResult } from './test-results.ts';
import type { TrainingData } from './training-data.ts';

/** Embeddings as a backbone made them, flat [N · D]; or a function that reads them, so that one new model is in memory at a time. */
export type RowSource = Float32Array | (() => Float32Array);

/** A model's embeddings of the evaluation set. */
export type ModelFeatures = {
  readonly name: string;
  readonly rows: RowSource;
  readonly dim: number;
  /** Of the model, where it is known. */
  readonly digest?: string | undefined;
  /** Preset of behaviour that the model was trained under, and where its recipe differs from the reference. */
  readonly preset?: string;
  readonly differences?: readonly string[];
  /** How its training set relates to the evaluation set. */
  readonly trainingData?: TrainingData;
  /** The embeddings projected into the old space; absent if the model's own space is the old one. */
  readonly inOldSpace?: ModelRows;
  /** The old model's embeddings, mapped into the model's own space: the gallery that it searches instead of the old one. */
  readonly oldGallery?: ModelRows;
  /** The adapter that made one of the two above. */
  readonly adapter?: CrossingAdapter;
  /** Digest of `inOldSpace`, if the model itself projects its embeddings there. */
  readonly projection?: string | undefined;
};
type ModelRows = Pick<ModelFeatures, 'rows' | 'dim'>;

export type EvaluateOptions = Identities & {
  readonly title: string;
  readonly dataset: { readonly path: string; readonly digest: string };
  readonly old: ModelFeatures;
  /** A new model trained without the old one: what an upgrade with a re-embedded gallery reaches. */
  readonly oracle?: ModelFeatures | undefined;
  readonly candidates: readonly ModelFeatures[];
  readonly seed?: number;
  /** Images skipped for all models because one has no embedding of them. They are not among the labels. */
  readonly missing?: number;
  /** Positions of the images in the dataset [N]; absent: the images are all of it. */
  readonly positions?: Int32Array | undefined;
  /** Most genuine pairs, impostor pairs and probes to use. If there are more, this many are drawn. */
  readonly genuines?: number | undefined;
  readonly impostors?: number | undefined;
  readonly probes?: number | undefined;
  /** The FAR that the old system runs at: each test is also judged at the threshold that gives old → old this FAR. */
  readonly far?: number | undefined;
  /** Bootstrap resamples of the identities. */
  readonly resamples?: number | undefined;
  /** Share of a model's embeddings that may be zeros. */
  readonly maxZeroShare?: number | undefined;
  /** Called before each test. */
  readonly onTest?: (done: number, total: number, name: string) => void;
};

/** FAR whose TAR gets an interval. Smaller ones rest on too few impostor pairs; larger ones say little. */
const FAR_WITH_INTERVAL: readonly number[] = [1e-4, 1e-3, 1e-2];
const PROTOCOL = 'labelled set';
/**
 * Judges new models against themselves and against the old model's gallery.
 * @throws UserError if models cannot be compared, or too many embeddings of one are zeros.
 */
export function evaluate(options: EvaluateOptions): Evaluation {
  const { title, dataset, old, oracle, candidates, labels, families, maxZeroShare, onTest } = options;
  const { seed = 0, missing = 0, positions, resamples = RESAMPLES, far = OPERATING_FAR } = options;
  const news = [...(oracle ? [oracle] : []), ...candidates];
  for (const model of news)
    if (!searchesOld(model, old) && model !== oracle)
      throw new UserError(
        `${model.name} makes ${oldModelRows(model).dim} dimensions, the old model ${old.dim}: its queries cannot be compared with the old gallery`,
        {
          hint: `train it with network.embeddingDim ${old.dim}, give it a projection, or fit an adapter with: mixbct adapt fit`,
        },
      );
  requireDistinctNames([old, ...news].map(({ name }) => name));

  const protocol = drawProtocol({ labels, families }, { ...options, seed });
  const rng = evaluationRng(seed);
  const runTest = createTestRunner(protocol, { resamples, rng: rng.split('bootstrap'), details: true });
  const context = { ...protocol, ...runTest.shared, positions, rng: rng.split('changes') };
  const mapped = mapImages(labels, rng.split('map'));
  const zeros = new Map<string, number>();
  const load = (model: ModelFeatures): LoadedEmbeddings => {
    const loaded = loadEmbeddings(model, labels.length);
    zeros.set(model.name, requireFewZeros(model.name, loaded.zeros, { of: labels.length, most: maxZeroShare }));
    return loaded;
  };
  const tests = news.reduce((sum, model) => sum + (searchesOld(model, old) ? 2 : 1), 1);
  const finished = new Map<string, MeasuredTest>();
  const changes = new Map<string, ReturnType<typeof changesOf>>();
  let oldTest: RanTest | undefined;
  const test = (query: ModelFeatures, gallery: ModelFeatures, queries: Embeddings, entries: Embeddings): void => {
    onTest?.(finished.size, tests, `${query.name} → ${gallery.name}`);
    const oldThreshold = finished.get(testKey(old.name, old.name))?.operating.oldThreshold;
    const operatingPoint = { far, ...(oldThreshold !== undefined && { oldThreshold }) };
    const { result, measured, operating, ...found } = runTest(queries, entries, operatingPoint);
    const crosses = query !== gallery && { map: embeddingMap(queries, entries, mapped, positions) };
    const named = {
      query: query.name,
      gallery: gallery.name,
      ...result,
      operatingPoint: operating!.result,
      ...crosses,
    };
    finished.set(testKey(query.name, gallery.name), { result: named, measured, operating: operating! });
    if (gallery !== old) return;
    const similarity = (i: number, j: number): number => cosine(queries.rows, i, entries.rows, j, queries.dim);
    const ran = { similarity, ...found, threshold: operating!.threshold };
    oldTest ??= ran;
    if (candidates.includes(query)) changes.set(query.name, changesOf({ old: oldTest, fresh: ran }, context));
  };
  const oldLoaded = load(old);
  test(old, old, oldLoaded.own, oldLoaded.own);
  for (const model of news) {
    const { own, inOldSpace: meetingOld, oldGallery = oldLoaded.own } = load(model);
    test(model, model, own, own);
    if (searchesOld(model, old)) test(model, old, meetingOld, oldGallery);
  }
  const { pairs, split } = protocol;
  const galleries = split.galleries.map(({ entries }) => entries.length);
  const finishedTest = (query: string, gallery: string): MeasuredTest => finished.get(testKey(query, gallery))!;
  const measuredOf = (query: string, gallery: string) => finishedTest(query, gallery).measured;
  const oldOld = finishedTest(old.name, old.name).operating;
  return {
    kind: 'evaluation',
    version: 1,
    title,
    dataset: {
      ...dataset,
      images: labels.length,
      ...(missing > 0 && { missing }),
      classes: new Set(labels).size,
      families: new Set(families.filter((family) => family !== -1)).size || null,
    },
    protocol: {
      seed,
      genuinePairs: pairs.genuine.gallery.length,
      ...(pairs.totalGenuine > pairs.genuine.gallery.length && { genuinePairsInAll: pairs.totalGenuine }),
      impostorPairs: pairs.impostor.gallery.length,
      allImpostors: pairs.allImpostors,
      probes: split.probes.length,
      ...(split.totalProbes > split.probes.length && { probesInAll: split.totalProbes }),
      galleries,
      identities: new Set(split.probes.map((i) => labels[i]!)).size,
      resamples,
    },
    models: [old, ...news].map(
      ({ name, dim, digest, preset = 'default', differences = [], trainingData, adapter, projection }) => ({
        name,
        dim,
        ...(digest !== undefined && { digest }),
        preset,
        differences,
        ...(trainingData && { trainingData }),
        ...(adapter && { adapter }),
        ...(projection !== undefined && { projection }),
        role: name === old.name ? 'old' : name === oracle?.name ? 'oracle' : 'new',
        zeros: zeros.get(name)!,
      }),
    ),
    operatingPoint: { far, threshold: oldOld.oldThreshold },
    tests: [...finished.values()].map(({ result, measured }) => ({
      ...result,
      judged: judgedMetrics(PROTOCOL, measured, measuredOf(old.name, old.name)),
    })),
    candidates: candidates.map((model) => ({
      name: model.name,
      dropIn: dropInTest({ oldOld, newOld: finishedTest(model.name, old.name).operating }, far),
      changes: changes.get(model.name)!,
      comparisons: compareByMetrics(
        PROTOCOL,
        { old: old.name, oracle: oracle?.name, model: model.name },
        { tests: measuredOf, galleries },
      ),
    })),
  };
}

const changesOf = (tests: { readonly old: RanTest; readonly fresh: RanTest }, context: ChangesContext) => ({
  searches: searchChanges(tests, context),
  pairs: pairChanges(tests, context),
});

/** The model's embeddings that are compared with the old gallery. */
const oldModelRows = (model: ModelFeatures): ModelRows => model.inOldSpace ?? model;

/** Whether the model's queries can be compared with the old gallery, or with the one in its place. */
const searchesOld = (model: ModelFeatures, old: ModelFeatures): boolean =>
  oldModelRows(model).dim === (model.oldGallery ?? old).dim;

/** A model's unit embeddings in its own space and in the old one, its gallery if that is not the old one, and the positions of rows that are zeros in any. */
type LoadedEmbeddings = {
  readonly own: Embeddings;
  readonly inOldSpace: Embeddings;
  readonly oldGallery?: Embeddings;
  readonly zeros: ReadonlySet<number>;
};

function loadEmbeddings(model: ModelFeatures, count: number): LoadedEmbeddings {
  const { name, inOldSpace, oldGallery } = model;
  const unit = ({ rows: source, dim }: ModelRows): Embeddings => {
    const read = typeof source === 'function';
    const rows = read ? source() : source;
    if (rows.length !== count * dim)
      throw new UserError(`${name}: ${rows.length / dim} embeddings for ${count} labels`);
    return unitEmbeddings(rows, dim, name, read ? rows : undefined);
  };
  const own = unit(model);
  const meetingOld = inOldSpace ? unit(inOldSpace) : own;
  const gallery = oldGallery && unit(oldGallery);
  const all = [own, ...(inOldSpace ? [meetingOld] : []), ...(gallery ? [gallery] : [])];
  const zeros = all.flatMap(({ rows, dim }) => zeroRows(rows, dim));
  return { own, inOldSpace: meetingOld, ...(gallery && { oldGallery: gallery }), zeros: new Set(zeros) };
}

const testKey = (query: string, gallery: string): string => JSON.stringify([query, gallery]);

type MeasuredTest = {
  readonly result: TestResult;
  readonly measured: ReadonlyMap<string, Measured>;
  readonly operating: MeasuredOperatingPoint;
};

type TestRunnerOptions = {
  readonly resamples: number;
  readonly rng: Rng;
  /** Whether results have what a report draws: bands of the curves, and how the scores lie. */
  readonly details?: boolean;
};

/**
 * Returns a function that runs one test by unit embeddings, and measures it at an operating point if one is given. What all tests share
 * is computed once: identities, resamples, impostor weights.
 */
export function createTestRunner(
  { labels, pairs, split }: LabelledSetProtocol,
  { resamples, rng, details = false }: TestRunnerOptions,
) {
  const { labels: identity, classes } = numberClasses(labels);
  const sides = ({ gallery, query }: VerificationProtocol['genuine']) => ({
    a: gallery.map((i) => identity[i]!),
    b: query.map((i) => identity[i]!),
  });
  const [genuineSides, impostorSides] = [sides(pairs.genuine), sides(pairs.impostor)];
  const drawn = resampleIdentities(classes, resamples, rng);
  const totals = impostorWeights(pairCounts(impostorSides, classes), drawn);
  const probeIdentity = split.probes.map((i) => identity[i]!);

  const shared = { identities: classes, drawn, totals, probeIdentity, rng };

  const run = (query: Embeddings, gallery: Embeddings, point?: OperatingPointOptions) => {
    const scores = {
      genuine: pairScores(query, gallery, pairs.genuine),
      impostor: pairScores(query, gallery, pairs.impostor),
    };
    const genuine = sortPairsByScore({ score: scores.genuine, ...genuineSides });
    const impostor = sortPairsByScore({ score: scores.impostor, ...impostorSides });
    const verification = verify(genuine, impostor, { drawn, totals, band: details });
    const searches = searchBoth(split, query, gallery);
    const identification = identificationTest(searches, probeIdentity, drawn, { bands: details });
    const tests = { verification: verification.test, identification: identification.test };
    const measured = measureMetrics(PROTOCOL, tests);
    return {
      /** For metrics that are not among `measured`. */
      tests,
      result: {
        verification: verification.result,
        identification: identification.result,
        ...listedMetrics(measured),
        ...(details && { scores: scoreHistogram(scores.genuine, scores.impostor) }),
      },
      measured,
      searches,
      /** In the order of the protocol's pairs. */
      ...scores,
      operating:
        point && measureOperatingPoint({ genuine, impostor, searches, ...verification.at(point.far) }, point, shared),
    };
  };
  return Object.assign(run, { shared: { identity, classes, drawn, totals } });
}

/** 1:1 verification; pairs are sorted by falling score. */
function verify(
  genuine: ScoredPairs,
  impostor: ScoredPairs,
  { drawn, totals, band }: { readonly drawn: Resamples; readonly totals: Float64Array; readonly band: boolean },
): {
  readonly test: VerificationTest;
  readonly result: VerificationResult;
  /** The largest TAR at a FAR of at most `far`, and its threshold. */
  readonly at: (far: number) => Pick<TestScores, 'keepingFar'>;
} {
  const scores = { genuine: genuine.score.toReversed(), impostor: impostor.score.toReversed() };
  const replicates = (fars: readonly number[]) => tarReplicates(genuine, impostor, fars, drawn, totals);
  // one pass over the impostors for both
  const known = replicates([...FAR_WITH_INTERVAL, ...(band ? BAND_FARS : [])]);
  const test: VerificationTest = {
    curve: roc(scores),
    tar: (far) => ({
      value: tarAtMost(scores, far),
      replicates: known[FAR_WITH_INTERVAL.indexOf(far)] ?? replicates([far])[0]!,
    }),
  };
  const result = verificationResult(test, {
    tarAtMost: (far) => tarAtMost(scores, far),
    thresholdAtMost: (far) => thresholdAtMost(scores.impostor, far),
    withInterval: FAR_WITH_INTERVAL,
    tied: tiedPairs(scores, FAR_TARGETS),
    band: band ? bandOf(BAND_FARS, known.slice(FAR_WITH_INTERVAL.length)) : undefined,
  });
  const at = (far: number) => ({
    keepingFar: { tar: test.tar(far), threshold: thresholdAtMost(scores.impostor, far) },
  });
  return { test, result, at };
}

/** Searches both galleries with every probe. */
function searchBoth(
  { galleries: [first, second], probes }: IdentificationProtocol,
  query: Embeddings,
  gallery: Embeddings,
): Searches[] {
  return searchParts(
    { ...query, positions: probes },
    { ...gallery, positions: Int32Array.from([...first.entries, ...second.entries]) },
    [
      { start: 0, size: first.entries.length, enrolled: first.enrolled },
      { start: first.entries.length, size: second.entries.length, enrolled: second.enrolled },
    ],
  );
}
