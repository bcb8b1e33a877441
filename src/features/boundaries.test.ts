// Class boundaries, and credibility by entropy: golden numbers and slow twins.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { gap } from '../../test/helpers/formula.ts';
import { golden as parity } from '../../test/helpers/golden.ts';
import { inMemory } from '../../test/helpers/rows.ts';
import { Rng } from '../base/rng.ts';
import { classDirections_, classSpread, tensor, toFloat32, toFloat64, unitSquares, zeros } from '../torch/index.ts';
import { boundaries, withoutOutliers } from './boundaries.ts';
import type { LabelledRows } from './class-blocks.ts';
import { denoise } from './denoise.ts';
import { credibleByEntropy } from './entropy.ts';
import { FeatureSet, openBoundaries, writeBoundaries, writeFeatureSet, writeNpy } from './index.ts';

/** Golden numbers are printed with six or seven digits of float32 computations. */
const PRINTED_F32 = 2e-6;

/** The rows of 8.11. */
const nine = inMemory(
  Float32Array.from({ length: 36 }, (_, k) => Math.sin(0.4 + 0.83 * k)),
  [0, 0, 0, 0, 0, 1, 1, 1, 2],
  4,
);

test('boundaries have the centres and radii of 8.11', () => {
  const { centres, largest, kept } = boundaries(nine);
  const expected = parity('parity_vectors.json').methods.AdvBCT_meta as Record<
    string,
    { readonly center: number[]; readonly radius: number[] }
  >;
  for (const [label, { center, radius }] of Object.entries(expected)) {
    const at = Number(label) * 4;
    assert.ok(gap(centres.slice(at, at + 4), center) < PRINTED_F32, `centre ${label}`);
    assert.ok(Math.abs(largest[Number(label)]! - radius.at(-1)!) < PRINTED_F32, `radius ${label}`);
    assert.equal(kept[Number(label)], radius.length);
    const members = Array.from(nine.labels().keys()).filter((i) => nine.labels()[i] === Number(label));
    const distances = Float64Array.from(members, (i) => {
      const row = nine.rows([i]);
      const length = Math.hypot(...row);
      return Math.hypot(...row.map((v, d) => v / length - center[d]!));
    });
    assert.ok(gap(withoutOutliers(distances.sort()), radius) < PRINTED_F32, `every distance of class ${label}`);
  }
});

test('a class without rows has a centre of zeros and no distance, wherever it stands; zero rows stay zeros', () => {
  const dim = 1 << 17; // two rows are a block
  const sparse = inMemory(new Float32Array(3 * dim).fill(2, 0, 2 * dim), [1, 1, 4], dim);
  const wider = { ...sparse, info: { ...sparse.info, classes: 9 } };
  const { centres, largest, kept } = boundaries(wider);
  assert.deepEqual(Array.from(kept), [0, 2, 0, 0, 1, 0, 0, 0, 0]);
  assert.ok(Math.max(...largest) < 1e-6);
  for (let label = 0; label < 9; label++)
    assert.ok(Math.abs(centres[label * dim]! - (label === 1 ? dim ** -0.5 : 0)) < 1e-9, `${label}`);
});

/** Sums of double precision, in another order. */
const DOUBLE = 1e-12;
/** Of numbers that are rounded to float32 once. */
const SINGLE = 1e-7;

test('the kernels give what loops give, for dimensions at the edges of what registers hold', () => {
  const rng = new Rng('edges');
  const starts = Int32Array.of(0, 5, 5, 12);
  for (const dim of [1, 3, 15, 16, 17, 31, 32, 33, 50, 64, 129]) {
    const rows = Array.from({ length: 12 }, (_, i) =>
      Float32Array.from({ length: dim }, () => (i === 7 ? 0 : rng.uniform() - 0.4)),
    );
    const factors = Float64Array.from({ length: dim }, () => rng.uniform());
    const unit = rows.map((row) => Float64Array.from(row, (v) => v / (Math.hypot(...row) || 1)));
    const total = (of: readonly ArrayLike<number>[], d: number): number => of.reduce((sum, row) => sum + row[d]!, 0);
    const each = <T>(of: (d: number) => T): T[] => Array.from({ length: dim }, (_, d) => of(d));
    const ofClass = (k: number) => [starts[k]!, starts[k + 1]!] as const;
    const centres = [0, 1, 2].map((k) =>
      each((d) => total(unit.slice(...ofClass(k)), d) / Math.max(1, starts[k + 1]! - starts[k]!)),
    );
    const apart = unit.map((row, i) =>
      Math.sqrt(row.reduce((sum, v, d) => sum + factors[d]! * (v - centres[i < 5 ? 0 : 2]![d]!) ** 2, 0)),
    );
    const x = tensor(Float32Array.from(rows.flatMap((row) => Array.from(row))), { shape: [12, dim] });
    const [means, distances] = classSpread(x, tensor(starts), tensor(factors));
    assert.ok(gap(toFloat64(means), centres.flat()) < DOUBLE, `means, ${dim}`);
    assert.ok(gap(toFloat64(distances), apart) < DOUBLE, `distances, ${dim}`);
    const squares = each((d) => unit.reduce((sum, row) => sum + row[d]! ** 2, 0));
    assert.ok(gap(toFloat64(unitSquares(x)), squares) < DOUBLE, `squares, ${dim}`);
    const into = zeros([3, dim]);
    classDirections_(into, x, tensor(starts));
    const directions = [0, 1, 2].flatMap((k) => {
      const sums = each((d) => total(rows.slice(...ofClass(k)), d));
      return sums.map((v) => v / (Math.hypot(...sums) || 1));
    });
    assert.ok(gap(toFloat32(into), directions) < SINGLE, `directions, ${dim}`);
  }
});

test('the kernels refuse classes that do not fit the rows', () => {
  const x = zeros([3, 2]);
  for (const [starts, message] of [
    [[0, 2], /from 0 to the number of rows/],
    [[1, 3], /from 0 to the number of rows/],
    [[0, 2, 1, 3], /must not fall/],
  ] as const)
    assert.throws(() => classDirections_(zeros([starts.length - 1, 2]), x, tensor(Int32Array.from(starts))), message);
  const starts = tensor(Int32Array.of(0, 3));
  assert.throws(() => classSpread(x, starts, zeros([3], { dtype: 'float64' })), /factors \[D\] in float64/);
  assert.throws(() => classDirections_(zeros([2, 2]), x, starts), /room \[K, D\]/);
  assert.throws(() => unitSquares(zeros([3, 2], { dtype: 'float64' })), /in float32/);
});

test('distances beyond 1.5 interquartile ranges are dropped, quartiles being elements of the list', () => {
  assert.deepEqual(
    Array.from(withoutOutliers(Float64Array.of(0.1, 0.2, 0.21, 0.22, 0.23, 0.9))),
    [0.2, 0.21, 0.22, 0.23],
  );
  assert.equal(withoutOutliers(Float64Array.of(0.1, 0.2, 9)).length, 3, 'three say nothing about quartiles');
  assert.equal(withoutOutliers(Float64Array.of(1, 1, 1, 1, 1)).length, 5);
});

test('boundaries are written, read back, and refused when another artefact or size stands there', async (t) => {
  const folder = testFolder(t);
  const path = join(folder, 'features');
  const labels = nine.labels();
  await writeFeatureSet(
    path,
    { dim: 4, classes: 3, model: null, dataset: null, flip: 'none', labels, families: new Int32Array(9).fill(-1) },
    {},
    ({ append }) => append(nine.rows([0, 1, 2, 3, 4, 5, 6, 7, 8])),
  );
  using features = FeatureSet.open(path);
  await writeBoundaries(join(folder, 'b'), features);
  const { info: _, digest: __, ...read } = openBoundaries(join(folder, 'b'));
  assert.deepEqual(read, boundaries(nine));
  assert.throws(() => openBoundaries(path), /is a "features", wanted class boundaries\n.*mixbct boundaries/);
  writeNpy(join(folder, 'b', 'radii.npy'), '<f4', new Float32Array(2));
  assert.throws(() => openBoundaries(join(folder, 'b')), /radii\.npy: has shape \[2\], wanted \[3\]/);
});

/** The rule of 4.4 as its definition reads. */
function entropySlowly(features: LabelledRows): number[] {
  const { dim, count, classes } = features.info;
  const labels = features.labels();
  const x = Array.from({ length: count }, (_, i) => Array.from(features.rows([i])));
  const unit = x.map((row) => row.map((v) => v / Math.hypot(...row)));
  const members = Array.from({ length: classes }, (_, c) => unit.filter((__, i) => labels[i] === c));
  const centres = members.map((rows) =>
    Array.from({ length: dim }, (_, d) => rows.reduce((s, r) => s + r[d]!, 0) / rows.length),
  );
  const away = (row: readonly number[], centre: readonly number[]): number =>
    Math.hypot(...row.map((v, d) => v - centre[d]!));
  const variance = members.map((rows, c) => {
    const d = rows.map((row) => away(row, centres[c]!));
    const mean = d.reduce((s, v) => s + v, 0) / d.length;
    return d.reduce((s, v) => s + (v - mean) ** 2, 0) / d.length + 1e-10;
  });
  return unit.map((row, i) => {
    const logits = centres.map((centre) => -away(row, centre) / variance[labels[i]!]!);
    const most = Math.max(...logits);
    const total = logits.reduce((s, z) => s + Math.exp(z - most), 0);
    const p = logits.map((z) => Math.exp(z - most) / total);
    const entropy = -p.reduce((s, q) => s + (q > 0 ? q * Math.log(q) : 0), 0);
    return entropy <= Math.log(classes) / 2 ? 1 : 0;
  });
}

test('credibility by entropy equals its definition, keeps the sure and drops the doubtful (D-13)', () => {
  const rng = new Rng('entropy');
  const [classes, each, dim] = [8, 12, 6];
  const centres = Array.from({ length: classes * dim }, () => rng.uniform() - 0.5);
  const rows = Float32Array.from({ length: classes * each * dim }, (_, k) => {
    const label = Math.floor(k / (each * dim));
    const spread = Math.floor(k / dim) % each < 9 ? 0.1 : 2; // the last three of each class are anywhere
    return centres[label * dim + (k % dim)]! + spread * (rng.uniform() - 0.5);
  });
  const labels = Array.from({ length: classes * each }, (_, i) => Math.floor(i / each));
  const features = inMemory(rows, labels, dim);
  const mask = Array.from(credibleByEntropy(features));
  assert.deepEqual(mask, entropySlowly(features));
  assert.deepEqual(mask, Array.from(denoise(features, { keep: 0.1, rule: 'entropy' })));
  const kept = (wanted: (i: number) => boolean): number =>
    mask.filter((bit, i) => wanted(i % each) && bit === 1).length / mask.filter((_, i) => wanted(i % each)).length;
  assert.ok(kept((i) => i < 9) > kept((i) => i >= 9), `${kept((i) => i < 9)} against ${kept((i) => i >= 9)}`);
});
