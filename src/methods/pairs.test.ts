import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { setupOf, stepOf, termOf } from '../../test/helpers/step.ts';
import { Rng } from '../base/rng.ts';
import {
  gradients,
  narrow,
  requireGrad,
  scope,
  type Tensor,
  tensor,
  to,
  toFloat32,
  toNumbers,
} from '../torch/index.ts';
import { pairs } from './pairs.ts';
import { OldRowSampler } from './parts/old-row-sampler.ts';
import { impostorSimilarities, verificationLoss } from './parts/verification.ts';

const [QUERIES, GALLERY] = [4, 7];
const labels = [0, 2, 1, 3];
/** Class + 1; the last place is empty. Class 3 has no embedding. */
const classes = [1, 3, 1, 2, 3, 1, 0];
const logistic = (x: number): number => Math.log(1 + Math.exp(x));
const average = (values: readonly number[]): number =>
  values.reduce((sum, v) => sum + v, 0) / Math.max(values.length, 1);

test('the loss of pairs equals loops over queries and gallery, its gradient finite differences', () => {
  const far = 0.1;
  const loss = (z: Tensor): Tensor => verificationLoss(z, int64(labels), int64(classes), far);
  const z = fill([QUERIES, GALLERY], 0.3, 1.1, 3);
  const rows = scope(() => toNumbers(z));
  const each = labels.map((label, i) => {
    const of = (genuine: boolean): number[] =>
      classes.flatMap((own, j) => (own > 0 && (own === label + 1) === genuine ? [rows[i * GALLERY + j]!] : []));
    return average(of(true).map((x) => logistic(-x))) + average(of(false).map(logistic)) / far;
  });
  scope(() => assert.ok(Math.abs(loss(z).item() - average(each)) < PRINTED));
  assert.ok(gradientGap(loss, z) < DIFFERENCES);
});

test('the impostor pairs of the old model: mean, and a threshold that no more than the wanted share reaches', () =>
  scope(() => {
    const count = 60;
    const rows = fillUnitRows([count, 4], 0.4, 1.7);
    const own = Array.from({ length: count }, (_, i) => i % 7);
    const all = toNumbers(rows);
    const impostors: number[] = [];
    const similarities = new Float32Array(count * count);
    for (let i = 0; i < count; i++)
      for (let j = 0; j < count; j++) {
        for (let d = 0; d < 4; d++) similarities[i * count + j]! += all[4 * i + d]! * all[4 * j + d]!;
        if (j < i && own[i] !== own[j]) impostors.push(similarities[i * count + j]!);
      }
    for (const far of [0.01, 0.1, 0.5]) {
      const { mean, threshold } = impostorSimilarities(similarities, own, far);
      assert.ok(Math.abs(mean - average(impostors)) < 1e-6);
      const accepted = impostors.filter((x) => x >= threshold).length / impostors.length;
      assert.ok(accepted <= far + 1 / impostors.length && accepted > far - 2 / impostors.length, `${far}: ${accepted}`);
    }
  }));

const DIM = 4;
/** Old embeddings of 12 samples of 3 classes, of any length; and the method after the start of its first epoch. */
async function started(given: object) {
  const olds = scope(() => toFloat32(fill([12, DIM], 0.4, 1.7, 3, 'float32')));
  const byClass = [0, 1, 2].map((label) => Int32Array.from({ length: 4 }, (_, i) => 3 * i + label));
  const oldRows = {
    rows: (at: ArrayLike<number>) =>
      Float32Array.from(Array.from(at).flatMap((i) => [...olds.subarray(DIM * i, DIM * (i + 1))])),
    byClass: () => byClass,
  };
  const running = pairs.start(pairs.options.parse(given), setupOf({ oldDim: DIM, classes: 3 }));
  await running.onEpoch!({ epoch: 0, old: { oldRows }, embedTrainSet: () => Promise.reject(new Error('not needed')) });
  const step = (embeddings: Tensor, from = 0): Parameters<typeof running.terms>[0] => {
    const count = embeddings.shape[0]!;
    const at = Array.from({ length: count }, (_, i) => from + i);
    const rows = tensor(oldRows.rows(at), { shape: [count, DIM] });
    const oldEmbedding = scope(() => to(rows, { dtype: 'float32' }));
    return stepOf({ embeddings, labels: int64(at.map((i) => i % 3)), old: { oldEmbedding, oldRows } });
  };
  return { running, step, oldRows };
}

test('pairs: the gallery holds the batch, earlier batches and drawn partners; the threshold is the old model’s', async () => {
  const { running, step } = await started({ queueSize: 8, partners: 3, far: 0.05, sharpness: 4 });
  const [threshold, factor] = scope(() => toNumbers(running.state!['decision']!));
  const cosines: number[] = [];
  scope(() => {
    running.terms(step(fill([4, DIM], 0.1, 1.3, 1, 'float32')));
    assert.deepEqual(toNumbers(running.state!['classes']!), [1, 2, 3, 1, 0, 0, 0, 0]);
    const terms = running.terms(step(fill([6, DIM], 0.2, 1.1, 1, 'float32'), 4));
    assert.deepEqual(toNumbers(running.state!['classes']!), [3, 1, 3, 1, 2, 3, 1, 2], 'the last eight');
    assert.ok(Number.isFinite(termOf(terms, 'pairs').item()));
    cosines.push(threshold!, factor!);
  });
  assert.ok(threshold! > 0 && threshold! <= 1 && factor! > 4 / 2 && Number.isFinite(factor!), `${cosines}`);
  for (const part of Object.values(running.state!)) part.dispose();
});

test('pairs: a rate without a threshold above the mean impostor pair is refused', async () => {
  assert.throws(() => pairs.options.parse({ far: 0.5 }));
  const oldRows = {
    rows: (at: ArrayLike<number>) => new Float32Array(at.length * DIM).fill(1),
    byClass: () => [Int32Array.of(0, 1), Int32Array.of(2)],
  };
  const oneClass = { ...oldRows, byClass: () => [Int32Array.of(), Int32Array.of(0, 1, 2)] };
  for (const [classes, why] of [
    [oldRows, /no threshold at a false accept rate of 0\.001/],
    [oneClass, /^UserError: pairs: the old embeddings are of one class: there are no impostor pairs/],
  ] as const) {
    const running = pairs.start(pairs.options.parse({ queueSize: 4 }), setupOf({ oldDim: DIM }));
    const begun = running.onEpoch!({
      epoch: 0,
      old: { oldRows: classes },
      embedTrainSet: () => Promise.reject(new Error()),
    });
    await assert.rejects(begun, why);
  }
});

test('drawn partners are of the wanted class, and draws of the set follow the sizes of its classes', () =>
  scope(() => {
    const byClass = [Int32Array.of(0), Int32Array.of(), Int32Array.from({ length: 9 }, (_, i) => 1 + i)];
    const old = { rows: (at: ArrayLike<number>) => Float32Array.from(Array.from(at).flatMap((i) => [1 + i, 0])), byClass: () => byClass }; // biome-ignore format: a value
    const sampler = new OldRowSampler(2);
    const partners = sampler.drawOf(old, new Rng(1), [2, 0], 3);
    assert.deepEqual(partners.labels, [2, 2, 2, 0, 0, 0]);
    assert.deepEqual(toNumbers(narrow(partners.rows, 1, 0, 1)), [1, 1, 1, 1, 1, 1], 'of length 1');
    const whole = sampler.draw(old, new Rng(1), 10);
    assert.deepEqual(
      [whole.labels, whole.rows.shape],
      [
        [0, 2, 2, 2, 2, 2, 2, 2, 2, 2],
        [10, 2],
      ],
    );
    const seen = Array.from({ length: 200 }, (_, i) => sampler.draw(old, new Rng(i), 5).labels).flat();
    const small = seen.filter((label) => label === 0).length;
    assert.ok(small > 60 && small < 140 && !seen.includes(1), `${small} of 1000`);
  }));

test('pairs: what the loss asks of a query is to go beyond the threshold towards its class, and below it to others', async () => {
  const { running, step } = await started({ queueSize: 12, partners: 0 });
  scope(() => {
    const embeddings = requireGrad(fill([12, DIM], 0.2, 1.1, 1, 'float32'));
    const at = step(embeddings);
    const loss = termOf(running.terms(at), 'pairs');
    const [gradient] = gradients(loss, [embeddings]);
    const moved = scope(() => {
      const values = toFloat32(embeddings).map((x, i) => x - 0.02 * toFloat32(gradient!)[i]!);
      return termOf(running.terms({ ...at, embeddings: tensor(values, { shape: [12, DIM] }), inOldSpace: tensor(values, { shape: [12, DIM] }) }), 'pairs').item(); // biome-ignore format: one line
    });
    assert.ok(moved < loss.item() - 0.01, `${moved} after a step, ${loss.item()} before`);
  });
  for (const part of Object.values(running.state!)) part.dispose();
});
