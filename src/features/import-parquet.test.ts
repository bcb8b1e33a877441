import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { packageRoot } from '../base/version.ts';
import { openDataset } from '../data/index.ts';
import { FeatureSet, importParquet, type ParquetImport } from './index.ts';

const COUNT = 7;
/** Files with a few wrong bytes each. */
const DAMAGED = 12;
const vectors = Array.from({ length: COUNT }, (_, i) => [i + 0.5, -i - 1, 1]);
const table = (columns: readonly ColumnSource[], rowGroupSize = 3): Buffer =>
  Buffer.from(parquetWriteBuffer({ columnData: [...columns], rowGroupSize }));

function importer(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  let sets = 0;
  const take = async (content: Buffer, columns: Omit<ParquetImport, 'features'> = {}, options = {}) => {
    writeFileSync(at('x.parquet'), content);
    const out = at(`set${sets++}`);
    await importParquet({ features: at('x.parquet'), ...columns }, out, options);
    const set = FeatureSet.open(out);
    t.after(() => set.close());
    return set;
  };
  return { at, take, ...reportsOf(t) };
}

test('vectors, ids and classes come from columns, row group by row group', async (t) => {
  const { take } = importer(t);
  for (const label of [
    [5, 5, 2, 2, 9, 9, 9],
    [5n, 5n, 2n, 2n, 9n, 9n, 9n],
  ]) {
    const content = table([
      { name: 'name', data: vectors.map((_, i) => `${i}.jpg`) },
      { name: 'vec', data: vectors },
      { name: 'person', data: label },
    ]);
    const set = await take(content, { vector: 'vec', id: 'name', label: 'person' });
    assert.deepEqual([...set.all()], vectors.flat());
    assert.deepEqual([...set.labels()], [1, 1, 0, 0, 2, 2, 2]);
    assert.deepEqual([...set.classIds()!], [2n, 5n, 9n]);
    assert.deepEqual([set.id(4), set.info.dtype, set.info.model], ['4.jpg', 'float32', null]);
  }
});

test('files of DuckDB and of Arrow in each compression give their rows', async (t) => {
  const { take } = importer(t);
  for (const name of ['snappy', 'gzip', 'pyarrow-zstd', 'pyarrow-brotli', 'pyarrow-lz4']) {
    const content = readFileSync(join(packageRoot, `test/golden/parquet/${name}.parquet`));
    const set = await take(content, { vector: 'vector', id: 'name', label: 'person' });
    assert.deepEqual([...set.all()], Array.from({ length: 40 }, (_, i) => [i + 0.5, -i - 1, 1]).flat());
    assert.deepEqual([set.id(39), [...set.classIds()!], set.labels()[39]], ['image 39', [0n, 7n, 14n], 0]);
    const pairs = await take(content, { vector: 'pair', label: 'person' });
    assert.deepEqual([...pairs.all()], Array.from({ length: 40 }, (_, i) => [i, 0.25]).flat());
  }
});

test('classes that are text are numbered by name', async (t) => {
  const { take, text } = importer(t);
  const set = await take(table([{ name: 'embedding', data: vectors }, { name: 'who', data: [...'bbaacca'] }]), { label: 'who' }); // biome-ignore format: short
  assert.deepEqual([...set.labels()], [1, 1, 0, 0, 2, 2, 0]);
  assert.match(text(), /3 classes are numbered by name: 0 is a/);
});

test('rows of a dataset are ordered by their ids, absent ones may be missing', async (t) => {
  const { at, take } = importer(t);
  writeImages(
    at('photos'),
    Array.from({ length: COUNT + 1 }, (_, i) => `${i % 2}/${i}.pgm`),
  );
  using dataset = openDataset(at('photos'));
  const order = [3, 0, 5, 1, 6, 2, 4];
  const content = table([
    { name: 'id', data: order.map((i) => dataset.id(i)) },
    { name: 'embedding', data: order.map((i) => vectors[i]!) },
  ]);
  const columns = { id: 'id', dataset: at('photos') };
  await assert.rejects(take(content, columns), /has no id for 1 of 8 images/);
  const set = await take(content, columns, { allowMissing: true });
  assert.deepEqual([...set.all()], [...vectors.flat(), 0, 0, 0]);
  assert.deepEqual([[...set.missing()], [...set.labels()]], [[7], [...dataset.labels()]]);
});

test('rows of a dataset have its families', async (t) => {
  const { at, take } = importer(t);
  await writeTinySet(at('set'), { perClass: [4, 3], families: 4 });
  const columns = [
    { name: 'embedding', data: vectors },
    { name: 'label', data: [0, 0, 0, 0, 1, 1, 1] },
  ];
  const set = await take(table(columns), { label: 'label', dataset: at('set') });
  assert.deepEqual([...set.families()], [0, 1, 2, 3, 0, 1, 2]);
});

test('columns that are absent or of another kind are refused', async (t) => {
  const { take } = importer(t);
  const labels: ColumnSource = { name: 'label', data: [0, 0, 0, 1, 1, 1, 1] };
  const embedding: ColumnSource = { name: 'embedding', data: vectors };
  const good = [embedding, labels];
  await assert.rejects(take(table(good)), /comes without class ids/);
  await assert.rejects(take(table(good), { vector: 'vec', label: 'label' }), /has no column "vec"\n.*embedding, label/);
  await assert.rejects(take(table(good), { vector: '__proto__', label: 'label' }), /has no column "__proto__"/);
  await assert.rejects(
    take(table(good), { vector: 'label', label: 'label' }),
    /row 0 of column label is no list of numbers/,
  );
  await assert.rejects(take(table(good), { label: 'embedding' }), /row 0 of column embedding holds/);
  await assert.rejects(take(table(good), { label: 'label', id: 'label' }), /column label: names 5 ids twice: 0, 0, 1/);
  const with_ = (value: unknown): Buffer => table([{ name: 'embedding', data: vectors.with(5, value as number[]) }, labels]); // biome-ignore format: short
  await assert.rejects(take(with_([1, 2]), { label: 'label' }), /row 5 has 2 numbers in column embedding, row 0 has 3/);
  await assert.rejects(take(with_([1.5, 1e300, 2]), { label: 'label' }), /row 5 holds Infinity/);
  await assert.rejects(take(with_(null), { label: 'label' }), /row 5 of column embedding is no list of numbers/);
  await assert.rejects(take(table([embedding, { name: 'label', data: [0, 0, 0, -1, 1, 1, 1] }]), { label: 'label' }), /row 3 of column label holds "-1"/); // biome-ignore format: short
  for (const content of ['', 'PAR1', 'PAR1PAR1PAR1', 'no Parquet at all'])
    await assert.rejects(take(Buffer.from(content), { label: 'label' }), /x\.parquet: cannot be read as Parquet/);
});

test('damaged files are refused, or read as what they say, and end', async (t) => {
  const { take } = importer(t);
  const rng = new Rng(5);
  const contents = ['snappy', 'pyarrow-zstd'].map((name) => readFileSync(join(packageRoot, `test/golden/parquet/${name}.parquet`))); // biome-ignore format: short
  let refused = 0;
  for (let i = 0; i < DAMAGED; i++) {
    const content = contents[i % 2]!;
    const damaged = Buffer.from(content);
    for (let change = 0; change <= rng.integer(4); change++)
      damaged[rng.integer(damaged.length)] = rng.integer(2) ? 0xff : rng.integer(256);
    await take(damaged, { vector: 'vector', id: 'name', label: 'person' }).catch((error: unknown) => {
      assert.ok(error instanceof UserError, String(error));
      refused++;
    });
  }
  assert.ok(refused > DAMAGED / 4);
});
