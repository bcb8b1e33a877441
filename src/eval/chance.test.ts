// No metric rewards a dead model: constant, zero and random embeddings are at chance, ties never decide, zeros never help.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { evaluate } from './evaluate.ts';
import { evaluateTemplates } from './evaluate-templates.ts';
import { searchParts } from './gallery-search.ts';
import type { TestResult } from './index.ts';
import { foldedAccuracy, packEmbeddings, pairDistances } from './pack-accuracy.ts';
import { poolTemplates } from './templates.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;
const [CLASSES, EACH, DIM] = [60, 8, 16];
const COUNT = CLASSES * EACH;

type Sizes = {
  readonly genuine: number;
  readonly impostors: number;
  readonly probes: number;
  readonly entries: number;
};

/**
 * What a metric is for a model that knows nothing, by its level (a FAR, an FPIR, a rank), and how far chance carries it: the
 * standard deviation of its estimate. `up`: whether more is better. A number of an evaluation without a line here fails.
 */
type Rule = {
  readonly up: boolean;
  readonly chance: (level: number, sizes: Sizes) => number;
  readonly deviation: (level: number, sizes: Sizes) => number;
};
/** Both the accepted and the threshold are drawn. A share that is rare is at least counted in ones. */
const ofPairs = (share: number, { genuine, impostors }: Sizes): number =>
  Math.sqrt((share * (1 - share) + 1 / genuine) * (1 / genuine + 1 / impostors));
const ofProbes = (share: number, { probes }: Sizes): number => Math.sqrt((share * (1 - share) + 1 / probes) / probes);
/** The nearest point of a curve lies between FAR 0, which is always on it, and twice the target. */
const nearest: Rule = {
  up: true,
  chance: (far) => Math.min(1, 2 * far),
  deviation: (far, s) => ofPairs(Math.min(1, 2 * far), s),
};
const tar: Rule = { up: true, chance: (far) => far, deviation: ofPairs };
const ranks: Rule = {
  up: true,
  chance: (rank, { entries }) => Math.min(1, rank / entries),
  deviation: (rank, s) => ofProbes(Math.min(1, rank / s.entries), s),
};
/** At any threshold the right entry must come first. */
const tpir: Rule = { ...ranks, chance: (_, s) => ranks.chance(1, s), deviation: (_, s) => ranks.deviation(1, s) };
const area = {
  chance: () => 0.5,
  deviation: (_: number, { genuine, impostors }: Sizes) => Math.sqrt((1 / genuine + 1 / impostors) / 4),
};
const RULES: Readonly<Record<string, Rule>> = {
  'verification.auc': { up: true, ...area },
  'verification.eer': { up: false, ...area },
  'verification.tar.nearest': nearest,
  'verification.tar.atMost': tar,
  'verification.tar.interval.value': tar,
  'verification.tar.interval.low': tar,
  'verification.curve.tar': tar,
  'verification.band.low': tar,
  'identification.ranks.rate': ranks,
  'identification.ranks.interval.value': ranks,
  'identification.ranks.interval.low': ranks,
  'identification.tpir.rate': tpir,
  'identification.tpir.interval.value': tpir,
  'identification.tpir.interval.low': tpir,
  'identification.curve.tpir': tpir,
  'identification.band.low': tpir,
  'identification.cmc.rate': ranks,
  'identification.cmcBand.low': ranks,
  'identification.galleries.ranks.rate': ranks,
  'identification.galleries.tpir.rate': tpir,
  'identification.mixed.rate': ranks, // of a gallery that is twice as large
  'pack.accuracy': { up: true, chance: () => 0.5, deviation: (_, { probes }) => Math.sqrt(0.25 / probes) },
};
/** What is no metric: the levels and thresholds, the upper ends of intervals, counts of ties. */
const PASSED_OVER = /\.(far|fpir|rank|x|threshold|high|tied)$/;

type Metric = { readonly name: string; readonly level: number; readonly value: number };

/** Every number of a result with the level it stands at. */
function metricsOf(node: unknown, name: string, level = 0): Metric[] {
  if (typeof node === 'number') return PASSED_OVER.test(name) ? [] : [{ name, level, value: node }];
  if (typeof node !== 'object' || node === null) return [];
  const fields = Object.entries(node);
  const levels = fields.find(([key]) => ['far', 'fpir', 'rank', 'x'].includes(key))?.[1] as
    | number
    | number[]
    | undefined;
  return fields.flatMap(([key, value]) =>
    Array.isArray(value)
      ? value.flatMap((v, i) => metricsOf(v, `${name}.${key}`, Array.isArray(levels) ? levels[i]! : level))
      : metricsOf(value, `${name}.${key}`, typeof levels === 'number' ? levels : level),
  );
}

const ruleOf = ({ name }: Metric): Rule => {
  const rule = RULES[name];
  assert.ok(rule, `${name} is a metric without a rule: say here what it is for a model that knows nothing`);
  return rule;
};

/** Embeddings of all images, flat; each kind is a model. */
type Model = (rng: Rng) => Float32Array;
const row = (rng: Rng): number[] => Array.from({ length: DIM }, () => rng.uniform() + rng.uniform() - 1);
const flat = (rowOf: (i: number) => ArrayLike<number>): Float32Array =>
  Float32Array.from(Array.from({ length: COUNT }, (_, i) => Array.from(rowOf(i))).flat());
const models = {
  constant: (rng) => {
    const one = row(rng);
    return flat(() => one);
  },
  zero: () => new Float32Array(COUNT * DIM),
  random: (rng) => flat(() => row(rng)),
  good: (rng) => {
    const centres = Array.from({ length: CLASSES }, () => row(rng));
    return flat((i) => row(rng).map((v, d) => 0.8 * v + centres[Math.floor(i / EACH)]![d]!));
  },
} satisfies Readonly<Record<string, Model>>;

/** A way to judge a model, on itself or as the queries of an old gallery. */
type Protocol = {
  readonly sizes: Sizes;
  readonly judge: (query: Float32Array, gallery: Float32Array) => readonly Metric[];
};
const labels = Int32Array.from({ length: COUNT }, (_, i) => Math.floor(i / EACH));
const named = (results: readonly TestResult[], crossed: boolean): Metric[] => {
  const {
    verification,
    identification,
    metrics = [],
  } = results.find(({ query, gallery }) => crossed === (query !== gallery))!;
  return [
    ...metricsOf(verification, 'verification'),
    ...metricsOf(identification, 'identification'),
    ...metrics.map(({ name, value }) => ({ name: `metrics.${name}`, level: 0, value })),
  ];
};
const resamples = 40;

const labelledSet: Protocol = {
  sizes: { genuine: (COUNT * (EACH - 1)) / 2, impostors: 30000, probes: COUNT - CLASSES, entries: CLASSES / 2 },
  judge: (query, gallery) => {
    const { tests } = evaluate({
      title: 'chance',
      dataset: { path: 'p', digest: 'd' },
      labels,
      families: new Int32Array(COUNT).fill(-1),
      old: { name: 'old', rows: gallery, dim: DIM },
      candidates: query === gallery ? [] : [{ name: 'new', rows: query, dim: DIM }],
      impostors: 30000,
      resamples,
      maxZeroShare: 1,
    });
    return named(tests, query !== gallery);
  },
};

/** The first image of each class is enrolled, the others are probes; every class is a subject, half of them in each gallery. */
const positions = Int32Array.from({ length: COUNT }, (_, i) => i);
const enrolled = positions.filter((i) => i % EACH === 0);
const probes = positions.filter((i) => i % EACH > 0);
const enrolment = (templates: Int32Array) => ({ templates, subjects: templates.map((i) => labels[i]!) });
const templatesOf = (rows: Float32Array) =>
  poolTemplates(
    { count: COUNT, dim: DIM, block: (from, count) => rows.subarray(from * DIM, (from + count) * DIM) },
    { templates: positions, media: positions, detector: new Float64Array(COUNT).fill(1) },
  );
const everyPair = Array.from(enrolled).flatMap((g) => Array.from(probes, (q) => [g, q] as const));
function ijb(order: Rng | null): Protocol['judge'] {
  const shuffled = (list: Int32Array): Int32Array => (order ? Int32Array.from(order.sample(list, list.length)) : list);
  const chosen = shuffled(Int32Array.from(everyPair.keys()));
  const part = (k: Int32Array) => ({
    gallery: k.map((i) => everyPair[i]![0]),
    query: k.map((i) => everyPair[i]![1]),
    same: Uint8Array.from(k, (i) => Number(labels[everyPair[i]![0]] === labels[everyPair[i]![1]])),
  });
  // blocks of two kinds: dense enough for products of matrices, and so sparse that pairs are multiplied one by one
  const blocks = [chosen.subarray(0, 20), chosen.subarray(20)].map(part);
  const galleries = [0, 1].map((g) => ({
    name: `G${g}`,
    ...enrolment(shuffled(enrolled.filter((_, i) => i % 2 === g))),
  }));
  return (query, gallery) => {
    const old = { name: 'old', templates: templatesOf(gallery) };
    const { tests } = evaluateTemplates({
      title: 'chance',
      dataset: { path: 'p', digest: 'd', images: COUNT, classes: COUNT, families: null },
      protocol: 'IJB',
      pairs: { blocks: () => blocks },
      identification: { galleries, probes: enrolment(probes) },
      old,
      candidates: query === gallery ? [] : [{ name: 'new', templates: templatesOf(query) }],
      resamples,
      maxZeroShare: 1,
    });
    return named(tests, query !== gallery);
  };
}
const templates: Protocol = {
  sizes: {
    genuine: probes.length,
    impostors: probes.length * (CLASSES - 1),
    probes: probes.length,
    entries: CLASSES / 2,
  },
  judge: ijb(null),
};

/** Pairs of neighbours: of one class, and of two in turns. */
const pack: Protocol = {
  sizes: { genuine: COUNT / 4, impostors: COUNT / 4, probes: COUNT / 2, entries: 1 },
  judge: (query, gallery) => {
    const rowsOf = (rows: Float32Array) => packEmbeddings({ original: rows, mirrored: rows, dim: DIM }).rows;
    const same = Array.from({ length: COUNT / 2 }, (_, p) => p % 2 === 0);
    const order = positions.map((i) => (i % 4 < 3 ? i : (i + EACH) % COUNT)); // the second of every other pair is of the next class
    const moved = (rows: Float32Array) => flat((i) => rows.subarray(order[i]! * DIM, (order[i]! + 1) * DIM));
    const { mean } = foldedAccuracy(pairDistances(rowsOf(moved(gallery)), rowsOf(moved(query)), DIM), same);
    return [{ name: 'pack.accuracy', level: 0, value: mean }];
  },
};

const PROTOCOLS = { 'labelled set': labelledSet, templates, pack };

for (const [protocolName, { judge, sizes }] of Object.entries(PROTOCOLS)) {
  test(`${protocolName}: constant, zero and random models are at chance in every metric, on themselves and on an old gallery`, () => {
    const old = models.good(new Rng('old'));
    for (const kind of ['constant', 'zero', 'random'] as const) {
      const rows = models[kind](new Rng(kind));
      for (const gallery of [rows, old]) {
        const metrics = judge(rows, gallery);
        assert.ok(metrics.length > 0);
        for (const metric of metrics) {
          const { up, chance, deviation } = ruleOf(metric);
          // of random embeddings estimates scatter: 5 deviations; of a dead one nothing does, so it gets no allowance on itself
          const allowance = kind === 'random' || gallery === old ? 5 * deviation(metric.level, sizes) : DOUBLE;
          const above = (up ? 1 : -1) * (metric.value - chance(metric.level, sizes));
          assert.ok(
            above <= allowance,
            `${kind} ${gallery === old ? 'on old' : ''} ${metric.name} ${metric.level}: ${metric.value}`,
          );
        }
      }
    }
  });

  test(`${protocolName}: zeros in the place of embeddings help no metric`, () => {
    const draws = 12;
    for (const kind of ['good', 'random'] as const) {
      const judged = Array.from({ length: draws }, (_, r) => {
        const rng = new Rng('zeros').split(kind, r);
        const rows = models[kind](rng.split('rows'));
        const dead = rows.slice();
        for (const i of rng.sample(positions, COUNT / 5)) dead.fill(0, i * DIM, (i + 1) * DIM);
        return { whole: judge(rows, rows), thinned: judge(dead, dead) };
      });
      for (const [k, metric] of judged[0]!.whole.entries()) {
        const sign = ruleOf(metric).up ? 1 : -1;
        const gains = judged.map(({ whole, thinned }) => sign * (thinned[k]!.value - whole[k]!.value));
        const mean = gains.reduce((sum, gain) => sum + gain, 0) / draws;
        const variance = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / (draws - 1);
        // an expectation, of so many draws of embeddings and of zeros: four standard errors of their mean
        assert.ok(
          mean <= 4 * Math.sqrt(variance / draws) + DOUBLE,
          `${kind} ${metric.name} ${metric.level}: + ${mean}`,
        );
      }
    }
  });
}

test('templates: the order of galleries, probes and pairs decides nothing where entries are equal', () => {
  const few = new Rng('few');
  const kinds = Array.from({ length: 5 }, () => row(few));
  const rows = flat((i) => kinds[(i * i + Math.floor(i / EACH)) % 5]!);
  const first = templates.judge(rows, rows);
  for (let r = 0; r < 3; r++)
    for (const [k, metric] of ijb(new Rng('order').split(r))(rows, rows).entries())
      if (!/interval\.low|auc$/.test(metric.name)) assert.deepEqual(metric, first[k]);
});

test('a search ties with equal entries wherever they lie, in single and in double precision', () => {
  const rng = new Rng('twins');
  for (const [dim, count, entries] of [
    [7, 100, 33],
    [64, 1, 5],
    [128, 100, 33],
    [500, 17, 1],
    [512, 300, 101],
  ] as const)
    for (const type of [Float32Array, Float64Array]) {
      const unit = Array.from({ length: dim }, () => rng.uniform() - 0.5);
      const length = Math.hypot(...unit);
      const rows = (n: number) => ({
        rows: new type(n * dim).map((_: number, k: number) => unit[k % dim]! / length),
        dim,
        positions: Int32Array.from({ length: n }, (_, i) => i),
      });
      const own = Int32Array.from({ length: count }, (_, i) => i % entries);
      const [found] = searchParts<Float32Array | Float64Array>(rows(count), rows(entries), [
        { start: 0, size: entries, enrolled: own },
      ]);
      assert.deepEqual([...new Set(found!.ahead)], [entries - 1]);
      assert.deepEqual([...new Set(found!.equal)], [entries - 1]);
    }
});

test('a dead model never meets the criterion, whatever the old one is', () => {
  for (const kind of ['constant', 'zero', 'random'] as const)
    for (const old of ['good', 'random', 'constant'] as const) {
      const { candidates } = evaluate({
        title: 'dead',
        dataset: { path: 'p', digest: 'd' },
        labels,
        families: new Int32Array(COUNT).fill(-1),
        old: { name: 'old', rows: models[old](new Rng('old')), dim: DIM },
        candidates: [{ name: 'dead', rows: models[kind](new Rng('dead')), dim: DIM }],
        impostors: 30000,
        maxZeroShare: 1,
      });
      for (const { metric, criterion } of candidates[0]!.comparisons)
        assert.notEqual(criterion, 'met', `${kind} on ${old}: ${metric}`);
      assert.equal(candidates[0]!.dropIn!.grade, 'no', `${kind} on ${old}`);
    }
});

test('no model meets the criterion by ties that a collapsed old model loses and its queries do not', () => {
  const rng = new Rng('collapsed');
  const jitter = (): Float32Array => Float32Array.from({ length: COUNT * DIM }, () => 1 + 1e-4 * (rng.uniform() - 0.5));
  const collapsed = jitter();
  for (const kind of ['good', 'random'] as const) {
    const { candidates, tests } = evaluate({
      title: 'collapsed',
      dataset: { path: 'p', digest: 'd' },
      labels,
      families: new Int32Array(COUNT).fill(-1),
      old: { name: 'old', rows: collapsed, dim: DIM },
      candidates: [{ name: 'new', rows: models[kind](new Rng('new')), dim: DIM }],
      impostors: 30000,
    });
    const rankOne = candidates[0]!.comparisons.find(({ metric }) => metric === 'rank-1')!;
    assert.ok(rankOne.newOld > rankOne.oldOld, `${kind}: its queries tie less often`);
    for (const { metric, criterion } of candidates[0]!.comparisons)
      assert.notEqual(criterion, 'met', `${kind}: ${metric}`);
    assert.equal(candidates[0]!.dropIn!.grade, 'no', kind);
    assert.ok(tests[0]!.identification!.tied! > 0);
  }
});
