import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { cumulativeMatchCurve, hitRate, nonMatedScores, thresholdAtFpir, tpir } from './identification.ts';
import { search } from './search-tally.ts';

/** Golden numbers are printed with eight digits of float32 scores. */
const PRINTED_F32 = 2e-7;
/** Sums in another order. */
const DOUBLE = 1e-12;

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

test('a CMC counts the enrolled of all searches, each rank as its slow twin does', () => {
  const rng = new Rng('cmc');
  const entries = 12;
  const [a, b] = [40, 25].map((probes) => ({
    // few distinct values, so that there are ties
    similarity: Float32Array.from({ length: probes * entries }, () => rng.integer(9) / 9),
    enrolled: Int32Array.from({ length: probes }, () => rng.integer(entries + 4) - 4).map((e) => Math.max(e, -1)),
  })) as [Searched, Searched];
  const { rank, rate } = cumulativeMatchCurve(
    [a, b].map(({ similarity, enrolled }) => search(similarity, enrolled, { size: entries })),
    entries,
  );
  let [hits, mated] = [new Array<number>(entries).fill(0), 0];
  for (const { similarity, enrolled } of [a, b])
    for (const [probe, entry] of enrolled.entries()) {
      if (entry < 0) continue;
      mated++;
      const row = similarity.subarray(probe * entries, (probe + 1) * entries);
      hits = hits.map((n, i) => n + (row.filter((value) => value >= row[entry]!).length <= i + 1 ? 1 : 0));
    }
  assert.deepEqual(
    rank,
    Array.from({ length: entries }, (_, i) => i + 1),
  );
  assert.deepEqual(
    rate,
    hits.map((n) => n / mated),
  );
  assert.equal(rate.at(-1), 1);
});
type Searched = { readonly similarity: Float32Array; readonly enrolled: Int32Array };

test('identification has the numbers of 8.14', () => {
  const fill = (rows: number, a: number, b: number): number[][] =>
    Array.from({ length: rows }, (_, r) => Array.from({ length: 5 }, (_, c) => Math.sin(a + b * (r * 5 + c))));
  const unit = (x: readonly number[]): number[] => x.map((v) => v / Math.hypot(...x));
  const raw = fill(4, 0.2, 0.7);
  raw[2] = fill(1, 2.2, 1.9)[0]!;
  raw[3] = fill(1, 0.4, 2.6)[0]!;
  const gallery = raw.map(unit);
  const noise = fill(5, 0.9, 1.3);
  const mated = [0, 1, 2, 3, 0].map((g, i) =>
    unit(gallery[g]!.map((v, d) => v + [0.1, 0.3, 0.6, 0.9, 1.4][i]! * noise[i]![d]!)),
  );
  const probes = [...mated, ...fill(5, 1.9, 0.83).map(unit)];
  const similarity = Float32Array.from(
    probes.flatMap((q) => gallery.map((g) => q.reduce((sum, v, d) => sum + v * g[d]!, 0))),
  );
  const found = search(similarity, Int32Array.of(0, 1, 2, 3, 0, -1, -1, -1, -1, -1), { size: 4 });
  assert.deepEqual(
    [1, 5, 10].map((k) => hitRate(found, k) * 5),
    [4, 5, 5],
  );
  const thresholds = [0.94417272, 0.94417272, 0.94417272, 0.90503524, 0.83516522, 0.24483181];
  for (const [i, fpir] of [0.01, 0.1, 0.2, 0.4, 0.6, 1].entries()) {
    const threshold = thresholdAtFpir(nonMatedScores(found), fpir);
    near(threshold, thresholds[i]!, PRINTED_F32, `FPIR ${fpir}:`);
    near(tpir(found, threshold), [0.2, 0.2, 0.2, 0.2, 0.4, 0.8][i]!, DOUBLE, `FPIR ${fpir}:`);
  }
});
