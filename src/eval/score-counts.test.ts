// Error rates from counts instead of sorted scores: equal to the curve of all scores, and to the definitions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { auc, equalErrorRate, FAR_TARGETS, roc, type Scores, tarAtMost, tarNearest } from './roc.ts';
import { acceptedAtMost, rocOfCounts, ScoreCounts, thresholdOfCounts } from './score-counts.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;
const targets = [...FAR_TARGETS, 0, 0.015, 0.04, 0.2, 0.5, 1];

const sorted = (count: number, draw: () => number): Float64Array => Float64Array.from({ length: count }, draw).sort();

function countScores({ genuine, impostor }: Scores): ScoreCounts {
  const counts = new ScoreCounts(Float64Array.from(genuine));
  counts.add(Float64Array.from(impostor), new Uint8Array(impostor.length));
  return counts;
}

/** Impostors all differ; some are equal to genuine scores if `ties`. */
function drawScores(seed: number, ties: boolean): Scores {
  const rng = new Rng(seed);
  const impostor = sorted(150, () => 1.4 * rng.uniform() - 1.1);
  const step = (): number => impostor[rng.integer(impostor.length)]!;
  return { genuine: sorted(30, () => (ties && rng.uniform() < 0.5 ? step() : 1.6 * rng.uniform() - 0.7)), impostor };
}

test('counts give the curve of the sorted scores: every point, area, both rules, equal error rate', () => {
  for (let seed = 0; seed < 30; seed++) {
    const scores = drawScores(seed, seed % 2 === 1);
    const [counts, whole] = [countScores(scores), roc(scores)];
    const curve = rocOfCounts(counts);
    assert.deepEqual(curve.far, whole.far, `seed ${seed}`);
    assert.deepEqual(curve.tar, whole.tar, `seed ${seed}`);
    assert.ok(Math.abs(auc(curve) - auc(whole)) < DOUBLE);
    assert.equal(equalErrorRate(curve), equalErrorRate(whole));
    for (const target of targets) {
      assert.equal(tarNearest(curve, target), tarNearest(whole, target), `seed ${seed}, FAR ${target}`);
      assert.equal(acceptedAtMost(counts, target) / 30, tarAtMost(scores, target), `seed ${seed}, FAR ${target}`);
      const threshold = thresholdOfCounts(counts, target);
      const above = (all: ArrayLike<number>): number =>
        Array.from(all).filter((score) => score > threshold).length / all.length;
      assert.equal(above(scores.genuine), tarAtMost(scores, target), `seed ${seed}, FAR ${target}`);
      assert.ok(above(scores.impostor) <= target, `seed ${seed}, FAR ${target}`);
    }
  }
});

test('equal impostors change neither the area nor what is accepted at most', () => {
  for (let seed = 0; seed < 20; seed++) {
    const rng = new Rng('ties').split(seed);
    const scores = { genuine: sorted(25, () => rng.integer(9) + 2), impostor: sorted(60, () => rng.integer(9)) };
    const counts = countScores(scores);
    assert.ok(Math.abs(auc(rocOfCounts(counts)) - auc(roc(scores))) < DOUBLE);
    for (const target of targets) assert.equal(acceptedAtMost(counts, target) / 25, tarAtMost(scores, target));
  }
});

test('scores may come in blocks, genuine ones among them are passed over', () => {
  const { genuine, impostor } = drawScores(5, true);
  const blocks = new ScoreCounts(Float64Array.from(genuine));
  for (let from = 0; from < impostor.length; from += 40) {
    const part = Array.from(impostor).slice(from, from + 40);
    blocks.add(Float64Array.from([...part, 0.5]), Uint8Array.from([...part.map(() => 0), 1]));
  }
  assert.deepEqual(blocks, countScores({ genuine, impostor }));
  assert.equal(blocks.impostors, impostor.length);
  assert.throws(() => new ScoreCounts(new Float64Array(0)), /no genuine pair/);
});

test('a perfect model accepts all at any rate, a reversed one nothing', () => {
  const perfect = countScores({ genuine: [0.8, 0.9], impostor: [-0.2, 0.1, 0.3] });
  assert.deepEqual([acceptedAtMost(perfect, 0), auc(rocOfCounts(perfect))], [2, 1]);
  const reversed = countScores({ genuine: [-0.8, -0.9], impostor: [-0.2, 0.1, 0.3] });
  assert.deepEqual([acceptedAtMost(reversed, 0.9), auc(rocOfCounts(reversed))], [0, 0]);
});
