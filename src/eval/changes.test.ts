// What a report draws: bands, how scores lie, what an upgrade changes, and the map; each against a slow twin.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { estimate, resampleIdentities } from './bootstrap.ts';
import { firstComponents } from './embedding-map.ts';
import { evaluate } from './evaluate.ts';
import { drawProtocol, evaluationRng } from './labelled-set-protocol.ts';
import { scoreHistogram } from './score-histogram.ts';
import { cosine, unitEmbeddings } from './scores.ts';

const [CLASSES, EACH, DIM, RESAMPLES] = [30, 6, 12, 40];
const N = CLASSES * EACH;

function embeddings(name: string, noise: number) {
  const direction = new Rng('centres');
  const centres = Array.from({ length: CLASSES * DIM }, () => direction.uniform() - 0.5);
  const own = new Rng(name);
  const at = (i: number): number => centres[Math.floor(i / (EACH * DIM)) * DIM + (i % DIM)]!;
  return {
    name,
    dim: DIM,
    rows: Float32Array.from({ length: N * DIM }, (_, i) => at(i) + noise * (own.uniform() - 0.5)),
  };
}

const labels = Int32Array.from({ length: N }, (_, i) => Math.floor(i / EACH));
const families = Int32Array.from({ length: N }, (_, i) => i % EACH);
const world = { title: '', dataset: { path: 'p', digest: 'd' }, labels, families, resamples: RESAMPLES, far: 1e-2 };
const [old, fresh] = [embeddings('old', 1.5), embeddings('new', 1.2)];
const result = evaluate({ ...world, old, candidates: [fresh] });
const changes = result.candidates[0]!.changes!;
const searches = changes.searches!;
const pairs = { ...changes.pairs!, impostor: changes.pairs!.impostor! };
const crossed = result.tests.find(({ query, gallery }) => query === 'new' && gallery === 'old')!;

const protocol = drawProtocol({ labels, families }, { seed: 0 });
const [oldUnit, newUnit] = [old, fresh].map(({ rows, name }) => unitEmbeddings(rows, DIM, name)) as [
  ReturnType<typeof unitEmbeddings>,
  ReturnType<typeof unitEmbeddings>,
];
const score = (query: typeof oldUnit, i: number, j: number): number => cosine(query.rows, i, oldUnit.rows, j, DIM);

/** The share that an identity's items have, in each resample: the interval by the definition. */
function resampled(chosen: readonly number[], all: readonly number[]) {
  const drawn = resampleIdentities(CLASSES, RESAMPLES, evaluationRng(0).split('bootstrap'));
  const weigh = (items: readonly number[], weights: Uint16Array): number =>
    items.reduce((sum, label) => sum + weights[label]!, 0);
  return estimate(
    chosen.length / all.length,
    Float64Array.from(drawn, (weights) => weigh(chosen, weights) / weigh(all, weights)),
  );
}

test('repaired and broken searches are those of a search by hand, and their difference is that of rank-1', () => {
  const found = protocol.split.galleries.flatMap(({ entries, enrolled }) =>
    [...protocol.split.probes].flatMap((query, probe) => {
      if (enrolled[probe]! < 0) return [];
      const ranked = (by: typeof oldUnit) => [...entries].sort((a, b) => score(by, query, b) - score(by, query, a));
      return { query, right: entries[enrolled[probe]!]!, byOld: ranked(oldUnit), byNew: ranked(newUnit) };
    }),
  );
  const repaired = found.filter(({ right, byOld, byNew }) => byOld[0] !== right && byNew[0] === right);
  const broken = found.filter(({ right, byOld, byNew }) => byOld[0] === right && byNew[0] !== right);
  assert.ok(repaired.length > 5 && broken.length > 2, `${repaired.length}, ${broken.length}`);
  const labelsOf = (of: typeof found): number[] => of.map(({ query }) => labels[query]!);
  assert.equal(searches.searches, found.length);
  for (const [change, twin] of [
    [searches.repaired, repaired],
    [searches.broken, broken],
  ] as const) {
    assert.equal(change.count, twin.length);
    assert.deepEqual(change.share, resampled(labelsOf(twin), labelsOf(found)));
  }
  const rank1 = result.candidates[0]!.comparisons.find(({ metric }) => metric === 'rank-1')!;
  const difference = searches.repaired.share.value - searches.broken.share.value;
  assert.ok(Math.abs(difference - rank1.difference.value) < 1e-12);
  for (const [examples, twin, wrongBy] of [
    [searches.examples.repaired, repaired, 'byOld'],
    [searches.examples.broken, broken, 'byNew'],
  ] as const) {
    assert.equal(new Set(examples.map(({ query }) => labels[query])).size, examples.length, 'one of each class');
    for (const { query, right, wrong, oldRank, newRank } of examples) {
      const one = twin.find((other) => other.query === query)!;
      assert.deepEqual([right, wrong], [one.right, one[wrongBy][0]]);
      assert.deepEqual([oldRank, newRank], [one.byOld.indexOf(right) + 1, one.byNew.indexOf(right) + 1]);
    }
  }
  for (const { label, ...counts } of searches.worstClasses) {
    const count = (of: typeof found): number => labelsOf(of).filter((other) => other === label).length;
    assert.deepEqual(counts, { searches: count(found), repaired: count(repaired), broken: count(broken) });
    assert.ok(counts.broken > counts.repaired);
  }
});

test('pairs are decided at each model’s own threshold, and the nearest to it are the examples', () => {
  assert.equal(pairs.newThreshold, crossed.operatingPoint!.keepingFar.threshold.value);
  for (const kind of ['genuine', 'impostor'] as const) {
    const all = [...protocol.pairs[kind].query].map((query, k) => {
      const gallery = protocol.pairs[kind].gallery[k]!;
      const [oldScore, newScore] = [oldUnit, newUnit].map((by) => Math.fround(score(by, query, gallery))) as [
        number,
        number,
      ];
      return {
        query,
        gallery,
        oldScore,
        newScore,
        was: oldScore > pairs.oldThreshold,
        is: newScore > pairs.newThreshold,
      };
    });
    const accepted = all.filter(({ was, is }) => is && !was);
    const rejected = all.filter(({ was, is }) => was && !is);
    const [repaired, broken] = kind === 'genuine' ? [accepted, rejected] : [rejected, accepted];
    assert.deepEqual(
      [pairs[kind].pairs, pairs[kind].repaired.count, pairs[kind].broken.count],
      [all.length, repaired.length, broken.length],
    );
    if (kind === 'genuine') {
      const labelsOf = (of: typeof all): number[] => of.map(({ query }) => labels[query]!);
      assert.deepEqual(pairs.genuine.broken.share, resampled(labelsOf(broken), labelsOf(all)));
      assert.ok(repaired.length > 0 && broken.length > 0);
    }
    const distance = ({ newScore }: { readonly newScore: number }): number => Math.abs(newScore - pairs.newThreshold);
    for (const [examples, twin] of [
      [pairs[kind].examples.repaired, repaired],
      [pairs[kind].examples.broken, broken],
    ] as const)
      assert.deepEqual(
        examples,
        twin
          .sort((a, b) => distance(a) - distance(b))
          .slice(0, 6)
          .map(({ was: _, is: __, ...pair }) => pair),
      );
  }
});

test('bands go through the intervals of the tables', () => {
  const { verification, identification } = crossed;
  for (const { far, interval } of verification!.tar) {
    const at = verification!.band!.x.findIndex((x) => Math.abs(x / far - 1) < 1e-9);
    if (interval) assert.deepEqual([verification!.band!.low[at], verification!.band!.high[at]], [interval.low, interval.high]); // biome-ignore format: short
  }
  for (const { fpir, interval } of identification!.tpir) {
    const at = identification!.band!.x.findIndex((x) => Math.abs(x / fpir - 1) < 1e-9);
    if (interval) assert.deepEqual([identification!.band!.low[at], identification!.band!.high[at]], [interval.low, interval.high]); // biome-ignore format: short
  }
  const { interval } = identification!.ranks[0]!;
  assert.deepEqual(
    [identification!.cmcBand!.low[0], identification!.cmcBand!.high[0]],
    [interval!.low, interval!.high],
  );
});

test('a histogram counts each score once, from the lowest step with one to the highest', () => {
  const { scores } = crossed;
  const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0);
  assert.deepEqual(
    [sum(scores!.genuine), sum(scores!.impostor)],
    [result.protocol.genuinePairs, result.protocol.impostorPairs],
  );
  const small = scoreHistogram(Float32Array.of(1, -0.5, Number.NEGATIVE_INFINITY), Float32Array.of(-0.5, -0.495, 0.25));
  assert.equal(small.from, -0.5);
  assert.deepEqual([small.genuine[0], small.genuine.at(-1), sum(small.genuine)], [1, 1, 2]);
  assert.deepEqual([small.impostor[0], small.impostor[75], small.impostor.length], [2, 1, 150]);
  assert.deepEqual(scoreHistogram(new Float32Array(0), new Float32Array(0)).genuine, [0]);
});

test('the map keeps distances of points that lie in a plane, and its images are positions in the dataset', () => {
  const rng = new Rng('plane');
  const points = Array.from({ length: 20 }, () => [rng.uniform(), rng.uniform()] as const);
  // two orthonormal directions of five dimensions
  const [a, b] = [[0.6, 0, 0.8, 0, 0], [0, 0.8, 0, 0.6, 0]]; // biome-ignore format: short
  const rows = Float32Array.from(points.flatMap(([x, y]) => a!.map((of, d) => 3 + x * of + y * b![d]!)));
  const { points: plane, explained } = firstComponents([rows.subarray(0, 50), rows.subarray(50)], 5);
  assert.ok(Math.abs(explained - 1) < 1e-6);
  const distance = (of: readonly (readonly [number, number])[], i: number, j: number): number =>
    Math.hypot(of[i]![0] - of[j]![0], of[i]![1] - of[j]![1]);
  for (let i = 1; i < 20; i++) assert.ok(Math.abs(distance(plane, 0, i) - distance(points, 0, i)) < 2e-3);
  const shifted = evaluate({
    ...world,
    old,
    candidates: [fresh],
    positions: Int32Array.from({ length: N }, (_, i) => i + 7),
  });
  const moved = shifted.tests.find(({ map }) => map)!.map!;
  assert.equal(moved.classes.length, 8);
  for (const [c, { label, images, gallery, query }] of crossed.map!.classes.entries()) {
    assert.ok(images.every((i) => labels[i] === label));
    assert.deepEqual(moved.classes[c]!.images, images.map((i) => i + 7)); // biome-ignore format: short
    assert.deepEqual([gallery.length, query.length], [images.length, images.length]);
  }
  assert.deepEqual(
    shifted.candidates[0]!.changes!.searches!.examples.broken.map(({ query }) => query - 7),
    searches.examples.broken.map(({ query }) => query),
  );
});
