import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { auc, equalErrorRate, roc, type Scores, tarAtMost, tarNearest, thresholdAtMost } from './roc.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

const sorted = (values: readonly number[]): Float32Array => Float32Array.from(values).sort();

/** Scores with many ties. */
function tied(seed: number): Scores {
  const rng = new Rng(seed);
  return {
    genuine: sorted(Array.from({ length: 40 }, () => rng.integer(12) + 3)),
    impostor: sorted(Array.from({ length: 90 }, () => rng.integer(12))),
  };
}

test('verification has the numbers of 8.14', () => {
  const scores = {
    genuine: sorted([0.9, 0.8, 0.55, 0.3]),
    impostor: sorted([0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.1, 0.05]),
  };
  const curve = roc(scores);
  near(auc(curve), 0.8375, DOUBLE);
  for (const [far, tar] of [
    [1e-6, 0.5],
    [1e-2, 0.5],
    [0.1, 0.75],
    [0.2, 0.75],
  ] as const)
    assert.equal(tarNearest(curve, far), tar, `${far}`);
});

test('ROC, AUC, EER and both rules equal their slow twins, ties included', () => {
  for (let seed = 0; seed < 10; seed++) {
    const scores = tied(seed);
    const { genuine, impostor } = scores;
    const share = (list: ArrayLike<number>, threshold: number): number =>
      Array.from(list).filter((s) => s >= threshold).length / list.length;
    const all = new Set([genuine, impostor].flatMap((list) => Array.from(list)));
    const thresholds = [Number.POSITIVE_INFINITY, ...[...all].sort((a, b) => b - a)];
    const curve = roc(scores);
    for (const [i, threshold] of curve.threshold.entries()) {
      assert.equal(curve.far[i], share(impostor, threshold));
      assert.equal(curve.tar[i], share(genuine, threshold));
    }
    let wins = 0;
    for (const g of Array.from(genuine)) for (const i of Array.from(impostor)) wins += g > i ? 1 : g === i ? 0.5 : 0;
    near(auc(curve), wins / (genuine.length * impostor.length), DOUBLE);
    for (const far of [1e-3, 0.02, 0.1, 0.35, 1]) {
      const allowed = thresholds.filter((t) => share(impostor, t) <= far);
      assert.equal(
        tarAtMost(scores, far),
        Math.max(...allowed.map((t) => share(genuine, t))),
        `seed ${seed}, FAR ${far}`,
      );
      const above = (list: ArrayLike<number>): number => {
        const threshold = thresholdAtMost(impostor, far);
        return Array.from(list).filter((s) => s > threshold).length / list.length;
      };
      assert.equal(above(genuine), tarAtMost(scores, far));
      assert.ok(above(impostor) <= far);
    }
    const e = equalErrorRate(curve);
    const before = curve.far.findLastIndex((far, i) => far <= 1 - curve.tar[i]!);
    assert.ok(e >= curve.far[before]! && e <= (curve.far[before + 1] ?? 1), `${e}`);
  }
  const perfect = roc({ genuine: sorted([2, 3]), impostor: sorted([0, 1]) });
  assert.deepEqual([auc(perfect), equalErrorRate(perfect)], [1, 0]);
});
