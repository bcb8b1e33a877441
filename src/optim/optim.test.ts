import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gap } from '../../test/helpers/formula.ts';
import { Rng } from '../base/rng.ts';
import { keep, noGrad, requireGrad, scope, selectRows, type Tensor, tensor, toNumbers } from '../torch/index.ts';
import { adamWReference } from './adamw.reference.ts';
import { clipReference } from './clip.reference.ts';
import {
  AdamW,
  clipGradients,
  constant,
  cosine,
  gradientNorm,
  type Optimizer,
  polynomial,
  Sgd,
  stepDecay,
} from './index.ts';
import { sgdReference } from './sgd.reference.ts';

/** Float64 on both sides; the order of two additions may differ. */
const ROUND_OFF = 1e-12;

const leaf = (values: readonly number[]): Tensor => keep(requireGrad(tensor(values, { dtype: 'float64' })));

function steps(optimizer: Optimizer, p: Tensor, gradients: readonly (readonly number[])[], lr: number): number[][] {
  return gradients.map((g) =>
    scope(() => {
      p.grad = tensor(g, { dtype: 'float64' });
      optimizer.step(lr);
      p.grad = null;
      return toNumbers(p);
    }),
  );
}

test('SGD follows the reference trajectory (8.5)', () => {
  const p = leaf([1, 2]);
  const sgd = new Sgd([p], { momentum: 0.9, weightDecay: 5e-4 });
  const path = steps(
    sgd,
    p,
    [
      [0.5, -1],
      [0.2, 0.3],
      [0, 0.1],
    ],
    0.1,
  );
  assert.ok(
    gap(path.flat(), [0.94995, 2.0999, 0.8848575025, 2.159705005, 0.826230011874875, 2.20342152424975]) < ROUND_OFF,
  );
  const [[, velocity]] = [...sgd.state()] as [[string, Tensor]];
  assert.ok(gap(velocity, [0.5862749062512499, -0.4371651924975]) < ROUND_OFF);
});

test('AdamW follows the reference trajectory (8.5)', () => {
  const p = leaf([1, 2]);
  const PRINTED = 1e-10;
  const path = steps(
    new AdamW([p], { weightDecay: 0.1 }),
    p,
    [
      [0.5, -1],
      [0.2, 0.3],
    ],
    1e-3,
  );
  assert.ok(gap(path.flat(), [0.99890000002, 2.00079999999, 0.997901534839, 2.0010277685757]) < PRINTED);
});

test('the fast optimisers equal their slow twins over 50 random steps', () => {
  const rng = new Rng('twins');
  const start = Array.from({ length: 7 }, () => rng.uniform() - 0.5);
  const gradients = Array.from({ length: 50 }, () => start.map(() => rng.uniform() - 0.5));
  const fast = { sgd: leaf(start), adamw: leaf(start) };
  steps(new Sgd([fast.sgd], { momentum: 0.8, weightDecay: 0.01 }), fast.sgd, gradients, 0.05);
  steps(new AdamW([fast.adamw], { weightDecay: 0.02 }), fast.adamw, gradients, 0.05);
  const slow = { sgd: [...start], adamw: [...start] };
  const [v, m, s] = [start.map(() => 0), start.map(() => 0), start.map(() => 0)];
  for (const [i, g] of gradients.entries()) {
    sgdReference(slow.sgd, g, v, { lr: 0.05, momentum: 0.8, weightDecay: 0.01 });
    adamWReference(slow.adamw, g, m, s, i + 1, { lr: 0.05, weightDecay: 0.02 });
  }
  assert.ok(gap(fast.sgd, slow.sgd) < ROUND_OFF);
  assert.ok(gap(fast.adamw, slow.adamw) < ROUND_OFF);
});

test('a parameter without a gradient stays as it is, momentum and decay included', () => {
  const [moved, still] = [leaf([1]), leaf([1])];
  steps(new Sgd([moved, still], { weightDecay: 0.1 }), moved, [[1]], 0.1);
  assert.deepEqual(toNumbers(still), [1]);
});

test('a parameter with a factor takes the steps of a learning rate that is so many times as large', () => {
  const gradients = [[0.5], [-0.2], [0.1]];
  for (const make of [
    (ps: Tensor[], lrFactor?: (p: Tensor) => number) =>
      new Sgd(ps, { weightDecay: 0.1, ...(lrFactor && { lrFactor }) }),
    (ps: Tensor[], lrFactor?: (p: Tensor) => number) => new AdamW(ps, lrFactor && { lrFactor }),
  ]) {
    const [alone, slow, fast] = [leaf([1]), leaf([1]), leaf([1])];
    const expected = steps(make([alone]), alone, gradients, 0.01);
    const both = make([slow, fast], (p) => (p === slow ? 0.1 : 1));
    const seen = gradients.map((g) =>
      scope(() => {
        for (const p of [slow, fast]) p.grad = tensor(g, { dtype: 'float64' });
        both.step(0.1);
        return toNumbers(slow);
      }),
    );
    assert.ok(gap(seen.flat(), expected.flat()) < ROUND_OFF);
    assert.ok(Math.abs(toNumbers(fast)[0]! - 1) > 5 * Math.abs(toNumbers(slow)[0]! - 1));
  }
});

test('of chosen rows an optimiser does what its twin does with each row alone, the others stand still', () => {
  const [rows, dim] = [5, 3];
  const rng = new Rng('rows');
  const start = Array.from({ length: rows * dim }, () => rng.uniform() - 0.5);
  for (const kind of ['sgd', 'adamw'] as const) {
    const whole = keep(requireGrad(tensor(Float64Array.from(start), { shape: [rows, dim] })));
    const optimizer = kind === 'sgd' ? new Sgd([whole], { weightDecay: 0.01 }) : new AdamW([whole]);
    const [p, v, m, s] = [start, start, start, start].map((x, i) => x.map((value) => (i === 0 ? value : 0))) as [
      number[],
      number[],
      number[],
      number[],
    ];
    for (let step = 1; step <= 30; step++) {
      const chosen = rng.sample([0, 1, 2, 3, 4], 1 + rng.integer(rows)).sort((a, b) => a - b);
      const gradients = chosen.map(() => Array.from({ length: dim }, () => rng.uniform() - 0.5));
      scope(() => {
        const index = tensor(chosen, { dtype: 'int64' });
        const part = requireGrad(noGrad(() => selectRows(whole, index)));
        part.grad = tensor(Float64Array.from(gradients.flat()), { shape: part.shape });
        optimizer.step(0.05, { whole, index, rows: part });
      });
      for (const [i, row] of chosen.entries()) {
        const [from, to] = [row * dim, (row + 1) * dim];
        const parts = [p, v, m, s].map((x) => x.slice(from, to)) as [number[], number[], number[], number[]];
        if (kind === 'sgd')
          sgdReference(parts[0], gradients[i]!, parts[1], { lr: 0.05, momentum: 0.9, weightDecay: 0.01 });
        else adamWReference(parts[0], gradients[i]!, parts[2], parts[3], step, { lr: 0.05, weightDecay: 0.01 });
        for (const [k, x] of [p, v, m, s].entries()) x.splice(from, dim, ...parts[k]!);
      }
      assert.ok(gap(whole, p) < ROUND_OFF, `${kind}, step ${step}`);
    }
    optimizer.dispose();
    whole.dispose();
  }
});

/** The reference's clipping vector was computed in float32. */
const FLOAT32_VECTOR = 2e-7;

/** Clips as a training step does. → the norm before */
function clipped(parameters: readonly Tensor[], maxNorm: number, others: readonly Tensor[] = []): number {
  const norm = scope(() => gradientNorm(parameters, others).item());
  clipGradients(parameters, norm, maxNorm);
  return norm;
}

test('clipping scales to the norm (8.5), leaves small gradients alone, and equals its twin', () => {
  const p = leaf([0, 0, 0]);
  scope(() => {
    p.grad = tensor([3, 4, 12], { dtype: 'float64' });
    assert.equal(clipped([p], 5), 13);
    assert.ok(gap(p.grad!, [1.1538460651, 1.5384614201, 4.6153843603]) < FLOAT32_VECTOR);
    const twin = clipReference([[3, 4], [12]], 5);
    assert.ok(gap(p.grad!, twin.clipped.flat()) < ROUND_OFF);
    p.grad = tensor([0.3, 0.4, 0], { dtype: 'float64' });
    assert.equal(clipped([p], 5), 0.5);
    assert.ok(gap(p.grad!, [0.3, 0.4, 0]) < ROUND_OFF);
    p.grad = tensor([Number.NaN, 0, 0], { dtype: 'float64' });
    assert.ok(Number.isNaN(clipped([p], 5)));
  });
});

test('a gradient that is not finite spoils the norm, also one that does not count in it, and nothing is scaled', () => {
  const [own, other] = [leaf([0, 0]), leaf([0, 0])];
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 1e300]) // the last one’s square is beyond float64
    scope(() => {
      own.grad = tensor([3, 4], { dtype: 'float64' });
      other.grad = tensor([bad, 0], { dtype: 'float64' });
      assert.equal(Number.isFinite(clipped([own], 1, [other])), false);
      assert.deepEqual(toNumbers(own.grad), [3, 4]);
      assert.equal(Number.isFinite(clipped([other], 1, [own])), false);
      assert.deepEqual(toNumbers(other.grad), [bad, 0]);
    });
  scope(() => {
    own.grad = tensor([3, 4], { dtype: 'float64' });
    other.grad = tensor([30, 40], { dtype: 'float64' });
    assert.equal(clipped([own], 1, [other]), 5);
    assert.deepEqual(toNumbers(other.grad), [30, 40], 'what does not count is not scaled');
    assert.equal(clipped([], 1, [other]), 0);
  });
});

test('the polynomial schedule equals the reference (8.4)', () => {
  const at = (warmupSteps: number, rows: readonly (readonly [number, number])[]): void => {
    const lr = polynomial({ base: 0.1, totalSteps: 100, warmupSteps });
    for (const [step, expected] of rows)
      assert.ok(Math.abs(lr(step) - expected) < 1e-10, `step ${step} of warm-up ${warmupSteps}`);
  };
  at(0, [
    [0, 0.1],
    [1, 0.09801],
    [10, 0.081],
    [50, 0.025],
    [99, 1e-5],
    [100, 0],
  ]);
  at(10, [
    [0, 0],
    [1, 0.01],
    [5, 0.05],
    [9, 0.09],
    [10, 0.1],
    [11, 0.0977901235],
    [55, 0.025],
    [100, 0],
  ]);
  at(-10, [
    [0, 0.0826446281],
    [1, 0.081],
    [50, 0.020661157],
    [100, 0],
  ]);
});

test('a rate that warms up to the end, and one of no step, is 0 from the end on', () => {
  for (const schedule of [polynomial, cosine]) {
    const warm = schedule({ base: 2, totalSteps: 10, warmupSteps: 10 });
    assert.deepEqual([0, 5, 9, 10, 11].map(warm), [0, 1, 1.8, 0, 0]);
    assert.equal(schedule({ base: 2, totalSteps: 0 })(0), 0);
  }
});

test('step, cosine and constant schedules do what their names say', () => {
  const drops = stepDecay({ base: 1, milestones: [2, 4] });
  assert.ok(gap([1, 2, 3, 4, 5].map(drops), [1, 0.1, 0.1, 0.01, 0.01]) < ROUND_OFF);
  const half = cosine({ base: 2, totalSteps: 10, warmupSteps: 2 });
  assert.ok(gap([0, 1, 2, 6, 10, 12].map(half), [0, 1, 2, 1, 0, 0]) < ROUND_OFF);
  assert.deepEqual([0, 1, 2, 9].map(constant({ base: 4, warmupSteps: 2 })), [0, 2, 4, 4]);
});
