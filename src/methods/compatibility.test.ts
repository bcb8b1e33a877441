// BCT, UniBCT, NCCL and AdvBCT against the numbers of methods.md 8.8 to 8.11, finite differences and slow twins.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, golden, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { setupOf, stepOf, termOf, zeroHead } from '../../test/helpers/step.ts';
import { Rng } from '../base/rng.ts';
import { boundaries } from '../features/index.ts';
import {
  backward,
  clamp,
  concat,
  copy_,
  eye,
  gradients,
  linear,
  mean,
  mul,
  narrow,
  noGrad,
  normalizeRows,
  requireGrad,
  scope,
  sum,
  type Tensor,
  tensor,
  to,
  toFloat32,
  toFloat64,
  toNumbers,
  zeros,
} from '../torch/index.ts';
import { advbct, Discriminator } from './advbct.ts';
import { bct } from './bct.ts';
import { nccl } from './nccl.ts';
import { boundaryLoss } from './parts/boundary.ts';
import { reverseGradient } from './parts/gradient-scale.ts';
import { neighbourhoodLoss } from './parts/neighbourhood.ts';
import { refinePrototype } from './parts/prototype-refinement.ts';
import { unibct } from './unibct.ts';

const vectors = golden('parity_vectors.json').methods;
/** Single-precision parts of order 1 against numbers of a double-precision program. */
const FLOAT32 = 1e-5;

const within = (actual: Tensor | number, expected: number, tolerance: number): boolean =>
  Math.abs((typeof actual === 'number' ? actual : actual.item()) - expected) < tolerance;
const float32 = (x: Tensor): Tensor => to(x, { dtype: 'float32' });

test('BCT: the influence term equals the reference (8.8), its gradient finite differences', () => {
  const oldPrototypes = fillUnitRows([5, 4], 0.7, 0.55);
  const labels = int64([0, 4, 2]);
  const term =
    (options: { readonly scale: number; readonly marginCos: number }) =>
    (embeddings: Tensor): Tensor =>
      termOf(
        bct
          .start({ weight: 1, ...options }, setupOf({ oldDim: 4, classes: 5 }))
          .terms(stepOf({ embeddings, labels, old: { oldPrototypes } })),
        'influence',
      );
  scope(() => {
    const embeddings = requireGrad(fill([3, 4], 0.1, 1.3));
    const value = term({ scale: 1, marginCos: 0 })(embeddings);
    assert.ok(within(value, vectors.BCT.loss, PRINTED));
    assert.ok(gap(gradients(value, [embeddings])[0]!, vectors.BCT.grad.flat()) < PRINTED);
  });
  assert.ok(gradientGap(term({ scale: 30, marginCos: 0.2 }), fill([3, 4], 0.1, 1.3)) < DIFFERENCES);
  const at = (options: { readonly scale: number; readonly marginCos: number }): number =>
    scope(() => term(options)(fill([3, 4], 0.1, 1.3)).item());
  assert.ok(at({ scale: 10, marginCos: 0.3 }) > at({ scale: 10, marginCos: 0 }), 'a margin makes it harder');
});

test('BCT: the unscaled term moves by about one nat whatever the embedding, the scaled one by its whole size (D-28)', () =>
  scope(() => {
    const classes = 400;
    const oldPrototypes = eye(classes);
    const [rows, others] = [narrow(oldPrototypes, 0, 0, 8), narrow(oldPrototypes, 0, 8, 8)];
    const labels = int64([0, 1, 2, 3, 4, 5, 6, 7]);
    const loss = (embeddings: Tensor, scale: number): number =>
      termOf(
        bct
          .start({ weight: 1, scale, marginCos: 0 }, setupOf({ oldDim: classes, classes }))
          .terms(stepOf({ embeddings, labels, old: { oldPrototypes } })),
        'influence',
      ).item();
    assert.ok(within(loss(others, 1) - loss(rows, 1), 1, FLOAT32));
    assert.ok(within(loss(others, 30) - loss(rows, 30), 30, FLOAT32));
  }));

/** (1-λ)(I - λA)⁻¹ V averaged over its rows, by a series instead of a solve. */
function refineSlowly(graph: readonly (readonly number[])[], olds: readonly (readonly number[])[], lambda: number) {
  const n = olds.length;
  let [power, total] = [olds.map((row) => [...row]), olds.map((row) => row.map(() => 0))];
  for (let k = 0, factor = 1 - lambda; k < 2000; k++, factor *= lambda) {
    total = total.map((row, i) => row.map((value, d) => value + factor * power[i]![d]!));
    power = graph.map((row) => olds[0]!.map((_, d) => row.reduce((value, a, j) => value + a * power[j]![d]!, 0)));
  }
  return olds[0]!.map((_, d) => total.reduce((value, row) => value + row[d]!, 0) / n);
}

test('UniBCT: refinement equals the reference on both axes (8.9), and a power series', () =>
  scope(() => {
    const news = fill([4, 3], 0.2, 1.1, 0.3);
    const olds = fill([4, 3], 0.9, 0.6);
    const options = { lambda: 0.9, temperature: 0.05 };
    const row = refinePrototype(news, olds, { ...options, refineAxis: 'row' });
    assert.ok(gap(row, vectors.UniBCT.proto_dim1) < PRINTED);
    const numbers = toFloat64(olds);
    const rows = [0, 1, 2, 3].map((i) => Array.from(numbers.slice(3 * i, 3 * i + 3)));
    assert.ok(gap(row, refineSlowly(vectors.UniBCT.A_dim1, rows, 0.9)) < PRINTED);
    const column = refinePrototype(news, olds, { ...options, refineAxis: 'column' });
    assert.ok(gap(column, vectors.UniBCT.proto_dim0) < PRINTED);
    assert.ok(gap(column, toNumbers(mean(olds, { dim: 0 }))) < PRINTED, 'the column axis is the plain mean (D-04)');
    const single = refinePrototype(fill([1, 3], 0.4, 0.9), fill([1, 3], 0.9, 0.6), { ...options, refineAxis: 'row' });
    assert.ok(gap(single, vectors.UniBCT.single[1]) < PRINTED);
  }));

test('UniBCT: an outlier of the old model counts less once the new model’s neighbours are asked', () =>
  scope(() => {
    // three samples near (1, 0) and one mislabelled; the new model sees that nobody is near it
    const olds = tensor(Float64Array.of(1, 0, 1, 0.1, 1, -0.1, -1, 0.4), { shape: [4, 2] });
    const news = normalizeRows(tensor(Float64Array.of(1, 0.1, 1, 0, 1, -0.1, 0, 1), { shape: [4, 2] }));
    const options = { lambda: 0.9, temperature: 0.05, refineAxis: 'row' } as const;
    const [refinedX] = toNumbers(normalizeRows(refinePrototype(news, olds, options)));
    const [plainX] = toNumbers(normalizeRows(mean(olds, { dim: 0, keepDim: true })));
    assert.ok(refinedX! > plainX!, `${refinedX} against ${plainX}`);
  }));

test('UniBCT renews its prototypes before the epochs it is told, and only then counts', async (t) => {
  const [dim, classes] = [4, 3];
  const labels = [0, 0, 1, 1, 2];
  const rows = toFloat32(fill([5, dim], 0.3, 0.9, 1, 'float32'));
  let embedded = 0;
  const running = unibct.start(
    {
      weight: 1,
      scale: 30,
      marginCos: 0,
      startEpoch: 1,
      refreshEpochs: [1],
      lambda: 0.9,
      temperature: 0.05,
      refineAxis: 'row',
      normalizeNew: true,
      normalizePrototype: true,
    },
    setupOf({ oldDim: dim, classes }),
  );
  const old = {
    oldRows: {
      rows: (indices: ArrayLike<number>) =>
        Float32Array.from(Array.from(indices).flatMap((i) => Array.from(rows.subarray(i * dim, (i + 1) * dim)))),
      byClass: () => [0, 1, 2].map((label) => Int32Array.from(labels.flatMap((l, i) => (l === label ? [i] : [])))),
    },
  };
  const embedTrainSet = async (): Promise<Float32Array> => {
    embedded++;
    return toFloat32(fill([5, dim], 1.3, 0.4, 1, 'float32'));
  };
  const prototypes = running.state!['prototypes']!;
  await running.onEpoch!({ epoch: 0, old, embedTrainSet });
  assert.deepEqual([embedded, new Set(toFloat32(prototypes)).size], [0, 1], 'nothing yet');
  await running.onEpoch!({ epoch: 1, old, embedTrainSet });
  assert.equal(embedded, 1);
  scope(() => {
    const single = normalizeRows(tensor(rows.slice(4 * dim), { shape: [1, dim] }));
    assert.ok(gap(toFloat32(prototypes).slice(2 * dim), toFloat32(single)) < FLOAT32, 'a class of one keeps its row');
    const step = (epoch: number) =>
      running.terms(stepOf({ embeddings: fill([2, dim], 0, 1, 1, 'float32'), labels: int64([0, 1]), old }, { epoch }));
    assert.deepEqual(Object.keys(step(0)), ['classify']);
    assert.deepEqual(Object.keys(step(1)), ['classify', 'influence']);
  });
  prototypes.dispose();
  assert.throws(
    () => unibct.start({ ...unibct.options.parse({}), startEpoch: 3, refreshEpochs: [10] }, setupOf()),
    /startEpoch 3: there are no prototypes before epoch 10/,
  );
  const { text } = reportsOf(t);
  const late = { ...unibct.options.parse({}), startEpoch: 3, refreshEpochs: [2] };
  for (const epochs of [3, 4]) unibct.start(late, setupOf({ epochs }));
  assert.equal(text(), 'unibct: its term begins with epoch 4 of 3: this training does without it\n');
});

test('NCCL: both contrasts and their gradients equal the reference over two batches (8.10)', () =>
  scope(() => {
    const oldEmbedding = fillUnitRows([4, 4], 0.5, 0.9);
    const empty = (rows: number, width: number): Tensor => zeros([rows, width], { dtype: 'float64' });
    const [news, newLogits] = [requireGrad(fill([4, 4], 0.1, 1.3)), requireGrad(fill([4, 5], 0.6, 0.53))];
    const oldLogits = clamp(fill([4, 5], 0.3, 0.77), -1, 1);
    const queue = concat([oldEmbedding, empty(2, 4)]);
    const first = { queue, classes: int64([1, 2, 1, 4, 0, 0]), oldEmbedding, labels: int64([0, 1, 0, 3]) };
    const l1 = neighbourhoodLoss(linear(normalizeRows(news), queue), first);
    const l2 = neighbourhoodLoss(linear(newLogits, concat([oldLogits, empty(2, 5)])), first);
    assert.ok(within(l1, vectors.NCCL.l1, PRINTED) && within(l2, vectors.NCCL.l2, PRINTED));
    assert.ok(gap(gradients(l1, [news], { retainGraph: true })[0]!, vectors.NCCL.gne.flat()) < PRINTED);
    const [toLogits] = gradients(l2, [newLogits]);
    assert.ok(
      gap(
        toNumbers(toLogits!).map((g) => 0.01 * g),
        vectors.NCCL.gnl.flat(),
      ) < PRINTED,
    );

    // the second batch goes round the ring: places 4, 5, 0, 1
    const second = fillUnitRows([4, 4], 0.8, 0.35);
    const secondLogits = clamp(fill([4, 5], 0.9, 0.21), -1, 1);
    const ring = (batch: Tensor, before: Tensor): Tensor =>
      concat([narrow(batch, 0, 2, 2), narrow(before, 0, 2, 2), narrow(batch, 0, 0, 2)]);
    const then = {
      queue: ring(second, queue),
      classes: int64([1, 1, 1, 4, 3, 2]),
      oldEmbedding: second,
      labels: int64([2, 1, 0, 0]),
    };
    assert.ok(
      within(
        neighbourhoodLoss(linear(normalizeRows(fill([4, 4], 0.2, 0.6)), then.queue), then),
        vectors.NCCL_step2.l1,
        PRINTED,
      ),
    );
    const logitQueue = ring(secondLogits, concat([oldLogits, empty(2, 5)]));
    assert.ok(
      within(neighbourhoodLoss(linear(fill([4, 5], 0.15, 0.44), logitQueue), then), vectors.NCCL_step2.l2, PRINTED),
    );
  }));

test('NCCL: the queue is a ring that credible rows alone enter, and class similarities need no logits of it', () =>
  scope(() => {
    const options = { alpha: 1, beta: 0.01, queueSize: 6, temperature: 0.5 };
    const running = nccl.start(options, setupOf({ oldDim: 4, classes: 5 }));
    const { queue, classes, next } = running.state as Record<string, Tensor>;
    const weight = fill([5, 4], 0.4, 0.7, 1, 'float32');
    const head = { ...zeroHead(weight), loss: () => sum(zeros([1])) };
    const left: number[] = [];
    const take = (seed: number, labels: readonly number[], credible?: Int32Array) => {
      const oldEmbedding = float32(fillUnitRows([4, 4], seed, 0.9));
      const embeddings = fill([4, 4], seed + 1, 1.3, 1, 'float32');
      const old = { oldEmbedding, ...(credible && { credible }) };
      const count = (_: string, by: number): void => void (by > 0 && left.push(by));
      return { terms: running.terms(stepOf({ embeddings, labels: int64(labels), old }, { head, count })), embeddings };
    };
    take(0.5, [0, 1, 0, 3]);
    assert.deepEqual([toNumbers(classes!), next!.item()], [[1, 2, 1, 4, 0, 0], 4]);
    const { terms, embeddings } = take(0.8, [2, 1, 0, 0]);
    assert.deepEqual([toNumbers(classes!), next!.item()], [[1, 1, 1, 4, 3, 2], 2]);
    const old = float32(fillUnitRows([4, 4], 0.8, 0.9));
    const unit = normalizeRows(weight);
    const profiles = (rows: Tensor): Tensor => normalizeRows(linear(rows, unit)); // [B, C], [Q, C]
    const [zs, qs] = [profiles(normalizeRows(embeddings)), profiles(queue!)];
    const slow = neighbourhoodLoss(mul(linear(zs, qs), 2), {
      queue: queue!,
      classes: classes!,
      oldEmbedding: old,
      labels: int64([2, 1, 0, 0]),
    });
    assert.ok(within(termOf(terms, 'agree'), slow.item(), FLOAT32));
    take(0.2, [4, 4, 4, 4], Int32Array.of(1));
    assert.deepEqual([toNumbers(classes!), next!.item(), left], [[1, 1, 5, 4, 3, 2], 3, [3]]);
    for (const part of [queue!, classes!, next!]) part.dispose();
    assert.throws(() => nccl.start(options, setupOf({ projected: true })), /class similarities.*\n.*beta of nccl to 0/);
  }));

test('NCCL: finite differences of the contrast', () => {
  const target = {
    queue: fillUnitRows([6, 4], 0.5, 0.9),
    classes: int64([1, 2, 1, 4, 0, 3]),
    oldEmbedding: fillUnitRows([3, 4], 0.2, 0.9),
    labels: int64([0, 1, 4]),
  };
  const loss = (news: Tensor): Tensor => neighbourhoodLoss(linear(normalizeRows(news), target.queue), target);
  assert.ok(gradientGap(loss, fill([3, 4], 0.1, 1.3)) < DIFFERENCES);
});

/** The class boundaries of 8.11. */
const meta = () => {
  const rows = toFloat32(fill([9, 4], 0.4, 0.83, 1, 'float32'));
  const labels = Int32Array.of(0, 0, 0, 0, 0, 1, 1, 1, 2);
  return boundaries({
    info: { dim: 4, count: 9, classes: 3 },
    labels: () => labels,
    rows: (indices) =>
      Float32Array.from(Array.from(indices).flatMap((i) => Array.from(rows.subarray(4 * i, 4 * i + 4)))),
  });
};
const wide = (values: ArrayLike<number>, shape: readonly number[]): Tensor =>
  tensor(Float64Array.from(values), { shape });

test('AdvBCT: the distance beyond the elastic boundary equals the reference (8.11), and finite differences', () => {
  const { centres, largest, kept } = meta();
  const fixed = {
    centres: wide(centres, [3, 4]),
    radii: wide(largest, [3]),
    several: wide(
      Array.from(kept, (count) => (count > 1 ? 1 : 0)),
      [3],
    ),
    radius: 0.4,
  };
  const labels = int64([0, 1, 2]);
  scope(() => {
    const [elastic, embeddings] = [
      requireGrad(tensor(Float64Array.of(0.3, -0.2, 0.1))),
      requireGrad(fill([3, 4], 0.25, 1.7)),
    ];
    const value = boundaryLoss(normalizeRows(embeddings), labels, { ...fixed, elastic });
    assert.ok(within(4 * value.item(), vectors.AdvBCT_p2s.loss, FLOAT32));
    const [dW, dF] = gradients(value, [elastic, embeddings]);
    assert.ok(
      gap(
        toNumbers(dW!).map((g) => 4 * g),
        vectors.AdvBCT_p2s.gw,
      ) < FLOAT32,
    );
    assert.ok(
      gap(
        toNumbers(dF!).map((g) => 4 * g),
        vectors.AdvBCT_p2s.gfeat.flat(),
      ) < FLOAT32,
    );
  });
  const elastic = tensor(Float64Array.of(0.3, -0.2, 0.1));
  const ofEmbeddings = (x: Tensor): Tensor => boundaryLoss(normalizeRows(x), labels, { ...fixed, elastic });
  assert.ok(gradientGap(ofEmbeddings, fill([3, 4], 0.25, 1.7)) < DIFFERENCES);
  const atCentres = (): Tensor => boundaryLoss(fixed.centres, labels, { ...fixed, elastic });
  assert.equal(scope(atCentres).item(), 0, 'within the boundary nothing is asked');
});

test('AdvBCT: discriminator and reversed gradient equal the reference (8.11)', () =>
  scope(() => {
    const net = new Discriminator(4, 100, new Rng(0));
    const into = (value: Tensor, numbers: Tensor): Tensor => noGrad(() => copy_(value, numbers));
    into(net.dFc1.weight, fill([100, 4], 0.1, 0.13, 0.5));
    into(net.dFc1.bias!, fill([100], 0.2, 0.31, 0.1));
    into(net.dFc2.weight, fill([2, 100], 0.3, 0.17, 0.1));
    into(net.dFc2.bias!, fill([2], 0.4, 0.7, 0.1));
    const embeddings = requireGrad(fill([4, 4], 0.25, 1.7, 1, 'float32'));
    const news = net.forward(reverseGradient(normalizeRows(embeddings), 0.5), { train: true });
    const olds = net.forward(float32(fillUnitRows([4, 4], 0.5, 0.9)), { train: true });
    assert.ok(gap(news, vectors.AdvBCT_adv.out_new.flat()) < FLOAT32);
    assert.ok(gap(olds, vectors.AdvBCT_adv.out_old.flat()) < FLOAT32);
    const loss = -(mean(narrow(news, 1, 0, 1)).item() + mean(narrow(olds, 1, 1, 1)).item());
    assert.ok(within(loss, vectors.AdvBCT_adv.loss, FLOAT32));
    const [dF] = gradients(mean(narrow(news, 1, 0, 1)), [embeddings]);
    assert.ok(
      gap(
        toNumbers(dF!).map((g) => -g),
        vectors.AdvBCT_adv.gx.flat(),
      ) < FLOAT32,
    );
    const state = new Map(net.state());
    assert.ok(gap(toNumbers(state.get('d_bn1.running_mean')!).slice(0, 4), vectors.AdvBCT_adv.bn_rm_first4) < FLOAT32);
    assert.ok(gap(toNumbers(state.get('d_bn1.running_var')!).slice(0, 4), vectors.AdvBCT_adv.bn_rv_first4) < FLOAT32);
    net.dispose();
  }));

test('AdvBCT: terms weigh as published, and the adversary’s gradient turns with the progress', () =>
  scope(() => {
    const { centres, largest } = meta();
    const running = advbct.start(
      { radius: 0.4, boundaryWeight: 4, adversarialWeight: 4, hidden: 8 },
      setupOf({ oldDim: 4, classes: 3 }),
    );
    const old = {
      oldEmbedding: float32(fillUnitRows([3, 4], 0.5, 0.9)),
      oldBoundaries: {
        centres: tensor(centres, { shape: [3, 4] }),
        radii: tensor(largest),
        several: tensor(Float32Array.of(1, 1, 0)),
      },
    };
    const toward = (progress: number): number[] => {
      const embeddings = requireGrad(fill([3, 4], 0.25, 1.7, 1, 'float32'));
      const head = zeroHead(zeros([3, 4]));
      const step = stepOf({ embeddings, labels: int64([0, 1, 2]), old }, { progress, epoch: 3, epochs: 10, head });
      const terms = running.terms(step);
      assert.deepEqual([terms['boundary']!.weight, terms['adversarial']!.weight], [4, 4 * 0.8]);
      backward(termOf(terms, 'adversarial'));
      return toNumbers(embeddings.grad!);
    };
    for (const [progress, strength] of Object.entries(vectors.AdvBCT_alpha as Record<string, number>)) {
      const [there, whole] = [toward(Number(progress)), toward(1)];
      const ratio = there[0]! / whole[0]!;
      assert.ok(within(ratio, strength / vectors.AdvBCT_alpha['1.0'], 1e-4), `${progress}: ${ratio}`);
    }
    for (const module of Object.values(running.modules!)) module.dispose();
  }));
