import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { setupOf, stepOf, termOf } from '../../test/helpers/step.ts';
import { scope, type Tensor, tensor, to, toNumbers } from '../torch/index.ts';
import { bct } from './bct.ts';
import { ndpp } from './ndpp.ts';
import { influenceLoss } from './parts/influence.ts';
import { addToClassSums_, type PerturbationOptions, perturbPrototypes } from './parts/prototype-perturbation.ts';

const DIM = 4;
type Rows = readonly (readonly number[])[];
const matrix = (rows: Rows): Tensor =>
  tensor(Float64Array.from(rows.flat()), { shape: [rows.length, rows[0]!.length] });
const rowsOf = (x: Tensor): number[][] => {
  const [all, dim] = [toNumbers(x), x.shape[1]!];
  return Array.from({ length: x.shape[0]! }, (_, i) => all.slice(i * dim, (i + 1) * dim));
};
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, d) => sum + x * b[d]!, 0);
const toUnit = (a: readonly number[]): number[] => a.map((x) => x / Math.max(Math.sqrt(dot(a, a)), 1e-12));
const isZero = (a: readonly number[]): boolean => a.every((x) => x === 0);

/** The rule, pair by pair. */
function perturbSlowly(old: Rows, sums: Rows, { neighbours, strength }: PerturbationOptions): number[][] {
  const news = sums.map(toUnit);
  return old.map((p, c) => {
    const others = old.map((_, j) => j).filter((j) => j !== c && !isZero(old[j]!));
    const nearest = others.sort((a, b) => dot(p, old[b]!) - dot(p, old[a]!)).slice(0, neighbours);
    const moved = [...p];
    for (const j of nearest) {
      if (isZero(p) || isZero(news[c]!) || isZero(news[j]!)) continue;
      const w = Math.max(0, dot(p, old[j]!) - dot(news[c]!, news[j]!));
      for (let d = 0; d < p.length; d++) moved[d]! += strength * w * (p[d]! - old[j]![d]!);
    }
    return toUnit(moved);
  });
}

/** Unit old prototypes and sums of new embeddings; of the classes in `lost` there are none. */
function someClasses(classes: number, lost: { readonly old?: number; readonly new?: number } = {}) {
  const without = (rows: number[][], lostClass = -1): Rows =>
    rows.map((row, c) => (c === lostClass ? row.map(() => 0) : row));
  const old = scope(() => rowsOf(fillUnitRows([classes, DIM], 0.7, 0.55)));
  const sums = scope(() => rowsOf(fill([classes, DIM], 0.2, 1.7, 9)));
  return { old: without(old, lost.old), sums: without(sums, lost.new) };
}

test('perturbed prototypes equal loops over pairs of classes: more than one block, fewer classes than neighbours, lost ones', () => {
  for (const [classes, neighbours, strength] of [
    [261, 6, 1],
    [12, 3, 2.5],
    [4, 10, 1],
    [1, 10, 1],
  ] as const)
    scope(() => {
      const { old, sums } = someClasses(classes, classes > 1 ? { old: 2, new: 1 } : {});
      const options = { neighbours, strength };
      const found = perturbPrototypes(matrix(old), matrix(sums), options);
      assert.ok(gap(found, perturbSlowly(old, sums, options).flat()) < PRINTED, `${classes} classes`);
      if (classes === 1) return;
      const rows = rowsOf(found);
      assert.ok(isZero(rows[2]!), 'a class without an old prototype keeps zeros');
      assert.deepEqual(rows[1], old[1], 'one without new embeddings keeps its prototype');
      assert.ok(gap(found, old.flat()) > 0.01, 'others move');
    });
});

test('two close old classes that the new model separates move apart; two that it does not separate stay', () =>
  scope(() => {
    const old = [[1, 0.1, 0, 0], [1, -0.1, 0, 0], [0, 0, 1, 0.1], [0, 0, 1, -0.1]].map(toUnit); // biome-ignore format: pairs
    const news = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.05], [0, 0, 1, -0.05]]; // biome-ignore format: pairs
    const options = { neighbours: 1, strength: 1 };
    const moved = rowsOf(perturbPrototypes(matrix(old), matrix(news), options));
    assert.ok(dot(moved[0]!, moved[1]!) < dot(old[0]!, old[1]!) - 0.1, `${dot(moved[0]!, moved[1]!)}`);
    assert.deepEqual(moved.slice(2), old.slice(2));
    const [further] = rowsOf(perturbPrototypes(matrix(old), matrix(news), { ...options, strength: 2 }));
    assert.ok(dot(further!, old[0]!) < dot(moved[0]!, old[0]!), 'strength moves further');
  }));

test('the gradient towards perturbed prototypes equals finite differences', () => {
  const { old, sums } = someClasses(6);
  const labels = int64([0, 5, 2]);
  const term = (embeddings: Tensor): Tensor => {
    const prototypes = perturbPrototypes(matrix(old), matrix(sums), { neighbours: 3, strength: 2 });
    return influenceLoss(embeddings, prototypes, labels, { scale: 8, marginCos: 0 });
  };
  assert.ok(gradientGap(term, fill([3, DIM], 0.1, 1.3)) < DIFFERENCES);
});

test('rows are added to the sums of their classes, several of a batch to one', () =>
  scope(() => {
    const sums = matrix([[1, 2], [0, 0], [5, 0]]); // biome-ignore format: rows
    addToClassSums_(sums, matrix([[1, 1], [2, 0], [0, 4]]), int64([2, 0, 2])); // biome-ignore format: rows
    assert.deepEqual(toNumbers(sums), [3, 2, 0, 0, 6, 5]);
  }));

/** The influence of three steps in each of two epochs, and what the method's prototypes were in the second. */
async function twoEpochs(method: typeof ndpp | typeof bct, given: object) {
  const classes = 5;
  const running = method.start(method.options.parse(given) as never, setupOf({ oldDim: DIM, newDim: DIM, classes }));
  const oldPrototypes = scope(() => to(fillUnitRows([classes, DIM], 0.7, 0.55), { dtype: 'float32' }));
  const old = { oldPrototypes };
  const embedTrainSet = () => Promise.reject(new Error('not needed'));
  const losses: number[] = [];
  for (const epoch of [0, 1]) {
    await running.onEpoch?.({ epoch, old, embedTrainSet });
    for (const step of [0, 1, 2])
      scope(() => {
        const embeddings = fill([4, DIM], epoch + step, 1.3, 1, 'float32');
        const labels = int64([0, 1, 2, 3].map((i) => (i + step) % (classes - 1))); // none of the last class
        losses.push(termOf(running.terms(stepOf({ embeddings, labels, old }, { epoch })), 'influence').item());
      });
  }
  const prototypes = scope(() => toNumbers(running.state?.['prototypes'] ?? oldPrototypes));
  for (const part of Object.values(running.state ?? {})) part.dispose();
  const olds = scope(() => toNumbers(oldPrototypes));
  oldPrototypes.dispose();
  return { losses, prototypes, olds };
}

test('the first epoch is BCT’s, and so are all with strength 0, in every digit; then prototypes follow the new embeddings', async () => {
  const [plain, still, moving] = [
    await twoEpochs(bct, { scale: 16 }),
    await twoEpochs(ndpp, { scale: 16, strength: 0 }),
    await twoEpochs(ndpp, { scale: 16, neighbours: 2, strength: 2 }),
  ];
  assert.deepEqual(still.losses, plain.losses);
  assert.deepEqual(moving.losses.slice(0, 3), plain.losses.slice(0, 3));
  assert.ok(moving.losses.slice(3).every((loss, i) => Math.abs(loss - plain.losses[3 + i]!) > 1e-3));
  const last = (all: readonly number[]): readonly number[] => all.slice(4 * DIM);
  assert.deepEqual(last(moving.prototypes), last(moving.olds), 'a class that no batch had');
});
