import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import {
  add,
  backward,
  keep,
  liveTensors,
  mul,
  ones,
  requireGrad,
  scope,
  sum,
  type Tensor,
  tensor,
  toNumbers,
  zeros,
} from '../torch/index.ts';
import { clearGradients, LossScaler } from './index.ts';

test('the scale is 65536, doubles after 100 clean steps, halves at an overflow (8.5)', () => {
  const scaler = new LossScaler();
  const after = (steps: number, clean = true): number => {
    for (let i = 0; i < steps; i++) scaler.update(clean);
    return scaler.scale;
  };
  assert.equal(after(0), 65536);
  assert.equal(after(99), 65536);
  assert.equal(after(1), 131072);
  assert.equal(after(99), 131072, 'the count starts anew');
  assert.equal(after(1, false), 65536);
  assert.equal(after(99), 65536, 'an overflow starts the count anew too');
  assert.equal(after(1), 131072);
  assert.equal(after(3, false), 16384);
  scaler.dispose();
});

test('a process without rows of the head unscales what it has', () => {
  scope(() => {
    const scaler = new LossScaler({ scale: 4 });
    const [full, none] = [requireGrad(ones([2])), requireGrad(zeros([0, 8]))];
    backward(scaler.scaled(add(sum(full), sum(none))));
    assert.deepEqual(none.grad!.shape, [0, 8]);
    assert.equal(scaler.unscale([full, none]), true);
    assert.deepEqual(toNumbers(full.grad!), [1, 1]);
    assert.equal(scaler.unscale([none]), true);
    clearGradients([full, none]);
    scaler.dispose();
  });
});

/** The scale after a history of clean steps and overflows, from whole runs of clean steps instead of a count. */
function scaleSlowly(history: readonly boolean[], growEvery: number): number {
  const runs = history
    .map((clean) => (clean ? 'c' : 'x'))
    .join('')
    .split('x');
  const grown = runs.reduce((sum, run) => sum + Math.floor(run.length / growEvery), 0);
  return 65536 * 2 ** grown * 0.5 ** (runs.length - 1);
}

test('any history gives the scale of its slow twin, and the state continues it', () => {
  const rng = new Rng('history');
  const history = Array.from({ length: 400 }, () => rng.uniform() < 0.9);
  const whole = new LossScaler({ growEvery: 5 });
  for (const [i, clean] of history.entries()) {
    whole.update(clean);
    assert.equal(whole.scale, scaleSlowly(history.slice(0, i + 1), 5));
  }
  const names = [...whole.state()].map(([name]) => name);
  assert.deepEqual(names, ['scale', 'clean_steps']);
  whole.dispose();
});

test('scaled gradients come back whole; one that is not finite is noticed, however it got there', () => {
  const leaf = (v: number): Tensor => keep(requireGrad(tensor([v, v])));
  const [a, b] = [leaf(1), leaf(2)];
  const scaler = new LossScaler();
  const before = liveTensors();
  /** Whether the gradients of factor · Σ ab are finite, and what they are. */
  const unscaled = (factor: number) =>
    scope(() => {
      clearGradients([a, b]);
      backward(scaler.scaled(mul(sum(mul(a, b)), factor)));
      return { clean: scaler.unscale([a, b]), gradients: [a, b].map((p) => toNumbers(p.grad!)) };
    });
  const there = [
    [2, 2],
    [1, 1],
  ];
  assert.deepEqual(unscaled(1), { clean: true, gradients: there });
  assert.ok(unscaled(1e30).clean, 'large is finite: nothing is squared');
  assert.equal(unscaled(1e36).clean, false, 'the scale itself led beyond float32');
  assert.equal(unscaled(Number.NaN).clean, false);
  clearGradients([a, b]);
  assert.ok(scaler.unscale([a, b]), 'there is nothing to scale');
  assert.equal(liveTensors(), before);
  for (const p of [a, b]) p.dispose();
  scaler.dispose();
});
