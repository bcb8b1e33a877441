import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { unitEmbeddings } from '../eval/scores.ts';
import { summarizeCurve } from './curve-summary.ts';
import { moveSteps, ranksOf, sharesOf } from './move-steps.ts';
import {
  byDisagreement,
  byNearnessToMean,
  byPredictedDisagreement,
  disagreements,
  type OrderInputs,
  randomOrder,
  uncertainFirst,
} from './orders.ts';
import { directScales, leastScore, rising } from './score-scales.ts';
import { simulateBackfill } from './simulate.ts';

const [CLASSES, IMAGES, DIM] = [30, 8, 6];
const COUNT = CLASSES * IMAGES;
const labels = Int32Array.from({ length: COUNT }, (_, i) => i % CLASSES);

/** Old rows, and new ones that differ from them the more, the more a row points along the first axis. */
function inputs(): OrderInputs {
  const draw = new Rng('orders');
  const old = unitEmbeddings(
    Float32Array.from({ length: COUNT * DIM }, () => draw.uniform() - 0.5),
    DIM,
    'old',
  );
  const moved = old.rows.map((value, i) => {
    const along = 1 + old.rows[i - (i % DIM)]!;
    return value + 0.5 * along * (draw.uniform() - 0.5);
  });
  const oldLength = Float64Array.from({ length: COUNT }, () => 5 + draw.uniform());
  return { old, oldLength, labels, meeting: { old, new: unitEmbeddings(moved, DIM, 'new') } };
}

const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((sum, x) => sum + x, 0) / values.length;

test('every order has every row once', () => {
  const of = inputs();
  for (const order of [
    randomOrder(COUNT, new Rng(1)),
    uncertainFirst(of)!,
    byDisagreement(of),
    byPredictedDisagreement(of, new Rng(1))!,
    byNearnessToMean(of, 'first'),
    byNearnessToMean(of, 'last'),
  ])
    assert.deepEqual(
      [...order].sort((a, b) => a - b),
      Array.from(labels.keys()),
    );
});

test('orders put first what they say', () => {
  const of = inputs();
  const falls = (values: readonly number[]): boolean => values.every((x, i) => i === 0 || x <= values[i - 1]!);
  const disagreement = disagreements(of);
  assert.ok(falls(Array.from(byDisagreement(of), (row) => disagreement[row]!)));
  assert.ok(falls(Array.from(uncertainFirst(of)!, (row) => -of.oldLength[row]!)));
  const sameLength = of.oldLength.map(() => 1);
  assert.equal(uncertainFirst({ ...of, oldLength: sameLength }), null);
  assert.equal(uncertainFirst({ ...of, oldLength: sameLength.with(3, 0) }), null, 'a row of zeros is no length');
  assert.equal(uncertainFirst({ ...of, oldLength: of.oldLength.with(3, 0) })![0], 3);
  const nearness = (row: number): number => {
    const means = Array.from({ length: DIM }, (_, d) =>
      mean(
        Array.from(labels.keys())
          .filter((i) => labels[i] === labels[row])
          .map((i) => of.old.rows[i * DIM + d]!),
      ),
    );
    const product = means.reduce((sum, x, d) => sum + x * of.old.rows[row * DIM + d]!, 0);
    return Math.fround(product / Math.hypot(...means));
  };
  const [first, last] = (['first', 'last'] as const).map((which) => Array.from(byNearnessToMean(of, which), nearness));
  const ROUNDING = 1e-5; // sums of classes are single precision
  assert.ok(first!.every((x, i) => i === 0 || x <= first![i - 1]! + ROUNDING));
  assert.ok(last!.every((x, i) => i === 0 || x >= last![i - 1]! - ROUNDING));
});

test('disagreement is predicted from old embeddings of other identities where they tell it', () => {
  const of = inputs();
  const disagreement = disagreements(of);
  const order = byPredictedDisagreement(of, new Rng(1))!;
  const firstHalf = mean(order.slice(0, COUNT / 2).map((row) => disagreement[row]! * 1e6));
  const secondHalf = mean(order.slice(COUNT / 2).map((row) => disagreement[row]! * 1e6));
  assert.ok(firstHalf > 1.5 * secondHalf, `${firstHalf} against ${secondHalf}`);
});

test('disagreement is predicted among three identities or more; with fewer, the order is skipped with the reason', () => {
  const among = (identities: number): OrderInputs => ({
    ...inputs(),
    labels: labels.map((label) => label % identities),
  });
  assert.equal(byPredictedDisagreement(among(3), new Rng(1))!.length, COUNT);
  assert.equal(byPredictedDisagreement(among(2), new Rng(1)), null);
  const { meeting, ...two } = among(2);
  const { skipped, orders } = simulateBackfill({
    ...{ ...two, meeting: { queries: meeting.new, gallery: meeting.old }, new: meeting.new },
    ...{ families: new Int32Array(COUNT).fill(-1), orders: ['predicted-disagreement'], merges: ['direct'] },
    ...{ draws: 1, steps: 2, resamples: 5, seed: 0, memoryBytes: 1e9 },
  });
  assert.deepEqual(skipped, [{ what: 'predicted-disagreement', why: 'a prediction takes at least 3 identities' }]);
  assert.deepEqual(orders, []);
});

test('steps move the first round(share · n) of an order, for all members and for some', () => {
  const order = Int32Array.of(4, 2, 0, 5, 1, 3, 6);
  const members = Int32Array.of(1, 2, 4, 6);
  assert.deepEqual(ranksOf(members, order, 7), Int32Array.of(2, 1, 0, 3));
  for (const [steps, n] of [
    [1, 5],
    [3, 7],
    [10, 4],
    [20, 1000],
  ] as const) {
    // biome-ignore format: short
    const shares = sharesOf(steps);
    const found = moveSteps(
      Int32Array.from({ length: n }, (_, i) => i),
      shares,
    );
    for (const [s, share] of shares.entries())
      assert.equal(found.filter((step) => step <= s).length, Math.round(share * n));
    assert.ok(found.every((step, i) => step >= 1 && step <= steps && (i === 0 || step >= found[i - 1]!)));
  }
});

test('the summary of a curve has its area, its worst point, and the shares at which new → new is reached', () => {
  const shares = [0, 0.25, 0.5, 0.75, 1];
  const summary = summarizeCurve([[0.5, 0.4, 0.6, 0.8, 0.8]], shares, { oldOld: 0.45, newNew: 0.8 });
  const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-12, `${a}, ${b}`);
  close(summary.area, 0.25 * (0.25 + 0.4 + 0.6 + 0.8 + 0.4));
  assert.deepEqual(summary.worst, { share: 0.25, value: 0.4 });
  assert.equal(summary.belowOld, true);
  close(summary.reaches.most!, 0.5 + 0.25 * (0.16 / 0.2));
  close(summary.reaches.all!, 0.75);
  assert.equal(summary.low, undefined);
  const draws = summarizeCurve([[0.1, 0.3], [0.1, 0.5]], [0, 1], { oldOld: 0, newNew: 0.6 }); // biome-ignore format: short
  assert.deepEqual([draws.value, draws.low, draws.high], [[0.1, 0.4], [0.1, 0.3], [0.1, 0.5]]); // biome-ignore format: short
  assert.deepEqual(draws.reaches, { most: null, all: null });
  assert.equal(draws.belowOld, false);
});

test('the least score of a value is where the map reaches it', () => {
  const step = rising((score) => Math.floor(4 * score));
  for (const score of [-1, -0.3, 0, 0.25, 0.6, 1].map(Math.fround)) {
    const least = leastScore(step, step(score));
    assert.ok(step(least) >= step(score) && least <= score && least > score - 1e-6, `${score}: ${least}`);
  }
  assert.equal(leastScore(step, 100), Number.POSITIVE_INFINITY);
  assert.ok(leastScore(step, -100) < -1 && leastScore(step, -100) > Number.NEGATIVE_INFINITY);
  assert.equal(leastScore(directScales.old, 0.3), 0.3);
});
