import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parquetReadObjects, type SchemaElement } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { type ColumnSource, parquetWriteBuffer, schemaFromColumnData } from 'hyparquet-writer';
import { testFolder } from '../../test/helpers/folder.ts';
import {
  type MakeGallery,
  migrationTo,
  stampOf,
  storeConformance,
  type TestRow,
} from '../../test/helpers/store-conformance.ts';
import { packageRoot } from '../base/version.ts';
import { ParquetFile } from '../features/parquet-file.ts';
import { uncopiedColumns } from '../features/parquet-vectors.ts';
import type { GalleryStore } from './gallery-store.ts';
import { openStore } from './open-store.ts';
import { vectorBytes } from './vectors.ts';

type Rows = Record<string, unknown>[];

const readRows = async (path: string): Promise<Rows> => {
  const { buffer, byteOffset, byteLength } = readFileSync(path);
  return await parquetReadObjects({
    file: buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer,
    compressors,
    utf8: false,
  });
};

/** A column of lists of numbers. */
const lists = (name: string, type: 'FLOAT' | 'DOUBLE', data: readonly (readonly number[] | null)[]) => ({
  column: { name, data: [...data] },
  schema: [
    { name, converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', type, repetition_type: 'REQUIRED' },
  ] satisfies SchemaElement[],
});

type TestColumn = ReturnType<typeof lists> | { readonly column: ColumnSource; readonly schema?: undefined };

const writeColumns = (path: string, columns: readonly TestColumn[]): void => {
  const columnData = columns.map(({ column: { name, data } }) => ({ name, data }));
  const guessed = schemaFromColumnData({
    columnData: columns.filter(({ schema }) => !schema).map(({ column }) => column),
  });
  const schema = [
    { name: 'root', num_children: columns.length },
    ...columns.flatMap(({ column, schema }) => schema ?? guessed.filter(({ name }) => name === column.name)),
  ];
  writeFileSync(`${path}.new`, Buffer.from(parquetWriteBuffer({ columnData, schema, rowGroupSize: 16 })));
  renameSync(`${path}.new`, path);
};

/** A gallery in a Parquet file, which its application replaces whenever a row changes. */
const make: MakeGallery = async (t, first) => {
  const path = join(testFolder(t), 'gallery.parquet');
  const write = (rows: readonly TestRow[]): void =>
    writeColumns(path, [
      { column: { name: 'path', data: rows.map((row) => row.path) } },
      { column: { name: 'id', data: rows.map(({ key }) => key) } },
      lists(
        'vector',
        'FLOAT',
        rows.map(({ vector }) => [...vector]),
      ),
    ]);
  const read = async (): Promise<Map<string, TestRow>> =>
    new Map((await readRows(path)).map(({ id, vector, path: image }) => [String(id), { key: String(id), vector: Float32Array.from(vector as number[]), path: String(image) }])); // biome-ignore format: short
  const change = async (how: (rows: Map<string, TestRow>) => void): Promise<void> => {
    const rows = await read();
    how(rows);
    write([...rows.values()]);
  };
  write(first);
  return {
    url: `files:${path}`,
    insert: (rows) => change((all) => rows.forEach((row) => void all.set(row.key, row))), // biome-ignore format: short
    remove: (key) => change((all) => void all.delete(key)),
    setVector: (key, vector) => change((all) => void all.set(key, { ...all.get(key)!, vector })),
    content: async () => new Map(Array.from(await read(), ([key, { vector, path: image }]) => [key, { vector: vectorBytes(vector), path: image }])), // biome-ignore format: short
  };
};
storeConformance('Parquet', make);

const golden = (name: string): string => join(packageRoot, `test/golden/parquet/${name}.parquet`);
const [from, to] = [stampOf('old', 3), stampOf('new', 5)];
const newVector = (i: number): Float32Array => Float32Array.from({ length: to.dim }, (_, d) => Math.cos(i + d));

/** Moves all rows of a gallery, and cuts it over. */
async function movedGallery(t: TestContext, url: string, target = to): Promise<GalleryStore> {
  const store = await openStore(url);
  t.after(() => store[Symbol.asyncDispose]());
  await store.stamp({ ...from, dim: (await store.describe()).dim! });
  await store.beginMigration(migrationTo(target, from));
  const rows = await store.page(null, 1000);
  const moved = rows.map((row, i) => ({ ...row, vector: newVector(i).subarray(0, target.dim) }));
  await store.commit({ rows: moved, entry: { batch: 1, at: '', ms: 0 } });
  await store.cutOver();
  return store;
}

test('files of pyarrow and DuckDB change their vectors only, keep every other byte of a column, and come back as they were', async (t) => {
  for (const name of ['pyarrow-zstd', 'pyarrow-lz4', 'gzip']) {
    const path = join(testFolder(t), 'gallery.parquet');
    copyFileSync(golden(name), path);
    const before = await readRows(path);
    const store = await movedGallery(t, `files:${path}?id=name`);
    const after = await readRows(path);
    assert.equal(after.length, before.length);
    const keys = before.map((row) => String(row['name'])).sort();
    for (const [i, { vector, ...others }] of after.entries()) {
      const { vector: old, ...same } = before[i]!;
      assert.deepEqual(others, same);
      assert.notDeepEqual(vector, old);
      assert.deepEqual(Float32Array.from(vector as number[]), newVector(keys.indexOf(String(same['name']))));
    }
    const query = new Map([[to.model.digest, newVector(7)]]);
    const [hit] = (await store.search(query, { k: 1, fields: ['name', 'person'] }))[0]!.hits!;
    assert.deepEqual(hit!.fields, { name: keys[7], person: Number(before.find((row) => row['name'] === keys[7])!['person']) }); // biome-ignore format: short
    await store.rollback();
    assert.ok(readFileSync(path).equals(readFileSync(golden(name))), name);
    assert.deepEqual(readdirSync(`${path}.mixbct`), ['gallery.json']);
  }
});

test('columns of every type are fields; what changes in them after the cut-over survives a rollback, and old doubles are exact', async (t) => {
  const path = join(testFolder(t), 'gallery.parquet');
  const labels = [1, 2, 3, 4];
  const others = (row: number): Record<string, unknown> => ({
    ...{ key: 10n + BigInt(row), image: Uint8Array.of(row, 255, 0, 128), label: labels[row], large: 2n ** 60n + 1n },
    ...{ seen: [true, null, false, true][row], when: new Date(`2026-01-0${row + 1}`) },
  });
  const types = { key: 'INT64', image: 'BYTE_ARRAY', label: 'INT32', large: 'INT64', seen: 'BOOLEAN', when: 'TIMESTAMP' } as const; // biome-ignore format: short
  const write = (rows: readonly number[], vectorOf: (row: number) => readonly number[]): void =>
    writeColumns(path, [
      ...Object.entries(types).map(([name, type]) => ({ column: { name, type, data: rows.map((row) => others(row)[name]), nullable: name === 'seen' } })), // biome-ignore format: short
      lists('face', 'DOUBLE', rows.map(vectorOf)),
    ]); // biome-ignore format: short
  const oldVector = (row: number): number[] => [row + 0.1, -row - 1 / 3, Math.PI];
  write([0, 1, 2, 3], oldVector);
  const store = await movedGallery(t, `files:${path}?id=key&vector=face`, { ...to, dim: 3 });
  const [row] = await store.rows(['11'], Object.keys(types));
  assert.deepEqual(row!.fields, { ...others(1), key: '11', large: String(2n ** 60n + 1n), when: '2026-01-02T00:00:00.000Z' }); // biome-ignore format: short
  const moved = (await readRows(path)).map((each) => each['face'] as number[]);
  assert.deepEqual(moved[2], [...newVector(2).subarray(0, 3)]);
  // the application changes a label and deletes a row
  labels[2] = 30;
  write([0, 2, 3], (each) => moved[each]!);
  await store.rollback();
  assert.deepEqual(await readRows(path), [0, 2, 3].map((each) => ({ ...others(each), face: oldVector(each) }))); // biome-ignore format: short
});

test('what is no gallery in Parquet is refused in words', async (t) => {
  const path = join(testFolder(t), 'gallery.parquet');
  const refused = (message: RegExp, query = '') => assert.rejects(openStore(`files:${path}${query}`), { name: /^(User|File)Error$/, message }); // biome-ignore format: short
  const write = (ids: readonly string[], vectors: readonly (readonly number[] | null)[]): void =>
    writeColumns(path, [{ column: { name: 'id', data: [...ids] } }, lists('embedding', 'FLOAT', vectors)]);
  await refused(/there is no file/);
  writeFileSync(path, 'PAR1 and no more');
  await refused(/cannot be read as Parquet/);
  const whole = readFileSync(golden('pyarrow-zstd'));
  writeFileSync(path, whole.subarray(0, whole.length - 9));
  await refused(/cannot be read as Parquet/);
  writeFileSync(path, whole);
  await refused(/has no column id; its columns: name, vector, pair, person\n.*id=id/);
  await refused(/has no column face/, '?vector=face&id=name');
  await refused(/has no tables/, '#faces?id=name');
  await refused(/"label" is not known/, '?label=person');
  await refused(/names 37 ids twice/, '?id=person');
  await refused(/row 0 of column person is no list of numbers/, '?id=name&vector=person');
  write(['a', 'b'], [[1, 2], [1]]);
  await refused(/row 1 has 1 numbers in column embedding, row 0 has 2/);
  write(['a', 'b'], [[1, 2], null]);
  await refused(/row 1 of column embedding is no list of numbers/);
  write(['a', ''], [[1, 2], [1, 2]]); // biome-ignore format: short
  await refused(/row 1 has no id/);
  assert.ok(!existsSync(`${path}.mixbct`));
});

test('a migration does not begin on a file with columns that a new one would not hold', async (t) => {
  const path = join(testFolder(t), 'gallery.parquet');
  const vectors = [[1, 2, 3], [4, 5, 6]]; // biome-ignore format: short
  const variants: ColumnSource = { name: 'any', data: [{ x: 1 }, 'text'], type: 'VARIANT' };
  writeFileSync(path, Buffer.from(parquetWriteBuffer({ columnData: [{ name: 'id', data: ['a', 'b'] }, { name: 'vector', data: vectors }, variants] }))); // biome-ignore format: short
  using file = await ParquetFile.open(path);
  assert.deepEqual(uncopiedColumns(file), ['any']);
  await using store = await openStore(`files:${path}`);
  await store.stamp(from);
  await assert.rejects(store.beginMigration(migrationTo(to, from)), /would not hold as they are: any\n/);
  assert.deepEqual(await store.state(), { stamp: from, migration: null });
});
