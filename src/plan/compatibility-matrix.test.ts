import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeModels, newModels, seenWith, upgradeLabels, upgradeSet } from '../../test/helpers/upgrades.ts';
import { Rng } from '../base/rng.ts';
import { judgeMatrix } from './chain.ts';
import { averageCompatibility, averageMultiModelAccuracy, type Matrix, measureMatrix } from './compatibility-matrix.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;
const { dim } = upgradeSet;

test('AC and AM of a worked example of three generations', () => {
  const matrix = [
    [0.5, 0.1, 0.1],
    [0.6, 0.7, 0.2],
    [0.5, 0.8, 0.9],
  ];
  // 0.6 > 0.5 and 0.8 > 0.7; 0.5 is not above 0.5
  assert.equal(averageCompatibility(matrix), 2 / 3);
  assert.ok(Math.abs(averageMultiModelAccuracy(matrix) - (0.5 + 0.6 + 0.7 + 0.5 + 0.8 + 0.9) / 6) < DOUBLE);
  const unequal: Matrix<number> = [
    [0.5, null],
    [null, 0.7],
  ];
  assert.equal(averageCompatibility(unequal), 0, 'what cannot be compared is not compatible');
  assert.ok(Math.abs(averageMultiModelAccuracy(unequal) - 1.2 / 3) < DOUBLE);
});

test('AC and AM are those of the sums of the papers, written out', () => {
  const rng = new Rng('matrices');
  for (let size = 2; size <= 7; size++) {
    const matrix = Array.from({ length: size }, () =>
      Array.from({ length: size }, () => Math.round(8 * rng.uniform()) / 8),
    );
    let [ac, am] = [0, 0];
    for (let i = 0; i < size; i++)
      for (let j = 0; j <= i; j++) {
        am += matrix[i]![j]!;
        if (j < i && matrix[i]![j]! > matrix[j]![j]!) ac++;
      }
    assert.ok(Math.abs(averageCompatibility(matrix) - (2 / (size * (size - 1))) * ac) < DOUBLE);
    assert.ok(Math.abs(averageMultiModelAccuracy(matrix) - (2 / (size * (size + 1))) * am) < DOUBLE);
  }
});

test('the matrix has the tests of an evaluation, every query model on every gallery model', () => {
  const [resamples, metric] = [50, 'rank-1'];
  const evaluation = judgeModels(['compatible', 'alien'], { resamples });
  const families = new Int32Array(upgradeLabels.length).fill(-1);
  const rows = {
    old: seenWith(1, { seed: 'old' }),
    compatible: newModels.compatible().rows,
    alien: newModels.alien().rows,
  };
  const names = ['old', 'compatible', 'alien', 'wide'] as const;
  const wide = new Float32Array(upgradeLabels.length * 2 * dim).map((_, i) => (i % (2 * dim) < dim ? rows.old[Math.floor(i / (2 * dim)) * dim + (i % (2 * dim))]! : 0)); // biome-ignore format: short
  const { matrix, chance } = measureMatrix(
    names.map((name) => (name === 'wide' ? { name, dim: 2 * dim, rows: () => wide.slice() } : { name, dim, rows: () => rows[name].slice() })), // biome-ignore format: short
    { labels: upgradeLabels, families, metric, seed: 0, resamples },
  );
  assert.equal(chance, 1 / 60);
  const report = judgeMatrix(names, matrix, chance);
  for (const { query, gallery, judged } of evaluation.tests) {
    const [i, j] = [names.indexOf(query as 'old'), names.indexOf(gallery as 'old')];
    assert.deepEqual(
      report.matrix[i]![j],
      judged!.find((one) => one.metric === metric)!.value,
      `${query} → ${gallery}`,
    );
  }
  assert.deepEqual(report.matrix[3]!.slice(0, 3), [null, null, null], 'unequal dimensions cannot be compared');
  assert.deepEqual(report.matrix[3]![3], report.matrix[0]![0], 'zeros appended change nothing');
  const pairOf = (query: string, gallery: string) => report.pairs.find((one) => one.query === query && one.gallery === gallery)!; // biome-ignore format: short
  const { comparisons } = evaluation.candidates[0]!;
  const { difference, criterion } = comparisons.find((one) => one.metric === metric)!;
  assert.deepEqual(pairOf('compatible', 'old'), {
    query: 'compatible',
    gallery: 'old',
    overOld: difference,
    criterion,
  });
  assert.equal(criterion, 'met');
  assert.equal(pairOf('alien', 'compatible').criterion, 'missed');
  assert.equal(pairOf('wide', 'old').criterion, 'not comparable');
  assert.deepEqual(report.averageCompatibility, { value: 1 / 6, pairs: 6, met: 1 });
  assert.deepEqual(report.worst, { query: 'wide', gallery: 'old' });
  const { value, low, high } = report.averageAccuracy;
  assert.ok(low < value && value < high);
  assert.throws(
    () => measureMatrix([{ name: 'a', dim, rows: () => rows.old }, { name: 'a', dim, rows: () => rows.old }], { labels: upgradeLabels, families, metric, seed: 0 }), // biome-ignore format: short
    /two models are called a/,
  );
});
