import { optionHint, UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import type { Enrolment } from '../data/index.ts';
import { type Resamples, resampleIdentities } from './bootstrap.ts';
import { compareByMetrics, judgedMetrics } from './compatibility.ts';
import { bandOf, TEMPLATE_BAND_FARS } from './curve-bands.ts';
import { OPERATING_FAR, RESAMPLES } from './defaults.ts';
import { dropInTest } from './drop-in.ts';
import type { CrossingAdapter, Evaluation, VerificationResult } from './evaluation.ts';
import {
  FPIR_TARGETS,
  hitRate,
  nonMatedScores,
  RANKS,
  type Searches,
  thresholdAtFpir,
  tpir,
} from './identification.ts';
import type { VerificationTest } from './metrics/metric.ts';
import { requireDistinctNames } from './model-names.ts';
import { FAR_TARGETS } from './roc.ts';
import { acceptedAtMost, rocOfCounts, ScoreCounts, thresholdOfCounts, tiedAtMost } from './score-counts.ts';
import { requireFewZeros, zeroRows } from './scores.ts';
import { shareAbove, shareReplicates } from './share-replicates.ts';
import { CHANGES_FAR, templatePairChanges, templateSearchChanges } from './template-changes.ts';
import { countByTemplate, measureTemplatesAt, type TemplateCounts } from './template-operating-point.ts';
import { TemplateSearches } from './template-search.ts';
import { scoresOfIds, type Templates } from './templates.ts';
import { identificationTest, listedMetrics, measureMetrics, verificationResult } from './test-results.ts';

/** Pairs of template ids: the gallery side, the query side, and whether both show one subject (1) or not (0). [K] each */
export type PairBlock = { readonly gallery: Int32Array; readonly query: Int32Array; readonly same: Uint8Array };

/** A protocol of templates, such as IJB-B and IJB-C. A part that is not evaluated is null. */
export type TemplateProtocol = {
  readonly pairs: {
    /** The pairs of 1:1, block by block; the same ones whenever it is called. */
    blocks(): Iterable<PairBlock>;
    /** The genuine pairs in order, if they can be had without reading all blocks. */
    genuine?(): Omit<PairBlock, 'same'>;
  } | null;
  readonly identification: {
    readonly galleries: readonly (Enrolment & { readonly name: string })[];
    readonly probes: Enrolment;
  } | null;
};

/** A model by its templates. */
export type TemplateModel = {
  readonly name: string;
  readonly templates: Templates;
  /** The templates projected into the old space; absent if the model's own space is the old one. */
  readonly inOldSpace?: Templates;
  readonly preset?: string;
  readonly differences?: readonly string[];
  /** The adapter into the old space that its features went through. */
  readonly adapter?: CrossingAdapter;
};

export type EvaluateTemplatesOptions = TemplateProtocol & {
  readonly title: string;
  readonly dataset: Evaluation['dataset'];
  /** The name of the protocol, for the report. */
  readonly protocol: string;
  readonly old?: TemplateModel | undefined;
  readonly oracle?: TemplateModel | undefined;
  readonly candidates: readonly TemplateModel[];
  /** The FAR that the old system runs at: each test is also judged at the threshold that gives old → old this FAR. */
  readonly far?: number;
  readonly seed?: number;
  readonly resamples?: number;
  /** Share of a model's templates that may be zeros. */
  readonly maxZeroShare?: number | undefined;
  /** Called before each step. */
  readonly onStep?: (done: number, total: number, name: string) => void;
  /** Called with the scores and labels of each block of pairs, in order, of each test. A template of zeros has score -1. */
  readonly onScores?: (
    query: string,
    gallery: string,
    block: { readonly scores: Float64Array; readonly same: Uint8Array },
  ) => void;
};

/** FAR whose TAR gets an interval. */
const FAR_WITH_INTERVAL: readonly number[] = [1e-5, 1e-4, 1e-3];
const PROTOCOL = 'templates';

type Test = { readonly query: TemplateModel; readonly gallery: TemplateModel };

/**
 * Judges models by a protocol of templates: every model on itself, and every new one on the old one's gallery (methods.md
 * 6.5, 6.6). Genuine pairs are scored first, then all pairs block by block. All tests share one pass over the blocks, after one of old → old,
 * which tells its threshold.
 *
 * Intervals come from a bootstrap of the enrolled templates (1:1) and of the subjects (1:N). In 1:1 all resamples use the same
 * threshold, because millions of impostors determine it.
 * @throws UserError if models differ in dimension, share a name, a template has no images, or too many are zeros.
 */
export function evaluateTemplates(options: EvaluateTemplatesOptions): Evaluation {
  const { title, dataset, old, oracle, candidates, pairs, identification } = options;
  const { seed = 0, resamples = RESAMPLES, far = OPERATING_FAR } = options;
  const news = [...(oracle ? [oracle] : []), ...candidates];
  const models = [...(old ? [old] : []), ...news];
  requireDistinctNames(models.map(({ name }) => name));
  for (const model of old ? candidates : [])
    if (!sharesOldSpace(model, old!))
      throw new UserError(
        `${model.name} makes ${oldSpaceTemplates(model).dim} dimensions, the old model ${old!.templates.dim}: its queries cannot be compared with the old gallery`,
        { hint: [optionHint('evaluate it without --old'), optionHint('evaluate it as the --oracle')] },
      );
  const zeros = new Map(
    models.map((model) => [
      model.name,
      requireFewZeros(model.name, zeroTemplates(model), {
        of: model.templates.ids.length,
        most: options.maxZeroShare,
        what: 'templates',
      }),
    ]),
  );
  const tests: Test[] = [
    ...(old ? [{ query: old, gallery: old }] : []),
    ...news.flatMap((model) => [
      { query: model, gallery: model },
      ...(old && sharesOldSpace(model, old) ? [{ query: model, gallery: old }] : []),
    ]),
  ];
  const rng = new Rng(seed).split('evaluate');
  const crossing = (name: string): number =>
    tests.findIndex(({ query, gallery }) => query.name === name && gallery === old);
  const searches =
    identification &&
    tests.map((test) => {
      const { galleries, probes } = identification;
      return new TemplateSearches(test.gallery.templates, queryTemplates(test), galleries, probes);
    });
  const verification =
    pairs &&
    runVerification(tests, { ...options, far: old ? far : null, pairs, searches, resamples, rng: rng.split('1:1') });
  const searched =
    searches && runIdentification(tests, { ...options, identification, searches, resamples, rng: rng.split('1:N') });
  const results = tests.map((test, i) => {
    const [pairsOf, searchesOf] = [verification?.tests[i] ?? null, searched?.tests[i] ?? null];
    const measured = measureMetrics(PROTOCOL, {
      verification: pairsOf?.test ?? null,
      identification: searchesOf?.test ?? null,
    });
    const [point, drawn] = [pairsOf?.point, searched?.drawn];
    const operating = point && measureTemplatesAt({
      ...point,
      ...{ searches: searchesOf?.searches ?? null, templatesDrawn: verification!.drawn },
      ...{ subjectsDrawn: drawn ?? [], probeSubject: searched?.identity ?? new Int32Array(0) },
    }); // biome-ignore format: short
    return {
      ...test,
      verification: pairsOf?.result ?? null,
      identification: searchesOf?.result ?? null,
      measured,
      operating,
    };
  });
  const resultOf = (query: string, gallery: string) =>
    results.find((test) => test.query.name === query && test.gallery.name === gallery)!;
  const measuredOf = (query: string, gallery: string) => resultOf(query, gallery).measured;
  const oldOld = old && resultOf(old.name, old.name).operating;
  const galleries = identification?.galleries.map(({ templates }) => templates.length) ?? [];
  return {
    kind: 'evaluation',
    version: 1,
    title,
    dataset,
    protocol: {
      name: options.protocol,
      seed,
      genuinePairs: verification?.genuine ?? 0,
      impostorPairs: verification?.impostors ?? 0,
      allImpostors: true,
      probes: identification?.probes.templates.length ?? 0,
      galleries,
      ...(searched && { identities: searched.identities }),
      resamples,
    },
    models: models.map(({ name, templates, preset = 'default', differences = [], adapter }) => ({
      name,
      dim: templates.dim,
      preset,
      differences,
      ...(adapter && { adapter }),
      role: name === old?.name ? 'old' : name === oracle?.name ? 'oracle' : 'new',
      zeros: zeros.get(name)!,
    })),
    ...(oldOld && { operatingPoint: { far, threshold: oldOld.oldThreshold } }),
    tests: results.map(({ query, gallery, verification, identification, measured, operating }) => ({
      query: query.name,
      gallery: gallery.name,
      verification,
      identification,
      ...(operating && { operatingPoint: operating.result }),
      ...listedMetrics(measured),
      ...(old && { judged: judgedMetrics(PROTOCOL, measured, measuredOf(old.name, old.name)) }),
    })),
    candidates: (old ? candidates : []).map(({ name }) => ({
      name,
      ...(oldOld && { dropIn: dropInTest({ oldOld, newOld: resultOf(name, old!.name).operating! }, far) }),
      changes: {
        ...(searched && { searches: searched.changes(crossing(old!.name), crossing(name)) }),
        ...(verification && { pairs: verification.changes(crossing(old!.name), crossing(name)) }),
      },
      comparisons: compareByMetrics(
        PROTOCOL,
        { old: old!.name, oracle: oracle?.name, model: name },
        { tests: measuredOf, galleries },
      ),
    })),
  };
}

/** The model's templates that are compared with the old gallery. */
const oldSpaceTemplates = (model: TemplateModel): Templates => model.inOldSpace ?? model.templates;
const sharesOldSpace = (model: TemplateModel, old: TemplateModel): boolean =>
  oldSpaceTemplates(model).dim === old.templates.dim;
/** Positions of templates that are zeros in the model's own space or in the old one. */
const zeroTemplates = ({ templates, inOldSpace }: TemplateModel): ReadonlySet<number> =>
  new Set([templates, inOldSpace].flatMap((space) => (space ? zeroRows(space.rows, space.dim) : [])));
/** The templates that query the gallery of a test. */
const queryTemplates = ({ query, gallery }: Test): Templates =>
  query === gallery ? query.templates : oldSpaceTemplates(query);

type Context = Pick<EvaluateTemplatesOptions, 'onStep' | 'onScores'> & {
  readonly resamples: number;
  readonly rng: Rng;
};

/**
 * Scores the pairs of all tests. Pairs and searches compare the same templates: `searches` of each test has a use for the
 * products.
 */
function runVerification(
  tests: readonly Test[],
  {
    pairs,
    far,
    searches,
    onStep,
    onScores,
    resamples,
    rng,
  }: Context & {
    readonly pairs: NonNullable<TemplateProtocol['pairs']>;
    readonly searches: readonly TemplateSearches[] | null;
    /** The first test is old → old; null: there is no old model. */
    readonly far: number | null;
  },
) {
  onStep?.(0, 2 * tests.length, '1:1, genuine pairs');
  const genuine = pairs.genuine?.() ?? genuinePairsOf(pairs.blocks());
  const scored = tests.map((test) => scoresOf(test, genuine));
  const counts = scored.map((scores) => new ScoreCounts(scores));
  const enrolled = [...new Set(genuine.gallery)];
  const at = new Map(enrolled.map((template, i) => [template, i]));
  const countsOfTemplates = (): TemplateCounts => new Float64Array(enrolled.length + 1);
  const impostorsOf = countsOfTemplates();
  const oldCounts = far === null ? null : new ScoreCounts(scored[0]!);
  for (const block of oldCounts ? pairs.blocks() : []) {
    oldCounts!.add(scoresOf(tests[0]!, block), block.same);
    countByTemplate(impostorsOf, block.gallery, at, (k) => block.same[k] === 0);
  }
  const oldThreshold = oldCounts ? thresholdOfCounts(oldCounts, far!) : null;
  const falseAccepts = tests.map(countsOfTemplates);
  for (const block of pairs.blocks())
    for (const [i, test] of tests.entries()) {
      onStep?.(i, 2 * tests.length, `1:1, ${test.query.name} → ${test.gallery.name}`);
      const scores = scoresOf(test, block, searches?.[i]);
      counts[i]!.add(scores, block.same);
      if (oldThreshold !== null)
        countByTemplate(falseAccepts[i]!, block.gallery, at, (k) => block.same[k] === 0 && scores[k]! > oldThreshold);
      onScores?.(test.query.name, test.gallery.name, { scores: scores.map((x) => Math.max(x, -1)), same: block.same });
    }
  const cluster = genuine.gallery.map((template) => at.get(template)!);
  const drawn = resampleIdentities(enrolled.length, resamples, rng);
  const [impostors] = counts.map((count) => count.impostors);
  if (impostors === 0) throw new UserError('there is no impostor pair: nothing can be verified');
  const decided = (i: number) => ({ scores: scored[i]!, threshold: thresholdOfCounts(counts[i]!, CHANGES_FAR) });
  return {
    genuine: genuine.gallery.length,
    impostors: impostors!,
    drawn,
    tests: counts.map((count, i) => {
      const verified = verifyCounts(count, scored[i]!, cluster, drawn);
      if (oldThreshold === null) return verified;
      const keepingFar = { tar: verified.test.tar(far!), threshold: thresholdOfCounts(count, far!) };
      const tar = shareAbove(scored[i]!, oldThreshold, cluster, drawn);
      const point = { oldThreshold, tar, keepingFar, impostors: impostorsOf, falseAccepts: falseAccepts[i]! };
      return { ...verified, point };
    }),
    changes: (old: number, fresh: number) =>
      templatePairChanges({ old: decided(old), fresh: decided(fresh) }, { genuine, cluster, drawn }),
  };
}

const scoresOf = (test: Test, pairs: Omit<PairBlock, 'same'>, searches?: TemplateSearches): Float64Array =>
  scoresOfIds(test.gallery.templates, queryTemplates(test), pairs, searches);

/** Collects the genuine pairs of all blocks. Protocols have few of them. */
function genuinePairsOf(blocks: Iterable<PairBlock>): Omit<PairBlock, 'same'> {
  const found: { gallery: number[]; query: number[] } = { gallery: [], query: [] };
  for (const { gallery, query, same } of blocks)
    for (let i = 0; i < same.length; i++) {
      if (same[i] !== 1) continue;
      found.gallery.push(gallery[i]!);
      found.query.push(query[i]!);
    }
  return { gallery: Int32Array.from(found.gallery), query: Int32Array.from(found.query) };
}

/** `scores` [K] of genuine pairs, `cluster` [K] their enrolled templates, by which `drawn` resamples. */
function verifyCounts(
  counts: ScoreCounts,
  scores: Float64Array,
  cluster: Int32Array,
  drawn: Resamples,
): { readonly test: VerificationTest; readonly result: VerificationResult; readonly point?: undefined } {
  const tarAtMost = (far: number): number => acceptedAtMost(counts, far) / scores.length;
  const replicates = (fars: readonly number[]): Float64Array[] => {
    const lowest = fars.map(
      (far) => counts.genuine[scores.length - acceptedAtMost(counts, far)] ?? Number.POSITIVE_INFINITY,
    );
    return shareReplicates(scores, lowest, cluster, drawn);
  };
  const test: VerificationTest = {
    curve: rocOfCounts(counts),
    tar: (far) => ({ value: tarAtMost(far), replicates: replicates([far])[0]! }),
  };
  const band = bandOf(TEMPLATE_BAND_FARS, replicates(TEMPLATE_BAND_FARS));
  const tied = tiedAtMost(counts, FAR_TARGETS);
  const thresholdAtMost = (far: number): number => thresholdOfCounts(counts, far);
  return {
    test,
    result: verificationResult(test, { tarAtMost, thresholdAtMost, withInterval: FAR_WITH_INTERVAL, tied, band }),
  };
}

function runIdentification(
  tests: readonly Test[],
  {
    identification: { galleries, probes },
    searches,
    onStep,
    resamples,
    rng,
  }: Context & {
    readonly identification: NonNullable<TemplateProtocol['identification']>;
    readonly searches: readonly TemplateSearches[];
  },
) {
  const subjects = [...new Set(probes.subjects)];
  const at = new Map(subjects.map((subject, i) => [subject, i]));
  const enrolled = new Set(galleries.flatMap((gallery) => [...gallery.subjects]));
  const identity = probes.subjects.map((subject) => at.get(subject)!);
  const drawn = resampleIdentities(subjects.length, resamples, rng);
  const ran = tests.map((test, i) => {
    onStep?.(tests.length + i, 2 * tests.length, `1:N, ${test.query.name} → ${test.gallery.name}`);
    return { query: queryTemplates(test), gallery: test.gallery.templates, ...searches[i]!.found };
  });
  return {
    tests: ran.map(({ searches, mixed }) => {
      const { test, result } = identificationTest(searches, identity, drawn, { bands: true });
      return {
        searches,
        test,
        result: {
          ...result,
          galleries: searches.map((found, g) => ({ name: galleries[g]!.name, ...galleryRates(found) })),
          mixed: RANKS.map((rank) => ({ rank, rate: hitRate(mixed, rank) })),
        },
      };
    }),
    identity,
    identities: subjects.filter((subject) => enrolled.has(subject)).length,
    drawn,
    changes: (old: number, fresh: number) =>
      templateSearchChanges(
        { old: ran[old]!, fresh: ran[fresh]! },
        { galleries, probes, identity, drawn, rng: rng.split('changes') },
      ),
  };
}

/** Rates of the searches of one gallery. */
function galleryRates(found: Searches) {
  const falling = nonMatedScores(found);
  return {
    ranks: RANKS.map((rank) => ({ rank, rate: hitRate(found, rank) })),
    tpir: FPIR_TARGETS.map((fpir) => ({ fpir, rate: tpir(found, thresholdAtFpir(falling, fpir)) })),
  };
}
