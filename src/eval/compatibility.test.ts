import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, compatibilityScores, updateGain } from './compatibility.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

test('compatibility: the criterion needs an interval that excludes 0; gain, tax and scores follow 7.1', () => {
  const measured = (value: number, spread: number) => ({
    value,
    replicates: Float64Array.from({ length: 101 }, (_, i) => value + (spread * (i - 50)) / 50),
  });
  const oldOld = measured(0.6, 0);
  const judge = (value: number, spread: number, chance = 0) =>
    compare(
      'm',
      { oldOld, newOld: measured(value, spread), newNew: measured(0.85, 0), oracle: measured(0.9, 0) },
      chance,
    );
  assert.equal(judge(0.7, 0.05).criterion, 'met');
  assert.equal(judge(0.62, 0.05).criterion, 'undecided');
  assert.equal(judge(0.5, 0.05).criterion, 'missed');
  assert.equal(judge(0.7, 0.05, 0.68).criterion, 'undecided', 'the interval of new → old holds chance');
  near(judge(0.7, 0).updateGain!.value, 1 / 3, DOUBLE);
  near(judge(0.7, 0).tax!.value, 0.05, DOUBLE);
  const noCeiling = compare('m', { oldOld, newOld: oldOld, newNew: oldOld, oracle: measured(0.61, 0.05) }, 0);
  assert.equal(noCeiling.updateGain, null, 'an oracle that may be no better leaves nothing to have a share of');
  assert.equal(compare('m', { oldOld, newOld: oldOld, newNew: oldOld, oracle: null }, 0).updateGain, null);
  const parity = compatibilityScores([{ oldOld: 0.5, newOld: 0.5, newNew: 0.9, oracle: 0.9 }]);
  assert.deepEqual([parity.up, parity.comp, parity.one], [50, 50, 50]);
  const logistic = (x: number): number => 1 / (1 + Math.exp(-x));
  const better = compatibilityScores([{ oldOld: 0.5, newOld: 0.7, newNew: 0.88, oracle: 0.9 }]);
  const [u, c] = [logistic(-0.02 / 0.9), logistic(updateGain({ oldOld: 0.5, newOld: 0.7, oracle: 0.9 }))];
  near(better.comp, 100 * c, 1e-9);
  near(better.one, (200 * u * c) / (u + c), 1e-9);
});
