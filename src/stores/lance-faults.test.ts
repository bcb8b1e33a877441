// What a swap of all vectors in LanceDB does when it is killed or overtaken, and what the store says when something is missing.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '@lancedb/lancedb';
import { testFolder } from '../../test/helpers/folder.ts';
import {
  addWhileSwapping,
  DIM,
  lanceFaces,
  movedGallery,
  otherStamp,
  vectorOf,
} from '../../test/helpers/lance-gallery.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import { migrationTo, oldStamp, stampOf } from '../../test/helpers/store-conformance.ts';
import { runWithout } from '../../test/helpers/without-packages.ts';
import type { GalleryRow } from './gallery-store.ts';
import { BesideIndex, createBeside } from './lance-beside.ts';
import { arrow, vectorType } from './lance-driver.ts';
import { movedPairs } from './lance-moved.ts';
import { readRecord, writeRecord } from './lance-record.ts';
import { dropSwapColumns, overtakenRows, replaceVectors, undoSwap } from './lance-swap.ts';
import { openStore } from './open-store.ts';
import { runMigration } from './run-migration.ts';
import { versionOfVector } from './vectors.ts';

async function* blocksOf<T>(blocks: readonly T[]): AsyncGenerator<T> {
  yield* blocks;
}

const queries = new Map([
  [oldStamp.model.digest, vectorOf(3, 0)],
  [otherStamp.model.digest, vectorOf(3, 2)],
]);

test('LanceDB: a swap to vectors of equal dimensions and back', async (t) => {
  const { store, content } = await movedGallery(t);
  const before = await content();
  await store.cutOver();
  for (const [id, vector] of await content()) assert.deepEqual(vector, [...vectorOf(Number(id.slice(1)), 2)]);
  const [space, ...none] = await store.search(queries, { k: 1 });
  assert.deepEqual([space!.stamp, space!.hits![0]!.key, none.length], [otherStamp, 'r3', 0]);
  await store.rollback();
  assert.deepEqual(await content(), before);
});

test('LanceDB: a process that was killed in a swap leaves a gallery of which the data tells what it is', async (t) => {
  const { db, url, store } = await movedGallery(t);
  // what is written before the swap; `cutOver` of another handle has made the table with the former vectors
  await store.cutOver();
  const name = 'faces.vector';
  const written = await readRecord(db, name);
  const begun = { ...written, migration: JSON.stringify(migrationTo(otherStamp)), swapping: 'then' };
  await writeRecord(db, name, begun);
  await using after = await openStore(url);
  assert.equal((await after.state()).migration!.phase, 'cut-over');
  const found = await after.search(queries, { k: 3 });
  assert.deepEqual(found.map(({ stamp, hits }) => [stamp.model.name, hits![0]!.key]), [['other', 'r3']]); // biome-ignore format: short
  // killed before the swap: the old vectors are still there
  const table = await db.openTable('faces');
  const gallery = lanceFaces();
  const old = Array.from({ length: 10 }, (_, i) => ({ key: `r${i}`, vector: vectorOf(i, 0) }));
  await replaceVectors(table, gallery, blocksOf([old]), DIM);
  const { stamp, migration } = await after.state();
  assert.deepEqual([stamp, migration!.phase], [oldStamp, 'moving']);
  assert.deepEqual((await after.search(queries, { k: 20 })).map(({ hits }) => hits!.length), [0, 10]); // biome-ignore format: short
  await after.cutOver();
  assert.equal((await store.state()).migration!.phase, 'cut-over');
  await after.finish();
  assert.deepEqual(await db.tableNames(), ['faces', 'mixbct_galleries']);
});

test('LanceDB: a row that is written while the swap runs is noticed, and all rows are as they were', async (t) => {
  const { db, table, store, content } = await movedGallery(t);
  addWhileSwapping(t, db, table, vectorOf(9, 5));
  const before = await content();
  await assert.rejects(store.cutOver(), /1 row has no new vector\n.*migrate run/);
  assert.deepEqual(await content(), new Map([...before, ['late', [...vectorOf(9, 5)]]]));
  assert.equal((await store.state()).migration!.phase, 'moving');
  assert.deepEqual((await store.page(null, 10, { only: 'unmoved' })).map(({ key }) => key), ['late']); // biome-ignore format: short
});

test('LanceDB: a rollback that a write overtakes, after a cut-over that was killed before its record, leaves what is there', async (t) => {
  const { db, table, url, store, content } = await movedGallery(t);
  await store.cutOver();
  const begun = { migration: JSON.stringify(migrationTo(otherStamp)), swapping: 'then' };
  await writeRecord(db, 'faces.vector', { ...(await readRecord(db, 'faces.vector')), ...begun });
  await using after = await openStore(url);
  const before = await content();
  addWhileSwapping(t, db, table, vectorOf(9, 5));
  await assert.rejects(after.rollback(), /1 row was written since the cut-over/);
  assert.deepEqual(await content(), new Map([...before, ['late', [...vectorOf(9, 5)]]]));
  assert.equal((await after.state()).migration!.phase, 'cut-over');
  assert.deepEqual((await after.search(queries, { k: 1 })).map(({ stamp, hits }) => [stamp.model.name, hits![0]!.key]), [['other', 'r3']]); // biome-ignore format: short
});

test('LanceDB: more vectors than memory may hold are swapped at once, too, and taken back with what was written meanwhile', async (t) => {
  const { db, table, content } = await movedGallery(t);
  const before = await content();
  const gallery = lanceFaces();
  const beside = await db.openTable('mixbct_beside_faces.vector');
  const begun = await table.version();
  const vectors = async function* () {
    for await (const pairs of movedPairs(table, gallery, beside)) yield pairs.map(({ key, beside }) => ({ key, vector: beside })); // biome-ignore format: short
  };
  const swap = await replaceVectors(table, gallery, vectors(), DIM, 3 * 4 * DIM); // three rows at a time
  // a column, four times some rows of it, and its name
  assert.deepEqual([swap.renamed, swap.version - begun], [true, 6]);
  const after = await content();
  for (const [id, vector] of after) assert.deepEqual(vector, [...vectorOf(Number(id.slice(1)), 2)]);
  await table.checkout(swap.version - 1);
  assert.deepEqual(new Map((await table.query().toArray()).map(({ id, vector }) => [id, [...vector]])), before, 'none of them until then'); // biome-ignore format: short
  await table.checkoutLatest();
  assert.equal((await overtakenRows(table, gallery, swap, beside)).size, 0);

  await table.add([{ id: 'late', vector: [...vectorOf(9, 5)] }]);
  await table.update({ where: "id = 'r4'", values: { vector: [...vectorOf(4, 6)] } });
  const given = new BesideIndex();
  for (const [i, id] of [...before.keys()].entries()) given.add(id, versionOfVector(vectorOf(Number(id.slice(1)), 2)), BigInt(i)); // biome-ignore format: short
  // killed before the column has its name back, and after it
  const prototype = Object.getPrototypeOf(table);
  for (const step of ['alterColumns', 'dropColumns']) {
    const killed = t.mock.method(prototype, step, () => Promise.reject(new Error('killed')));
    await assert.rejects(undoSwap(table, gallery, swap, given), /killed/);
    killed.mock.restore();
  }
  await dropSwapColumns(table);
  assert.deepEqual(await content(), new Map([...[...before].filter(([id]) => id !== 'r4'), ['late', [...vectorOf(9, 5)]], ['r4', [...vectorOf(4, 6)]]])); // biome-ignore format: short
});

test('LanceDB: a swap of equal dimensions that is taken back keeps what was written before it and since', async (t) => {
  const { db, table, content } = await movedGallery(t);
  const before = await content();
  await table.update({ where: "id = 'r2'", values: { vector: [...vectorOf(2, 5)] } });
  const fresh = Array.from({ length: 10 }, (_, i) => ({ key: `r${i}`, vector: vectorOf(i, 2) }));
  const swap = await replaceVectors(table, lanceFaces(), blocksOf([fresh]), DIM);
  assert.equal(swap.renamed, false);
  const beside = await db.openTable('mixbct_beside_faces.vector');
  assert.equal((await overtakenRows(table, lanceFaces(), swap, beside)).size, 1);
  await table.update({ where: "id = 'r4'", values: { vector: [...vectorOf(4, 6)] } });
  await table.delete("id = 'r5'");
  await table.add([{ id: 'late', vector: [...vectorOf(9, 5)] }]);
  const given = new BesideIndex();
  for (const [i, { key, vector }] of fresh.entries()) given.add(key, versionOfVector(vector), BigInt(i));
  await undoSwap(table, lanceFaces(), swap, given);
  const wanted = new Map(before).set('r2', [...vectorOf(2, 5)]).set('r4', [...vectorOf(4, 6)]).set('late', [...vectorOf(9, 5)]); // biome-ignore format: short
  wanted.delete('r5');
  assert.deepEqual(await content(), wanted);
});

test('LanceDB: a row without vector gets one by the cut-over to other dimensions, and has none after the rollback', async (t) => {
  const { table, store, content } = await movedGallery(t, { dim: 12, moved: 0 });
  await table.add([{ id: 'r10', vector: null }]);
  const before = new Map((await table.query().toArray()).map(({ id, vector }) => [id, vector && [...vector]]));
  const rows = (await store.page(null, 100)).map(({ key, version }) => ({ key, version, vector: new Float32Array(12).fill(Number(key.slice(1)) + 1) })); // biome-ignore format: short
  await store.commit({ rows, entry: { batch: 1, at: '2026-01-01', ms: 1 } });
  await store.cutOver();
  assert.deepEqual((await content()).get('r10'), Array(12).fill(11));
  await store.rollback();
  await table.checkoutLatest();
  assert.deepEqual(new Map((await table.query().toArray()).map(({ id, vector }) => [id, vector && [...vector]])), before); // biome-ignore format: short
});

test('LanceDB: cut-overs that were killed in their swap, and before the table with the former vectors is there, can be repeated', async (t) => {
  const { db, table, url, store } = await movedGallery(t);
  await writeRecord(db, 'faces.vector', { ...(await readRecord(db, 'faces.vector')), swapping: 'then' });
  await createBeside(db, 'mixbct_former_faces.vector', DIM);
  const killed = t.mock.method(Object.getPrototypeOf(db), 'createTable', () => Promise.reject(new Error('killed')));
  await assert.rejects(store.cutOver(), /killed/);
  killed.mock.restore();
  await using after = await openStore(url);
  assert.equal((await after.state()).migration!.phase, 'moving');
  await after.cutOver();
  assert.equal((await after.state()).migration!.phase, 'cut-over');
  assert.equal(await table.countRows(), 10);
});

test('LanceDB: ids that tell no row from another are refused; where they come later, a migration ends and names them', async (t) => {
  const { table, store } = await movedGallery(t, { moved: 0 });
  const source = { target: otherStamp, fields: [], vectors: async (rows: readonly GalleryRow[]) => rows.map(() => vectorOf(1, 2)) }; // biome-ignore format: short
  await table.add([{ id: 'r3', vector: [...vectorOf(3, 4)] }]);
  const { ended, moved, failed } = await runMigration(store, source);
  assert.deepEqual([ended, moved, failed.map(({ key }) => key)], ['moved', 10, ['r3']]);
  assert.match(failed[0]!.problem, /is not taken: its id is not unique/);
  await store.rollback();
  await assert.rejects(store.beginMigration(migrationTo(otherStamp)), /the column id holds r3 twice.*\n.*\?id=/);
  await table.delete("id = 'r3'");
  await store.beginMigration(migrationTo(otherStamp));
});

test('LanceDB: whole numbers of 64 bits are fields that JSON has, and keys that no id can be are not found', async (t) => {
  const folder = testFolder(t);
  const db = await connect(folder);
  t.after(() => db.close());
  const a = arrow();
  const fields = [new a.Field('id', new a.Int32(), true), new a.Field('vector', vectorType(2), true), new a.Field('big', new a.Int64(), true)]; // biome-ignore format: short
  const table = await db.createTable('faces', [{ id: 1, vector: [1, 0], big: 7n }, { id: 2, vector: [0, 1], big: 2n ** 53n + 1n }], { schema: new a.Schema(fields) }); // biome-ignore format: short
  await using store = await openStore(`lancedb:${folder}#faces`);
  const found = await store.rows(['1', '2', '3000000000', '99999999999999999999', 'x'], ['big']);
  assert.deepEqual(found.map((row) => row.fields['big']).sort(), [7, '9007199254740993']); // biome-ignore format: short
  await store.stamp(stampOf('old', 2));
  await table.add([{ id: null, vector: [1, 1], big: 1n }]);
  await assert.rejects(store.beginMigration(migrationTo(otherStamp, stampOf('old', 2))), /the column id holds NULL/);
});

test('LanceDB: a search that a rollback overtakes finds what is there then', async (t) => {
  const { table, url, store } = await movedGallery(t);
  await using other = await openStore(url);
  const prototype = Object.getPrototypeOf(table);
  const search = prototype.vectorSearch;
  let searches = 0;
  t.mock.method(prototype, 'vectorSearch', function (this: typeof table, to: Float32Array) {
    const query = search.call(this, to);
    if (this.name === 'faces' || searches++ > 0) return query;
    const select = query.select.bind(query);
    query.select = (columns: string[]) => {
      const selected = select(columns);
      const iterate = selected[Symbol.asyncIterator].bind(selected);
      // the table that it is to read goes
      selected[Symbol.asyncIterator] = async function* () {
        await other.rollback();
        yield* { [Symbol.asyncIterator]: iterate };
      };
      return selected;
    };
    return query;
  });
  const found = await store.search(queries, { k: 1 });
  assert.ok(searches > 0);
  assert.deepEqual(found.map(({ stamp, hits }) => [stamp.model.name, hits![0]!.key]), [['old', 'r3']]); // biome-ignore format: short
});

test('LanceDB: a batch that a full disk has no room for is refused, and nothing is changed', async (t) => {
  const disk = smallDisk(t, 1 << 20);
  if (!disk) return;
  const { store, content } = await movedGallery(t, { folder: disk, dim: 4096, moved: 0 });
  const before = await content();
  const rows = (await store.page(null, 10)).map(({ key, version }) => ({ key, version, vector: new Float32Array(4096).fill(1) })); // biome-ignore format: short
  writeFileSync(join(disk, 'other'), new Uint8Array(statfsSync(disk).bavail * statfsSync(disk).bsize - 65_536));
  await assert.rejects(store.commit({ rows, entry: { batch: 1, at: '2026-01-01', ms: 1 } }), /: the disk is full/);
  assert.deepEqual([await store.counts(), await store.journal()], [{ rows: 10, moved: 0 }, []]);
  assert.deepEqual(await content(), before);
  rmSync(join(disk, 'other'));
  assert.equal(await store.commit({ rows, entry: { batch: 1, at: '2026-01-01', ms: 1 } }), 10);
});

test('LanceDB: what is missing is named', async (t) => {
  const folder = testFolder(t);
  const db = await connect(folder);
  t.after(() => db.close());
  const refuses = (end: string, wanted: RegExp) => assert.rejects(openStore(`lancedb:${folder}${end}`), wanted);
  mkdirSync(join(folder, 'empty'));
  await refuses('/empty#a', /there are no tables in .*empty/);
  assert.deepEqual(readdirSync(join(folder, 'empty')), [], 'nothing is written');
  await db.createTable('plain', [{ id: 'a', text: 'b' }]);
  await db.createTable('floats', [{ id: 1.5, vector: [1, 2] }]);
  await refuses('', /the URL names no table; tables: floats, plain/);
  await refuses('#faces', /there is no table faces; tables: floats, plain\n.*#TABLE/);
  await refuses('#plain', /has no column vector or embedding; its columns: id, text/);
  await refuses('#plain?vector=text', /the column text is of type Utf8, wanted vectors of float32/);
  await refuses('#floats', /the column id is of type Float64, wanted text or whole numbers/);
  await refuses('/nowhere#faces', /there is no folder .*nowhere/);
  await assert.rejects(openStore('lancedb:s3://bucket/gallery#faces'), /wanted a folder of this machine/);
  mkdirSync(join(folder, 'broken.lance'));
  await refuses('#broken', /its files are damaged/);
});

test('LanceDB and PostgreSQL: without its package, a message tells how to install it', (t) => {
  const open = (url: string): string => runWithout(['@lancedb/lancedb', 'pg'], new URL('./open-store.js', import.meta.url), `openStore(${JSON.stringify(url)})`); // biome-ignore format: short
  assert.match(open(`lancedb:${testFolder(t)}#faces`), /needs the package @lancedb\/lancedb, which is not installed\n.*npm install @lancedb\/lancedb@0\.31\.0 apache-arrow@18\.1\.0/); // biome-ignore format: short
  assert.match(
    open('postgres://u@localhost/x#faces'),
    /needs the package pg, which is not installed\n.*npm install pg/,
  );
});
