// A head that compares with a sample of its classes: against the numbers of methods.md 8.3, and what must not change.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, gap, int64 } from '../../test/helpers/formula.ts';
import { golden, PRINTED } from '../../test/helpers/golden.ts';
import { Rng } from '../base/rng.ts';
import { parameter } from '../nn/index.ts';
import { AdamW, type Optimizer, Sgd } from '../optim/index.ts';
import {
  backward,
  equal,
  liveTensors,
  norm,
  requireGrad,
  scope,
  selectRows,
  sum,
  type Tensor,
  toNumbers,
} from '../torch/index.ts';
import { ArcFace, sampleClasses } from './index.ts';

const vectors = golden('parity_vectors.json').arcface_pfc_sampled;
const arc = { marginRad: 0.5, scale: 64 };

/** A head in double precision with the weight of the vectors. [10, 8] */
const headOf = (sampleRate: number): ArcFace =>
  Object.assign(new ArcFace(8, 10, { ...arc, sampleRate }, new Rng(0)), {
    weight: parameter(fill([10, 8], 1.1, 0.37)),
  });

/** A stream whose uniform numbers are what the test says. */
const drawing = (numbers: readonly number[]): Rng => {
  const left = [...numbers];
  return Object.assign(new Rng(0), { uniform: () => left.shift()! });
};

function stepOn(head: ArcFace, optimizer: Optimizer, labels: readonly number[], rng: Rng, lr = 0.1) {
  const { classifier, chosen } = head.forStep(labels, rng);
  const loss = classifier.loss(fill([labels.length, 8], 0.3, 0.7), int64(labels));
  backward(loss);
  optimizer.step(lr, chosen);
  head.weight.grad = null;
  return { loss: loss.item(), chosen };
}

const rowOf = (x: Tensor, row: number): number[] => toNumbers(x).slice(row * 8, (row + 1) * 8);

test('two sampled steps of SGD equal the reference, and frozen rows stay (8.3)', () =>
  scope(() => {
    const head = headOf(0.5);
    const sgd = new Sgd([head.weight], { momentum: 0.9, weightDecay: 5e-4 });
    const velocity = [...sgd.state()][0]![1];
    const draws = [
      [0.11, 0.92, 0.35, 0.48, 0.77, 0.06, 0.58, 0.63, 0.24, 0.81],
      [0.91, 0.02, 0.35, 0.88, 0.17, 0.86, 0.58, 0.03, 0.24, 0.31],
    ];
    const labels = [
      [3, 0, 7, 3],
      [5, 0, 2, 9],
    ];
    for (const [s, expected] of vectors.V3_steps.entries()) {
      const { loss, chosen } = stepOn(head, sgd, labels[s]!, drawing(draws[s]!));
      assert.deepEqual(toNumbers(chosen!.index), expected.index);
      assert.ok(Math.abs(loss - expected.loss) < PRINTED, `loss ${loss}`);
      const [rows, momentum] = [selectRows(head.weight, chosen!.index), selectRows(velocity, chosen!.index)];
      assert.ok(Math.abs(norm(rows).item() - expected.w_act_fro) < PRINTED);
      assert.ok(Math.abs(norm(momentum).item() - expected.mom_fro) < PRINTED);
      assert.ok(gap(rowOf(rows, 0), expected.w_act_row0) < PRINTED);
    }
    assert.ok(Math.abs(norm(head.weight).item() - vectors.V3_final_weight_fro) < PRINTED);
    assert.ok(gap(rowOf(head.weight, 0), vectors.V3_final_weight_row0) < PRINTED);
    assert.ok(gap(rowOf(velocity, 0), vectors.V3_final_mom_row0) < PRINTED);
    assert.ok(gap(rowOf(head.weight, 5), vectors.V3_weight_row5) < PRINTED);
    const start = fill([10, 8], 1.1, 0.37);
    for (const never of [4, 6, 8]) {
      assert.deepEqual(rowOf(head.weight, never), rowOf(start, never), 'not even decayed');
      assert.deepEqual(rowOf(velocity, never), new Array(8).fill(0));
    }
    head.dispose();
    sgd.dispose();
  }));

test('the own classes are always there, others are drawn alike, and the sample ascends', () => {
  const rng = new Rng('classes');
  const [classes, count, rounds] = [20, 8, 4000];
  const times = new Array<number>(classes).fill(0);
  for (let round = 0; round < rounds; round++) {
    const sample = Array.from(sampleClasses([17, 3, 3, -1, 0], { classes, count }, () => rng.uniform()));
    assert.ok(sample.length === count && [0, 3, 17].every((own) => sample.includes(own)));
    assert.deepEqual(
      sample,
      [...new Set(sample)].sort((a, b) => a - b),
    );
    for (const label of sample) times[label]!++;
  }
  const others = times.filter((_, label) => ![0, 3, 17].includes(label));
  const expected = (rounds * (count - 3)) / (classes - 3);
  /** Five standard deviations of a binomial count. */
  const SPREAD = 5 * Math.sqrt(expected * (1 - 5 / 17));
  for (const n of others) assert.ok(Math.abs(n - expected) < SPREAD, `${n}, expected ${expected}`);
});

test('with more own classes than the share allows, they are the sample; equal draws go to the lowest class', () => {
  const sample = (labels: readonly number[], count: number, u = 0.5): number[] =>
    Array.from(sampleClasses(labels, { classes: 9, count }, () => u));
  assert.deepEqual(sample([8, 1, 5], 2), [1, 5, 8]);
  assert.deepEqual(sample([8, 1, 5], 3), [1, 5, 8]);
  assert.deepEqual(sample([8], 0), [8]);
  assert.deepEqual(sample([8, 4], 4), [0, 1, 4, 8]);
  assert.deepEqual(sample([], 2), [0, 1]);
});

test('a share that takes in every class learns what the whole head learns', () => {
  for (const optimizer of [(p: Tensor) => new Sgd([p], { weightDecay: 0.01 }), (p: Tensor) => new AdamW([p])])
    scope(() => {
      // every class is an own one, so that any share below 1 has them all
      const labels = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
      const [whole, sampled] = [headOf(1), headOf(0.4)];
      for (const head of [whole, sampled]) {
        const own = optimizer(head.weight);
        for (let i = 0; i < 4; i++) assert.equal(stepOn(head, own, labels, new Rng(i)).chosen === null, head === whole);
        own.dispose();
      }
      assert.ok(equal(whole.weight, sampled.weight), 'to the last bit');
      whole.dispose();
      sampled.dispose();
    });
});

test('a gradient that reached the whole weight moves the chosen rows, and only them', () =>
  scope(() => {
    const head = headOf(0.5);
    const before = toNumbers(head.weight);
    const sgd = new Sgd([head.weight], { momentum: 0 });
    const { classifier, chosen } = head.forStep([2, 4], new Rng(1));
    backward(sum(classifier.weight));
    sgd.step(0.1, chosen);
    const rows = toNumbers(chosen!.index);
    assert.equal(rows.length, 5);
    const moved = before.map((v, k) => (rows.includes(Math.floor(k / 8)) ? v - 0.1 : v));
    assert.ok(gap(head.weight, moved) < PRINTED);
    head.weight.grad = null;
    head.dispose();
    sgd.dispose();
  }));

test('sampling compares with fewer classes, so the loss is smaller; labels outside the sample are refused', () =>
  scope(() => {
    const head = headOf(0.5);
    const embeddings = requireGrad(fill([2, 8], 0.3, 0.7));
    const { classifier, chosen } = head.forStep([2, 4], new Rng(1));
    assert.ok(classifier.loss(embeddings, int64([2, 4])).item() < head.loss(embeddings, int64([2, 4])).item());
    const absent = [0, 1, 3, 5].find((label) => !toNumbers(chosen!.index).includes(label))!;
    assert.throws(() => classifier.loss(embeddings, int64([2, absent])), /index -1 is out of bounds/);
    head.dispose();
  }));

test('a sampled step leaves no tensor behind', () => {
  const head = headOf(0.5);
  const sgd = new Sgd([head.weight]);
  const before = liveTensors();
  for (let i = 0; i < 3; i++) scope(() => void stepOn(head, sgd, [1, 2], new Rng(i)));
  assert.equal(liveTensors(), before);
  head.dispose();
  sgd.dispose();
});
