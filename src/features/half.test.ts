import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { fromHalf, toHalf } from '../base/half.ts';
import { Rng } from '../base/rng.ts';
import { scope, tensor, to, toBytes, toFloat32 } from '../torch/index.ts';
import { FeatureSet, importNpy, readNpy, writeFeatureSet, writeNpy } from './index.ts';

const patterns = Uint16Array.from({ length: 1 << 16 }, (_, bits) => bits);
const halfByTorch = (numbers: Float32Array): Uint16Array =>
  scope(() => new Uint16Array(toBytes(to(tensor(numbers), { dtype: 'float16' })).buffer));

test('each of the 65,536 patterns is the number that libtorch takes it for', () => {
  const expected = scope(() => toFloat32(to(tensor(patterns, { dtype: 'float16' }), { dtype: 'float32' })));
  const numbers = fromHalf(patterns);
  assert.ok(numbers.every((value, i) => Object.is(value, expected[i])));
});

test('numbers become the patterns that libtorch gives them: every half, what lies halfway, and any other', () => {
  const halves = fromHalf(patterns).filter((value) => !Number.isNaN(value));
  const rng = new Rng('halves');
  const drawn = Float32Array.from(
    { length: 50000 },
    () => (rng.uniform() - 0.5) * 2 ** Math.floor(60 * rng.uniform() - 40),
  );
  const between = halves.map((value, i) => (value + (halves[i + 1] ?? 0)) / 2);
  const nearly = between.map((value) => value * (1 + 2 ** -23));
  for (const numbers of [halves, drawn, between, nearly, Float32Array.of(65519.99, 65520, -65520, 1e30, Infinity)])
    assert.deepEqual(toHalf(numbers), halfByTorch(numbers));
  assert.ok(Number.isNaN(fromHalf(toHalf(Float32Array.of(Number.NaN)))[0]));
});

const content = (dim: number, rows: number) => ({
  dim,
  classes: 2,
  model: null,
  dataset: null,
  flip: 'none' as const,
  labels: Int32Array.from({ length: rows }, (_, i) => i % 2),
  families: new Int32Array(rows).fill(-1),
});

test('a set in float16 gives back its halves as numbers, whole and by row, and its manifest says so', async (t) => {
  const path = join(testFolder(t), 'set');
  const data = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i) * 10 ** (i - 8));
  const info = await writeFeatureSet(path, { ...content(3, 4), dtype: 'float16' }, {}, ({ append }) => append(data));
  assert.equal(info.dtype, 'float16');
  using set = FeatureSet.open(path);
  const expected = fromHalf(toHalf(data));
  assert.deepEqual(set.all(), expected);
  assert.deepEqual(set.rows([3, 1]), Float32Array.of(...expected.subarray(9, 12), ...expected.subarray(3, 6)));
  assert.equal(readNpy(join(path, 'features.npy'), ['<f2']).data.byteLength, 24);
  await assert.rejects(
    writeFeatureSet(`${path}2`, { ...content(1, 1), dtype: 'float16' }, {}, ({ append }) =>
      append(Float32Array.of(7e4)),
    ),
    /70000 is beyond float16, which ends at 65504\n.*float32/,
  );
});

test('float16 from elsewhere is taken as it is', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const bits = toHalf(Float32Array.of(1, -2, 1 / 3, 65504, 2 ** -24, 0));
  writeNpy(at('f.npy'), '<f2', bits, [2]);
  writeNpy(at('l.npy'), '<i4', Int32Array.of(0, 1, 1));
  const info = await importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('out'));
  assert.equal(info.dtype, 'float16');
  assert.deepEqual(readNpy(join(at('out'), 'features.npy'), ['<f2']).data, bits);
  writeNpy(at('f.npy'), '<f2', Uint16Array.of(0, 0, 0x7c00, 0, 0, 0), [2]);
  await assert.rejects(importNpy({ features: at('f.npy'), labels: at('l.npy') }, at('b')), /row 1 holds Infinity/);
});

/** Bytes that reading rows may leave in memory: of the batches just read, not of the set. */
const OF_BATCHES = 4 * 2 ** 20;

test('reading rows of a large set costs the memory of a batch', async (t) => {
  const [rows, dim, batch] = [200_000, 64, 128];
  const path = join(testFolder(t), 'set');
  await writeFeatureSet(path, { ...content(dim, rows), dtype: 'float16' }, {}, ({ append }) => {
    for (let done = 0; done < rows; done += 20_000) append(new Float32Array(20_000 * dim).fill(done / 20_000));
  });
  using set = FeatureSet.open(path);
  const rng = new Rng('rows');
  const held = (): number => process.memoryUsage().arrayBuffers;
  const before = held();
  let most = 0;
  for (let step = 0; step < 50; step++) {
    const indices = Int32Array.from({ length: batch }, () => Math.floor(rng.uniform() * rows));
    const found = set.rows(indices);
    assert.ok(indices.every((index, i) => found[i * dim] === Math.floor(index / 20_000)));
    most = Math.max(most, held() - before);
  }
  assert.ok(most < OF_BATCHES, `${most} bytes; the set has ${rows * dim * 2}`);
});
