import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import {
  estimate,
  impostorsKept,
  impostorWeights,
  pairCounts,
  probeReplicates,
  resampleIdentities,
  sortPairsByScore,
  tarReplicates,
  thresholdReplicates,
  tpirReplicates,
} from './bootstrap.ts';
import { hitRate, nonMatedScores, thresholdAtFpir, tpir } from './identification.ts';
import { tarAtMost } from './roc.ts';
import { search } from './search-tally.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

const sorted = (values: readonly number[]): Float32Array => Float32Array.from(values).sort();

/** TAR in a resample by writing every identity out as often as it was drawn. */
function tarWrittenOut(genuine: Weighted, impostor: Weighted, far: number, weights: Uint16Array): number {
  const out = ({ score, a, b }: Weighted, weight: (i: number) => number): number[] =>
    Array.from(score).flatMap((s, i) => new Array<number>(a && b ? weight(i) : 0).fill(s));
  const [g, i] = [
    out(genuine, (k) => weights[genuine.a[k]!]!),
    out(impostor, (k) => weights[impostor.a[k]!]! * weights[impostor.b[k]!]!),
  ];
  return tarAtMost({ genuine: sorted(g), impostor: sorted(i) }, far);
}
type Weighted = { readonly score: Float32Array; readonly a: Int32Array; readonly b: Int32Array };

test('bootstrap replicates equal metrics of identities written out', () => {
  const rng = new Rng(9);
  const [identities, pairs] = [8, 60];
  const column = (n: number): Int32Array => Int32Array.from({ length: n }, () => rng.integer(identities));
  const a = column(30);
  const genuine = { score: Float32Array.from(a, () => rng.integer(20) / 10), a, b: a };
  const impostor = {
    score: Float32Array.from({ length: pairs }, () => rng.integer(16) / 10),
    a: column(pairs),
    b: column(pairs),
  };
  const drawn = resampleIdentities(identities, 30, new Rng(1));
  const totals = impostorWeights(pairCounts(impostor, identities), drawn);
  const fars = [0.05, 0.3];
  const replicates = tarReplicates(sortPairsByScore(genuine), sortPairsByScore(impostor), fars, drawn, totals);
  for (const [r, weights] of drawn.entries())
    for (const [t, far] of fars.entries())
      near(replicates[t]![r]!, tarWrittenOut(genuine, impostor, far, weights), DOUBLE, `resample ${r}, FAR ${far}:`);

  const [probes, entries] = [40, 4];
  const identity = column(probes);
  const similarity = Float32Array.from({ length: probes * entries }, () => rng.integer(9));
  const enrolled = identity.map((s) => (s < entries ? s : -1));
  const found = search(similarity, enrolled, { size: entries });
  const written = (weights: Uint16Array) => {
    const rows = Array.from(identity.keys()).flatMap((p) => new Array<number>(weights[identity[p]!]!).fill(p));
    return search(
      Float32Array.from(rows.flatMap((p) => Array.from(similarity.subarray(p * entries, (p + 1) * entries)))),
      Int32Array.from(rows, (p) => enrolled[p]!),
      { size: entries },
    );
  };
  const ranks = probeReplicates([found], identity, (ahead) => (ahead < 2 ? 1 : 0), drawn);
  const [rates] = tpirReplicates([found], identity, [0.2], drawn);
  for (const [r, weights] of drawn.entries()) {
    const twin = written(weights);
    near(ranks[r]!, hitRate(twin, 2), DOUBLE, `resample ${r}, rank 2:`);
    near(rates![r]!, tpir(twin, thresholdAtFpir(nonMatedScores(twin), 0.2)), DOUBLE, `resample ${r}, TPIR:`);
  }
});

test('a resample without the identity that most high impostors share goes on through all of them', () => {
  const [identities, far] = [12, 0.05];
  const rng = new Rng('wolf');
  const a = Int32Array.from({ length: 300 }, (_, k) => k % identities);
  const genuine = { score: Float32Array.from(a, () => rng.uniform()), a, b: a };
  const others = Array.from({ length: 400 }, () => [1 + rng.integer(identities - 1), rng.integer(identities)] as const);
  // the identity 0 is in the 60 highest, three times as many as the FAR accepts
  const pairs = others.map(([s, t], k) =>
    k < 60 ? ([0, 1 + (k % (identities - 1))] as const) : ([s, t || s] as const),
  );
  const impostor = {
    score: Float32Array.from(pairs, (_, k) => (k < 60 ? 0.9 : 0.8) * rng.uniform() + (k < 60 ? 0.8 : 0)),
    a: Int32Array.from(pairs, ([s]) => s),
    b: Int32Array.from(pairs, ([, t]) => t),
  };
  const drawn = resampleIdentities(identities, 100, new Rng(2));
  assert.ok(drawn.some((weights) => weights[0] === 0));
  const totals = impostorWeights(pairCounts(impostor, identities), drawn);
  const [sortedGenuine, sortedImpostor] = [sortPairsByScore(genuine), sortPairsByScore(impostor)];
  const [alone] = tarReplicates(sortedGenuine, sortedImpostor, [far], drawn, totals);
  for (const [r, weights] of drawn.entries())
    near(alone![r]!, tarWrittenOut(genuine, impostor, far, weights), DOUBLE, `resample ${r}:`);

  // of a prefix the lowest is used
  const kept = impostorsKept(far, pairs.length);
  const prefix = { score: sortedImpostor.score.subarray(0, kept), a: sortedImpostor.a.subarray(0, kept), b: sortedImpostor.b.subarray(0, kept) }; // biome-ignore format: short
  const [thresholds] = thresholdReplicates(prefix, [far], drawn, totals, pairs.length);
  const [whole] = thresholdReplicates(sortedImpostor, [far], drawn, totals);
  assert.deepEqual(thresholds, whole!.map((threshold) => Math.max(threshold, prefix.score[kept - 1]!))); // biome-ignore format: short
  assert.notDeepEqual(thresholds, whole);
});

test('an interval holds the middle 95 %, and covers a known mean as often as it says', () => {
  const { low, high } = estimate(
    0,
    Float64Array.from({ length: 1000 }, (_, i) => i),
  );
  assert.deepEqual([low, high], [25, 975]);
  let covered = 0;
  for (let trial = 0; trial < 200; trial++) {
    const rng = new Rng('coverage').split(trial);
    const values = Array.from({ length: 60 }, () => rng.uniform());
    const replicates = resampleIdentities(60, 200, rng).map(
      (weights) => values.reduce((sum, v, i) => sum + v * weights[i]!, 0) / 60,
    );
    const e = estimate(0, Float64Array.from(replicates));
    if (e.low <= 0.5 && 0.5 <= e.high) covered++;
  }
  assert.ok(covered >= 180 && covered <= 198, `${covered} of 200`);
});
