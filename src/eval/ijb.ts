import { optionHint, UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { estimate, type Resamples, resampleIdentities } from './bootstrap.ts';
import { chanceLevel, compare, type Measured } from './compatibility.ts';
import { acceptedAtMost, rocOfCounts, ScoreCounts, tiedAtMost } from './counts.ts';
import type { Evaluation } from './evaluate.ts';
import { type Enrolment, searchGalleries } from './gallery-search.ts';
import { alarms, alarmThreshold, FPIR_TARGETS, RANKS, type Searches, topRank, tpir } from './identification.ts';
import {
  exponent,
  FAR_CURVE,
  type IdentificationResult,
  type Judged,
  judgeSearches,
  type VerificationResult,
} from './judge.ts';
import { requireDistinctNames } from './names.ts';
import { auc, equalErrorRate, FAR_TARGETS, tarNearest } from './roc.ts';
import { requireFewZeros, zeroRows } from './scores.ts';
import { type Templates, templatePositions, templateScores } from './templates.ts';

/** Pairs of template ids: the gallery side, the query side, and whether both show one subject (1) or not (0). [K] each */
export type PairBlock = { readonly gallery: Int32Array; readonly query: Int32Array; readonly same: Uint8Array };

/** A protocol of templates, as IJB-B and IJB-C have it; null is not asked for. */
export type TemplateProtocol = {
  readonly pairs: {
    /** The pairs of 1:1, block by block; the same ones whenever it is called. */
    blocks(): Iterable<PairBlock>;
    /** The genuine ones among them, in order, if there is a shorter way than by the blocks. */
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
  /** The same in the old space, if a projection leads there; otherwise its own space is the old one. */
  readonly inOldSpace?: Templates;
  readonly preset?: string;
  readonly differences?: readonly string[];
};

export type TemplateEvaluation = TemplateProtocol & {
  readonly title: string;
  readonly dataset: Evaluation['dataset'];
  /** The name of the protocol, for the report. */
  readonly protocol: string;
  readonly old?: TemplateModel | undefined;
  readonly oracle?: TemplateModel | undefined;
  readonly candidates: readonly TemplateModel[];
  readonly seed?: number;
  readonly resamples?: number;
  /** Share of a model's templates that may be zeros. */
  readonly maxZeroShare?: number | undefined;
  /** Told before each step. */
  readonly onStep?: (done: number, total: number, name: string) => void;
  /** Is given the scores and labels of each block of pairs, in order, of each test; -1 is the score of a template of zeros. */
  readonly onScores?: (
    query: string,
    gallery: string,
    block: { readonly scores: Float64Array; readonly same: Uint8Array },
  ) => void;
};

/** FAR whose TAR gets an interval. */
const FAR_WITH_INTERVAL = [1e-5, 1e-4, 1e-3] as const;
/** What models are compared by. */
const METRICS = {
  pairs: ['TAR@FAR=1e-4', 'TAR@FAR=1e-5'],
  identification: ['rank-1', 'TPIR@FPIR=1e-1', 'TPIR@FPIR=1e-2'],
} as const;

type Test = { readonly query: TemplateModel; readonly gallery: TemplateModel };

/**
 * Judges models by a protocol of templates: every model on itself, and every new one on the old one's gallery (methods.md
 * 6.5, 6.6). Genuine pairs are scored first, then all pairs block by block; all tests share a reading.
 *
 * Intervals are of a bootstrap of the enrolled templates (1:1) and of the subjects (1:N). In 1:1 it leaves the threshold as
 * it is: millions of impostors fix it.
 * @throws UserError if models differ in dimension, share a name, a template has no images, or too many are zeros.
 */
export function evaluateTemplates(options: TemplateEvaluation): Evaluation {
  const { title, dataset, old, oracle, candidates, pairs, identification, seed = 0, resamples = 500 } = options;
  const news = [...(oracle ? [oracle] : []), ...candidates];
  const models = [...(old ? [old] : []), ...news];
  requireDistinctNames(models.map(({ name }) => name));
  for (const model of old ? candidates : [])
    if (!meets(model, old!))
      throw new UserError(
        `${model.name} makes ${meeting(model).dim} dimensions, the old model ${old!.templates.dim}: its queries cannot meet the old gallery`,
        { hint: [optionHint('evaluate it without --old'), optionHint('evaluate it as the --oracle')] },
      );
  const zeros = new Map(
    models.map((model) => [
      model.name,
      requireFewZeros(model.name, zerosOf(model), {
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
      ...(old && meets(model, old) ? [{ query: model, gallery: old }] : []),
    ]),
  ];
  const rng = new Rng(seed).split('evaluate');
  const verification = pairs && verifyAll(tests, { ...options, pairs, resamples, rng: rng.split('1:1') });
  const searched = identification && searchAll(tests, { ...options, identification, resamples, rng: rng.split('1:N') });
  const results = tests.map((test, i) => ({
    ...test,
    verification: verification ? verification.judged[i]! : null,
    identification: searched ? searched[i]! : null,
  }));
  const measured = (query: TemplateModel, gallery: TemplateModel, metric: string): Measured => {
    const { verification, identification } = results.find((test) => test.query === query && test.gallery === gallery)!;
    return (verification?.measured.get(metric) ?? identification?.measured.get(metric))!;
  };
  const metrics = [...(pairs ? METRICS.pairs : []), ...(identification ? METRICS.identification : [])];
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
      resamples,
    },
    models: models.map(({ name, templates, preset = 'default', differences = [] }) => ({
      name,
      dim: templates.dim,
      preset,
      differences,
      role: name === old?.name ? 'old' : name === oracle?.name ? 'oracle' : 'new',
      zeros: zeros.get(name)!,
    })),
    tests: results.map(({ query, gallery, verification, identification }) => ({
      query: query.name,
      gallery: gallery.name,
      verification: verification?.result ?? null,
      identification: identification?.result ?? null,
    })),
    candidates: (old ? candidates : []).map((model) => ({
      name: model.name,
      comparisons: metrics.map((metric) =>
        compare(
          metric,
          {
            oldOld: measured(old!, old!, metric),
            newOld: measured(model, old!, metric),
            newNew: measured(model, model, metric),
            oracle: oracle ? measured(oracle, oracle, metric) : null,
          },
          chanceLevel(metric, galleries),
        ),
      ),
    })),
  };
}

/** A model's templates as they meet the old gallery. */
const meeting = (model: TemplateModel): Templates => model.inOldSpace ?? model.templates;
const meets = (model: TemplateModel, old: TemplateModel): boolean => meeting(model).dim === old.templates.dim;
/** Templates that are zeros in a space of the model, by position. */
const zerosOf = ({ templates, inOldSpace }: TemplateModel): ReadonlySet<number> =>
  new Set([templates, inOldSpace].flatMap((space) => (space ? zeroRows(space.rows, space.dim) : [])));
/** The queries of a test. */
const asking = ({ query, gallery }: Test): Templates => (query === gallery ? query.templates : meeting(query));

type Context = Pick<TemplateEvaluation, 'onStep' | 'onScores'> & { readonly resamples: number; readonly rng: Rng };

function verifyAll(
  tests: readonly Test[],
  { pairs, onStep, onScores, resamples, rng }: Context & { readonly pairs: NonNullable<TemplateProtocol['pairs']> },
) {
  onStep?.(0, 2 * tests.length, '1:1, genuine pairs');
  const genuine = pairs.genuine?.() ?? genuineOf(pairs.blocks());
  const scored = tests.map((test) => scoresOf(test, genuine));
  const counts = scored.map((scores) => new ScoreCounts(scores));
  for (const block of pairs.blocks())
    for (const [i, test] of tests.entries()) {
      onStep?.(i, 2 * tests.length, `1:1, ${test.query.name} → ${test.gallery.name}`);
      const scores = scoresOf(test, block);
      counts[i]!.add(scores, block.same);
      onScores?.(test.query.name, test.gallery.name, { scores: scores.map((x) => Math.max(x, -1)), same: block.same });
    }
  const enrolled = [...new Set(genuine.gallery)];
  const at = new Map(enrolled.map((template, i) => [template, i]));
  const cluster = genuine.gallery.map((template) => at.get(template)!);
  const drawn = resampleIdentities(enrolled.length, resamples, rng);
  const [impostors] = counts.map((count) => count.impostors);
  if (impostors === 0) throw new UserError('there is no impostor pair: nothing can be verified');
  return {
    genuine: genuine.gallery.length,
    impostors: impostors!,
    judged: counts.map((count, i) => judgeCounts(count, scored[i]!, cluster, drawn)),
  };
}

const scoresOf = (test: Test, pairs: Omit<PairBlock, 'same'>): Float64Array => {
  const [query, gallery] = [asking(test), test.gallery.templates];
  return templateScores(gallery, query, {
    gallery: templatePositions(gallery, pairs.gallery),
    query: templatePositions(query, pairs.query),
  });
};

/** Protocols have few genuine pairs: these are kept. */
function genuineOf(blocks: Iterable<PairBlock>): Omit<PairBlock, 'same'> {
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
function judgeCounts(
  counts: ScoreCounts,
  scores: Float64Array,
  cluster: Int32Array,
  drawn: Resamples,
): Judged<VerificationResult> {
  const curve = rocOfCounts(counts);
  const atMost = (far: number): number => acceptedAtMost(counts, far) / scores.length;
  const measured = new Map(
    FAR_WITH_INTERVAL.map((far) => {
      const threshold = counts.genuine[scores.length - acceptedAtMost(counts, far)] ?? Number.POSITIVE_INFINITY;
      return [far as number, { value: atMost(far), replicates: shareReplicates(scores, threshold, cluster, drawn) }];
    }),
  );
  return {
    result: {
      auc: auc(curve),
      eer: equalErrorRate(curve),
      tar: FAR_TARGETS.map((far) => {
        const known = measured.get(far);
        return {
          far,
          nearest: tarNearest(curve, far),
          atMost: atMost(far),
          interval: known ? estimate(known.value, known.replicates) : null,
        };
      }),
      curve: { far: FAR_CURVE, tar: FAR_CURVE.map(atMost) },
      tied: tiedAtMost(counts, FAR_TARGETS),
    },
    measured: new Map([...measured].map(([far, m]) => [`TAR@FAR=${exponent(far)}`, m])),
  };
}

/** Share of scores that reach `threshold`, in each resample of clusters. [R] */
function shareReplicates(scores: Float64Array, threshold: number, cluster: Int32Array, drawn: Resamples): Float64Array {
  return Float64Array.from(drawn, (weights) => {
    let [accepted, all] = [0, 0];
    for (let k = 0; k < scores.length; k++) {
      const weight = weights[cluster[k]!]!;
      all += weight;
      if (scores[k]! >= threshold) accepted += weight;
    }
    return accepted / all;
  });
}

function searchAll(
  tests: readonly Test[],
  {
    identification: { galleries, probes },
    onStep,
    resamples,
    rng,
  }: Context & { readonly identification: NonNullable<TemplateProtocol['identification']> },
): Judged<IdentificationResult>[] {
  const subjects = [...new Set(probes.subjects)];
  const at = new Map(subjects.map((subject, i) => [subject, i]));
  const identity = probes.subjects.map((subject) => at.get(subject)!);
  const drawn = resampleIdentities(subjects.length, resamples, rng);
  return tests.map((test, i) => {
    onStep?.(tests.length + i, 2 * tests.length, `1:N, ${test.query.name} → ${test.gallery.name}`);
    const { searches, mixed } = searchGalleries(test.gallery.templates, asking(test), galleries, probes);
    const { result, measured } = judgeSearches(searches, identity, drawn);
    return {
      result: {
        ...result,
        galleries: searches.map((found, g) => ({ name: galleries[g]!.name, ...ratesOf(found) })),
        mixed: RANKS.map((rank) => ({ rank, rate: topRank(mixed, rank) })),
      },
      measured,
    };
  });
}

/** What one gallery gives. */
function ratesOf(found: Searches) {
  const falling = alarms(found);
  return {
    ranks: RANKS.map((rank) => ({ rank, rate: topRank(found, rank) })),
    tpir: FPIR_TARGETS.map((fpir) => ({ fpir, rate: tpir(found, alarmThreshold(falling, fpir)) })),
  };
}
