import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testEncoder } from '../../test/helpers/encoder.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { gap } from '../../test/helpers/formula.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { inMemory } from '../../test/helpers/rows.ts';
import { writeJson } from '../artifacts/json-file.ts';
import { NonFiniteError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { encodePgm } from '../data/decode.ts';
import { openDataset } from '../data/index.ts';
import { setThreads, tensor, threads } from '../torch/index.ts';
import { boundaries } from './boundaries.ts';
import { classBlocks, classMeansAndDistances, type LabelledRows } from './class-blocks.ts';
import { denoise } from './denoise.ts';
import {
  extractFeatures,
  FeatureSet,
  type FeatureSetContent,
  importNpy,
  NpyFile,
  openCredible,
  openPrototypes,
  writeCredible,
  writeFeatureSet,
  writeNpy,
  writePrototypes,
} from './index.ts';
import { classPrototypes } from './prototypes.ts';

/** Golden numbers are printed with six or seven digits of float32 computations. */
const PRINTED_F32 = 2e-6;

const golden = inMemory(
  Float32Array.from({ length: 65 }, (_, k) => 2 * Math.sin(0.3 + 0.77 * k)),
  [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 3],
  5,
);

import { requireSameDataset } from '../data/dataset-reference.ts';

test('denoise has the masks of 8.12', () => {
  assert.deepEqual(Array.from(denoise(golden, { keep: 0.9 })), new Array(13).fill(1), 'classes below ten lose nothing');
  assert.deepEqual(Array.from(denoise(golden, { keep: 0.5 })).slice(0, 11), [1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1]);
});

test('distances to the class mean are those of 8.12', () => {
  const factors = new Float64Array(5);
  for (let d = 0; d < 5; d++) {
    let sum = 0;
    for (let row = 0; row < 13; row++) {
      const x = Array.from(golden.rows([row]));
      sum += x[d]! ** 2 / x.reduce((s, v) => s + v * v, 0);
    }
    factors[d] = 1 / sum;
  }
  const distances = (...rows: number[]): Float64Array =>
    classMeansAndDistances(
      {
        starts: Int32Array.of(0, rows.length),
        tensor: () => tensor(golden.rows(rows), { shape: [rows.length, 5] }),
      },
      factors,
    ).distances;
  assert.ok(
    gap(distances(0, 1, 2, 3, 4, 5), [0.521203, 0.701172, 0.598757, 0.61239, 0.681908, 0.531196]) < PRINTED_F32,
  );
  assert.ok(gap(distances(6, 7, 8, 9), [0.481395, 0.733723, 0.652952, 0.478655]) < PRINTED_F32);
  assert.ok(gap(distances(11, 12), [0.593868, 0.593868]) < PRINTED_F32);
});

test('class means are those of 8.12', () => {
  const expected = [
    0.321614, 0.6404961, 0.5980238, 0.2181595, -0.2847860, -0.4880706, -0.6196418, -0.4016244, 0.0429810, 0.4633374,
    0.5374718, 0.5758706, 0.2893754, -0.1603792, -0.5196512, -0.3684930, -0.6454352, -0.5582367, -0.1560930, 0.3341151,
  ]; // biome-ignore format: a matrix
  assert.ok(gap(classPrototypes(golden), expected) < PRINTED_F32);
});

/** Denoising as its definition reads, all in memory. */
function denoiseSlowly(features: LabelledRows, keep: number, columnNormalize: boolean): number[] {
  const { dim, count, classes } = features.info;
  const x = Array.from({ length: count }, (_, i) => Array.from(features.rows([i])));
  for (const row of x) {
    const length = Math.hypot(...row);
    if (length > 0) for (const d of row.keys()) row[d]! /= length;
  }
  for (let d = 0; d < dim && columnNormalize; d++) {
    const length = Math.hypot(...x.map((row) => row[d]!));
    for (const row of x) row[d]! /= length;
  }
  const mask = new Array<number>(count).fill(0);
  for (let label = 0; label < classes; label++) {
    const rows = Array.from(features.labels().keys()).filter((i) => features.labels()[i] === label);
    const mean = Array.from({ length: dim }, (_, d) => rows.reduce((sum, i) => sum + x[i]![d]!, 0) / rows.length);
    const distance = (i: number): number => Math.hypot(...x[i]!.map((v, d) => v - mean[d]!));
    const farther = (i: number): number =>
      rows.filter((j) => distance(j) < distance(i) || (distance(j) === distance(i) && j < i)).length;
    for (const i of rows) if (farther(i) < Math.ceil(keep * rows.length)) mask[i] = 1;
  }
  return mask;
}

// The second fills the lanes of the sums four times, and leaves a rest.
for (const dim of [7, 150])
  test(`denoise and average equal their slow twins, with labels in any order and a zero row, ${dim} dimensions`, () => {
    const rng = new Rng('twins');
    const count = 60;
    const labels = Array.from({ length: count }, (_, i) => (i < 4 ? i : rng.integer(4)));
    const data = Float32Array.from({ length: count * dim }, (_, i) => (i < dim ? 0 : rng.uniform() - 0.3));
    const features = inMemory(data, labels, dim);
    for (const keep of [0.3, 0.5, 0.9, 1])
      for (const columnNormalize of [true, false])
        assert.deepEqual(
          Array.from(denoise(features, { keep, columnNormalize })),
          denoiseSlowly(features, keep, columnNormalize),
          `${keep} ${columnNormalize}`,
        );
    const prototypes = classPrototypes(features);
    for (let label = 0; label < 4; label++) {
      const sum = new Array<number>(dim).fill(0);
      for (let i = 0; i < count; i++)
        if (labels[i] === label) for (let d = 0; d < dim; d++) sum[d]! += data[i * dim + d]!;
      const length = Math.hypot(...sum);
      assert.ok(
        gap(
          prototypes.subarray(label * dim, (label + 1) * dim),
          sum.map((v) => v / length),
        ) < 1e-7,
      );
    }
    assert.throws(() => denoise(inMemory(new Float32Array(), [], dim), { keep: 0.9 }), /no features to denoise/);
    assert.throws(() => denoise(features, { keep: 0 }), /keep 0: wanted a share above 0/);
    assert.throws(
      () =>
        classPrototypes(
          inMemory(
            data,
            labels.map((l) => l * 2),
            dim,
          ),
        ),
      /class 1 of 7 has no features/,
    );
  });

test('of equally far rows the earlier are kept', () => {
  const features = inMemory(Float32Array.of(3, 4, 1, 0, 3, 4, 3, 4, 6, 8, 1, 0), [0, 1, 0, 0, 0, 1], 2);
  const kept = (keep: number) => Array.from(denoise(features, { keep, columnNormalize: false }));
  assert.deepEqual(kept(0.5), [1, 1, 1, 0, 0, 0]);
  assert.deepEqual(kept(0.75), [1, 1, 1, 1, 0, 1]);
});

test('rows that operators read from a file give what rows in memory give, whatever the threads; a file cut short is told', (t) => {
  const rng = new Rng('file');
  const [count, dim, before] = [3000, 96, threads()];
  const data = Float32Array.from({ length: count * dim }, (_, i) => (i < dim ? 0 : rng.uniform() - 0.3));
  const path = join(testFolder(t), 'rows.npy');
  writeNpy(path, '<f4', data, [dim]);
  using npy = new NpyFile(path, ['<f4']);
  const ascending = Int32Array.from({ length: count }, (_, i) => Math.floor(i / 8) + (i > 1000 ? 2 : 0));
  for (const labels of [ascending, ascending.map((_, i) => (i < 40 ? i : rng.integer(40)))]) {
    const plain = inMemory(data, Array.from(labels), dim);
    const memory = { ...plain, rows: (rows: ArrayLike<number>) => npy.gather(rows), labels: () => labels };
    const file = { ...memory, rows: () => assert.fail('not read twice'), file: () => npy.place() };
    for (const columnNormalize of [true, false])
      assert.deepEqual(denoise(file, { keep: 0.7, columnNormalize }), denoise(memory, { keep: 0.7, columnNormalize }));
    setThreads(1);
    const own = boundaries(file);
    assert.deepEqual(own, boundaries(memory));
    setThreads(2);
    assert.deepEqual(boundaries(file), own);
  }
  setThreads(before);
  truncateSync(path, 5000);
  assert.throws(
    () => boundaries({ ...inMemory(data, Array.from(ascending), dim), file: () => npy.place() }),
    /ends at byte 5000, sooner than expected/,
  );
});

test('rows of many blocks, in no order, some classes larger than a block: results are those of the slow twins', () => {
  const rng = new Rng('blocks');
  const labels = [2, 0, 1, 2, 4, 2, 0, 2, 2, 4, 3, 2, 2, 0];
  const dim = 1 << 16; // four rows are a block
  const features = inMemory(
    Float32Array.from({ length: labels.length * dim }, () => rng.uniform() - 0.3),
    labels,
    dim,
  );
  const blocks = Array.from(classBlocks(features), ({ first, starts, order }) => [first, ...starts, ...order!]);
  assert.deepEqual(blocks, [
    [0, 0, 3, 4, 1, 6, 13, 2],
    [2, 0, 7, 0, 3, 5, 7, 8, 11, 12],
    [3, 0, 1, 3, 10, 4, 9],
  ]);
  assert.deepEqual(Array.from(denoise(features, { keep: 0.6 })), denoiseSlowly(features, 0.6, true));
  const prototypes = classPrototypes(features);
  for (const label of [0, 2, 4]) {
    const rows = [...labels.keys()].filter((i) => labels[i] === label).map((i) => features.rows([i]));
    const total = rows[0]!.map((_, d) => rows.reduce((sum, row) => sum + row[d]!, 0));
    const length = Math.sqrt(total.reduce((sum, v) => sum + v * v, 0));
    assert.ok(
      gap(
        prototypes.subarray(label * dim, (label + 1) * dim),
        total.map((v) => v / length),
      ) < 1e-7,
    );
  }
});

async function tinyFeatures(folder: string): Promise<{ prefix: string; out: string }> {
  const [prefix, out] = [join(folder, 'set'), join(folder, 'features')];
  await writeTinySet(prefix, { perClass: [4, 5, 3], families: 2 });
  using dataset = openDataset(prefix);
  /** Mean of the left and of the right half: mirroring swaps them. */
  const embed = async (images: Uint8Array, count: number): Promise<Float32Array> => {
    const result = new Float32Array(count * 2);
    for (let i = 0; i < count * 16 * 16; i++)
      result[Math.floor(i / 256) * 2 + (i % 16 < 8 ? 0 : 1)]! += images[i * 3]! / 128;
    return result;
  };
  const encoder = testEncoder({ name: 'halves', digest: 'd', dim: 2, side: 16, embed });
  await extractFeatures(dataset, encoder, { out, batchSize: 5, workers: 0 });
  await extractFeatures(dataset, encoder, { out: `${out}-mean`, batchSize: 5, workers: 1, flip: 'mean' });
  return { prefix, out };
}

test('extraction keeps dataset order, and the mean of both flips is symmetric', async (t) => {
  const { prefix, out } = await tinyFeatures(testFolder(t));
  using features = FeatureSet.open(out);
  using both = FeatureSet.open(`${out}-mean`);
  using dataset = openDataset(prefix);
  assert.deepEqual([features.info.count, features.info.dim, features.info.classes], [12, 2, 3]);
  assert.deepEqual(features.labels(), dataset.labels());
  assert.deepEqual(features.families(), dataset.families());
  assert.equal(features.id(7), null, 'a record set that kept no ids has none to give');
  const [left, right] = features.rows([7]);
  assert.notEqual(left, right);
  assert.deepEqual(Array.from(both.rows([7])), [(left! + right!) / 2, (left! + right!) / 2]);
  assert.deepEqual(
    features.rows([3, 1]),
    Float32Array.of(...features.all().subarray(6, 8), ...features.all().subarray(2, 4)),
  );
  requireSameDataset(features.info, dataset, out);
  assert.throws(
    () => requireSameDataset(features.info, { path: 'other', digest: 'x', size: 12 }, out),
    /made from .*set \(12 images.*does not belong to other/s,
  );
});

test('masks and prototypes are artefacts: whole, checked when opened, never overwritten', async (t) => {
  const folder = testFolder(t);
  const { out } = await tinyFeatures(folder);
  using features = FeatureSet.open(out);
  const [mask, prototypes] = [join(folder, 'credible'), join(folder, 'prototypes')];
  const info = await writeCredible(mask, features, { keep: 0.5 });
  assert.deepEqual([info.count, info.kept], [12, 2 + 3 + 2]);
  assert.equal(
    openCredible(mask).mask.reduce((a, b) => a + b),
    info.kept,
  );
  await writePrototypes(prototypes, features);
  assert.deepEqual(openPrototypes(prototypes).rows, classPrototypes(features));
  await assert.rejects(writeCredible(mask, features, { keep: 0.9 }), /exists already/);
  await writeCredible(mask, features, { keep: 1 }, { force: true });
  assert.equal(openCredible(mask).info.kept, 12);
  assert.throws(
    () => openCredible(prototypes),
    /is a "prototypes", wanted a mask of credible samples\n.*mixbct denoise/,
  );
  assert.throws(() => FeatureSet.open(join(folder, 'none')), /no such folder, wanted a feature set/);
  mkdirSync(join(folder, 'empty'));
  assert.throws(() => FeatureSet.open(join(folder, 'empty')), /is no finished feature set/);
  writeJson(join(out, 'manifest.json'), { ...features.info, count: 11 });
  assert.throws(() => FeatureSet.open(out), /labels\.npy: has shape \[12\], the manifest says \[11\]/);
  writeJson(join(out, 'manifest.json'), { ...features.info, dim: 3 });
  assert.throws(() => FeatureSet.open(out), /features\.npy: has shape \[12, 2\], the manifest says \[12, 3\]/);
  writeJson(join(out, 'manifest.json'), features.info);
  writeNpy(join(out, 'labels.npy'), '<i8', new BigInt64Array(12).fill(3n));
  assert.throws(() => FeatureSet.open(out), /labels\.npy: was changed or damaged since it was made/);
  writeJson(join(out, 'manifest.json'), { ...features.info, files: {} });
  using changed = FeatureSet.open(out);
  assert.throws(() => changed.labels(), /labels\.npy: entry 0 is 3, wanted 0 … 2/);
  rmSync(join(out, 'families.npy'));
  assert.throws(() => FeatureSet.open(out), /families\.npy: no such file/);
});

test('a set that fails midway leaves nothing', async (t) => {
  const folder = testFolder(t);
  const content = {
    dim: 2,
    classes: 1,
    model: null,
    dataset: null,
    flip: 'none' as const,
    labels: new Int32Array(3),
    families: new Int32Array(3),
  };
  await assert.rejects(
    writeFeatureSet(join(folder, 'x'), content, {}, ({ append }) => {
      append(new Float32Array(2));
      throw new Error('stopped');
    }),
    /stopped/,
  );
  assert.deepEqual(readdirSync(folder), []);
});

test('embeddings that are not finite, or do not fit the labels, make no set', async (t) => {
  const folder = testFolder(t);
  const content = {
    dim: 2,
    classes: 1,
    model: null,
    dataset: null,
    flip: 'none' as const,
    labels: new Int32Array(3),
    families: new Int32Array(3),
  };
  const write = (rows: readonly number[], changed: Partial<FeatureSetContent> = {}) =>
    writeFeatureSet(join(folder, 'x'), { ...content, ...changed }, {}, ({ append }) => append(Float32Array.from(rows)));
  await assert.rejects(write([1, 2, 3, Number.NaN, 5, 6]), /x: embedding 1 holds NaN\n.*diverged/);
  await assert.rejects(write([1, 2, 3, Number.NaN, 5, 6]), NonFiniteError);
  const named = { ...content, id: (row: number) => `anna/${row}.jpg` };
  await assert.rejects(write([1, 2, 3, Number.NaN, 5, 6], named), /x: embedding 1 \(anna\/1\.jpg\) holds NaN/);
  await assert.rejects(write([1, 2, 3, 4, 5]), /5 elements are no whole rows of \[2\]/);
  await assert.rejects(write([1, 2, 3, 4]), /2 embeddings, 3 labels, 3 families/);
  await assert.rejects(write([1, 2, 3, 4, 5, 6], { families: new Int32Array(2) }), /3 labels, 2 families/);
  assert.deepEqual(readdirSync(folder), []);
});

test('extraction stops at an image that cannot be read; skipping it marks the row as missing', async (t) => {
  const folder = testFolder(t);
  const images = join(folder, 'images', 'a');
  mkdirSync(images, { recursive: true });
  for (let i = 0; i < 3; i++)
    writeFileSync(join(images, `${i}.pgm`), encodePgm(new Uint8Array(256).fill(50 * i), 16, 16));
  writeFileSync(join(images, '1.pgm'), 'no image');
  using dataset = openDataset(join(folder, 'images'));
  const embed = async (pixels: Uint8Array, count: number): Promise<Float32Array> =>
    Float32Array.from({ length: count }, (_, i) => pixels[i * 256 * 3]!);
  const encoder = testEncoder({ name: 'first pixel', digest: 'd', dim: 1, side: 16, embed });
  const out = join(folder, 'features');
  await assert.rejects(extractFeatures(dataset, encoder, { out, workers: 0 }), /1\.pgm: cannot be read/);
  assert.ok(!existsSync(out));
  const said = reportsOf(t);
  await extractFeatures(dataset, encoder, { out, workers: 0, skipBadImages: true });
  const text = said.text();
  said.restore();
  assert.match(text, /features: 1 of 3 rows have no embedding; they are zeros, marked missing.*\n {2}row 1: .*1\.pgm/);
  using features = FeatureSet.open(out);
  assert.deepEqual(features.all(), Float32Array.of(0, 0, 100));
  assert.deepEqual([features.id(0), features.name(2)], ['a/0.pgm', 'row 2 (a/2.pgm)']);
  assert.deepEqual(features.info.missing.map(({ row, id }) => [row, id]), [[1, 'a/1.pgm']]); // biome-ignore format: short
});

test('arrays from elsewhere become a feature set, or are refused', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  writeNpy(at('f.npy'), '<f4', Float32Array.of(1, 2, 3, 4, 5, 6), [2]);
  writeNpy(at('l.npy'), '<i8', BigInt64Array.of(0n, 1n, 1n));
  const info = await importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('out'));
  assert.deepEqual([info.count, info.dim, info.classes, info.dataset], [3, 2, 2, null]);
  using set = FeatureSet.open(at('out'));
  assert.deepEqual(Array.from(set.families()), [-1, -1, -1]);
  requireSameDataset(set.info, { path: 'p', digest: 'x', size: 3 }, 'out');
  assert.throws(
    () => requireSameDataset(set.info, { path: 'p', digest: 'x', size: 4 }, 'out'),
    /3 rows of unknown origin/,
  );
  writeNpy(at('l.npy'), '<i8', BigInt64Array.of(0n, 1n));
  await assert.rejects(
    importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('b')),
    /l\.npy: has shape \[2\], wanted \[3\]/,
  );
  writeNpy(at('l.npy'), '<i8', BigInt64Array.of(0n, -1n, 0n));
  await assert.rejects(importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('b')), /entry 1 is -1/);
  writeNpy(at('l.npy'), '<i8', BigInt64Array.of(0n, 1n, 2n ** 60n + 1n));
  await assert.rejects(
    importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('b')),
    /entry 2 is 1152921504606846977/,
  );
  writeNpy(at('l.npy'), '<i8', BigInt64Array.of(0n, 1n, 1n));
  writeNpy(at('f.npy'), '<f4', Float32Array.of(1, 2, 3, Number.NaN, 5, 6), [2]);
  await assert.rejects(importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('b')), /row 1 holds NaN/);
  writeNpy(at('f.npy'), '<f4', new Float32Array(0), [2]);
  await assert.rejects(importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('b')), /f\.npy: holds no rows/);
  assert.equal(existsSync(at('b')), false);
});
