import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, golden, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { setupOf, stepOf, zeroHead } from '../../test/helpers/step.ts';
import { Rng } from '../base/rng.ts';
import { arcfaceLogits, saturatedCrossEntropy } from '../heads/index.ts';
import {
  clamp,
  cosines,
  gradients,
  narrow,
  norm,
  requireGrad,
  scope,
  type Tensor,
  toFloat64,
  zeros,
} from '../torch/index.ts';
import { l2 } from './l2.ts';
import { mixbct } from './mixbct.ts';

const vectors = golden('parity_vectors.json').methods;
const setup = setupOf();

/** A stream whose sample is what the test says. */
const drawing = (rows: readonly number[]): Rng => Object.assign(new Rng(0), { sample: () => [...rows] });

const arcHead = (weight: Tensor) => ({
  ...zeroHead(weight),
  loss: (e: Tensor, y: Tensor) =>
    saturatedCrossEntropy(arcfaceLogits(clamp(cosines(e, weight), -1, 1), y, { marginRad: 0.5, scale: 64 }), y),
});

test('MixBCT: loss and gradients equal the reference, replaced rows get none (8.6)', () =>
  scope(() => {
    const embeddings = requireGrad(fill([6, 8], 0.3, 0.7));
    const weight = requireGrad(fill([10, 8], 1.1, 0.37));
    const old = {
      oldEmbedding: fillUnitRows([6, 8], 0.9, 0.41),
      credible: Int32Array.from([0, 1, 2, 3, 4, 5]),
    };
    const step = stepOf(
      { embeddings, labels: int64([0, 2, 9, 6, 0, 4]), old },
      { rng: drawing([1, 4]), head: arcHead(weight) },
    );
    const { classify } = mixbct.start({ ratio: 0.34, onShortage: 'stop' }, setup).terms(step);
    assert.ok(Math.abs(classify!.value.item() - vectors.MixBCT.loss) < PRINTED);
    const [dE, dW] = gradients(classify!.value, [embeddings, weight]);
    assert.ok(gap(dE!, vectors.MixBCT.grad_emb.flat()) < PRINTED);
    assert.ok(
      toFloat64(dE!)
        .slice(8, 16)
        .every((g) => g === 0),
    );
    assert.ok(Math.abs(norm(dW!).item() - vectors.MixBCT.gW_fro) < PRINTED);
    assert.ok(gap(toFloat64(dW!).slice(0, 8), vectors.MixBCT.gW_row0) < PRINTED);
  }));

test('MixBCT draws floor(B·ratio) distinct credible rows, anew at each step', () =>
  scope(() => {
    const credible = Int32Array.from({ length: 100 }, (_, i) => i + 20);
    const drawn: number[][] = [];
    const rng = new Rng(7);
    const spy = (s: Rng): Rng =>
      Object.assign(s, {
        sample: (items: ArrayLike<number>, n: number) => {
          const rows = Rng.prototype.sample.call(s, items, n);
          drawn.push(rows);
          return rows;
        },
      });
    const old = { oldEmbedding: fill([128, 8], 0, 1), credible };
    for (const step of [0, 1, 0])
      mixbct
        .start({ ratio: 0.3, onShortage: 'stop' }, setup)
        .terms(stepOf({ embeddings: fill([128, 8], 1, 1), labels: zeros([128]), old }, { rng: spy(rng.split(step)) }));
    assert.equal(drawn[0]!.length, 38); // int(128 · 0.3)
    assert.equal(new Set(drawn[0]).size, 38);
    assert.ok(drawn[0]!.every((row) => row >= 20 && row < 120));
    assert.notDeepEqual(drawn[0], drawn[1]);
    assert.deepEqual(drawn[0], drawn[2]);
  }));

test('MixBCT with too few credible rows uses them all and counts, or stops when told to (D-32)', () =>
  scope(() => {
    let missing = 0;
    const old = { oldEmbedding: fill([4, 8], 0, 1), credible: Int32Array.from([2]) };
    const count = (_: string, by: number): void => {
      missing += by;
    };
    const step = stepOf({ embeddings: fill([4, 8], 1, 1), labels: zeros([4]), old }, { count });
    mixbct.start({ ratio: 0.75, onShortage: 'use-all' }, setup).terms(step);
    assert.equal(missing, 2);
    assert.throws(
      () => mixbct.start({ ratio: 0.75, onShortage: 'stop' }, setup).terms(step),
      /this batch has 1 credible row, expected 3/,
    );
  }));

test('L2 and weakened L2: loss and gradient equal the reference (8.7), and finite differences', () => {
  const old = { oldEmbedding: fillUnitRows([3, 4], 0.5, 0.9) };
  const regress = (threshold: number, squared: boolean) => (embeddings: Tensor) =>
    l2.start({ weight: 10, threshold, squared }, setup).terms(stepOf({ embeddings, labels: int64([0, 1, 2]), old }))[
      'regress'
    ]!.value;
  for (const [name, threshold] of [
    ['L2_th0.0', 0],
    ['L2_th0.2', 0.2],
    ['L2_th1.0', 1],
    ['L2_th1.5', 1.5],
  ] as const)
    scope(() => {
      const embeddings = requireGrad(fill([3, 4], 0.1, 1.3));
      const value = regress(threshold, false)(embeddings);
      assert.ok(Math.abs(value.item() - vectors[name].loss) < PRINTED, name);
      assert.ok(gap(gradients(value, [embeddings])[0]!, vectors[name].grad.flat()) < PRINTED, name);
    });
  const distances = scope(() =>
    [0, 1, 2].map((row) => {
      const oldEmbedding = narrow(fillUnitRows([3, 4], 0.5, 0.9), 0, row, 1);
      const embeddings = narrow(fill([3, 4], 0.1, 1.3), 0, row, 1);
      const step = stepOf({ embeddings, labels: int64([0]), old: { oldEmbedding } });
      return l2.start({ weight: 10, threshold: 0, squared: false }, setup).terms(step)['regress']!.value.item();
    }),
  );
  assert.ok(gap(distances, vectors['L2_th0.0'].dist) < PRINTED, 'the distance of each sample');
  assert.ok(gradientGap(regress(0.2, false), fill([3, 4], 0.1, 1.3)) < DIFFERENCES);
  assert.ok(gradientGap(regress(0, true), fill([3, 4], 0.1, 1.3)) < DIFFERENCES);
});

test('L2 at distance 0 has gradient 0, not NaN', () =>
  scope(() => {
    const oldEmbedding = fillUnitRows([2, 4], 0.5, 0.9);
    const embeddings = requireGrad(fillUnitRows([2, 4], 0.5, 0.9));
    const { regress } = l2
      .start({ weight: 10, threshold: 0, squared: false }, setup)
      .terms(stepOf({ embeddings, labels: int64([0, 1]), old: { oldEmbedding } }));
    assert.ok(toFloat64(gradients(regress!.value, [embeddings])[0]!).every(Number.isFinite));
  }));
