// Galleries of one table in LanceDB whose columns have names that LanceDB takes for no table.
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect } from '@lancedb/lancedb';
import { testFolder } from '../../test/helpers/folder.ts';
import { DIM, otherStamp, vectorOf } from '../../test/helpers/lance-gallery.ts';
import { migrationTo, oldStamp } from '../../test/helpers/store-conformance.ts';
import type { GalleryStore } from './gallery-store.ts';
import { besideNames } from './lance-beside.ts';
import { arrow, vectorType } from './lance-driver.ts';
import { openStore } from './open-store.ts';

/** A table with these columns of vectors, and a stamped gallery of each. */
async function twoGalleries(t: TestContext, columns: readonly [string, string]) {
  const folder = testFolder(t);
  const db = await connect(folder);
  t.after(() => db.close());
  const a = arrow();
  const vectors = columns.map((name) => new a.Field(name, vectorType(DIM), true));
  const schema = new a.Schema([new a.Field('id', new a.Utf8(), false), ...vectors]);
  const rows = Array.from({ length: 5 }, (_, i) => ({ id: `r${i}`, ...Object.fromEntries(columns.map((name, phase) => [name, [...vectorOf(i, phase)]])) })); // biome-ignore format: short
  await db.createTable('faces', rows, { schema });
  const open = async (column: string): Promise<GalleryStore> => {
    const store = await openStore(`lancedb:${folder}#faces?vector=${encodeURIComponent(column)}`);
    t.after(() => store[Symbol.asyncDispose]());
    await store.stamp(oldStamp);
    return store;
  };
  const content = async (column: string) => (await (await db.openTable('faces')).query().toArray()).map(({ id, [column]: vector }) => [id, [...vector]]).sort(); // biome-ignore format: short
  const [first, second] = [await open(columns[0]), await open(columns[1])];
  return { folder, db, first, second, content };
}

/** Begins a migration and moves all rows. */
async function move(store: GalleryStore, phase: number): Promise<void> {
  await store.beginMigration(migrationTo(otherStamp));
  const rows = (await store.page(null, 100)).map(({ key, version }, i) => ({ key, version, vector: vectorOf(i, phase) })); // biome-ignore format: short
  await store.commit({ rows, entry: { batch: 1, at: '', ms: 1 } });
}

for (const columns of [['旧', '新'], ['v 1', 'v_1'], ['v_1', 'v 1']] as const) // biome-ignore format: short
  test(`LanceDB: the migrations of the columns ${columns.join(' and ')} of one table do not meet`, async (t) => {
    const { db, first, second, content } = await twoGalleries(t, columns);
    const before = [await content(columns[0]), await content(columns[1])];
    await move(first, 2);
    await first.cutOver();
    await move(second, 3);
    await second.cutOver();
    assert.deepEqual(await first.counts(), { rows: 5, moved: 5 });
    await first.rollback();
    assert.deepEqual(await content(columns[0]), before[0]);
    assert.equal((await second.journal()).length, 1);
    await second.rollback();
    assert.deepEqual(await content(columns[1]), before[1]);
    assert.deepEqual(await db.tableNames(), ['faces', 'mixbct_galleries']);
  });

test('LanceDB: a migration that an earlier mixbct began goes on with the names of its tables, and no other column takes them', async (t) => {
  const { folder, db, first, second, content } = await twoGalleries(t, ['v 1', 'v_1']);
  const before = await content('v 1');
  await move(first, 2);
  const { beside } = await besideNames(db, 'faces.v 1');
  const earlier = 'mixbct_beside_faces.v_1';
  assert.notEqual(beside, earlier);
  renameSync(join(folder, `${beside}.lance`), join(folder, `${earlier}.lance`));
  assert.deepEqual(await first.counts(), { rows: 5, moved: 5 });
  await move(second, 3);
  await first.cutOver();
  await second.cutOver();
  assert.deepEqual([await first.counts(), await second.counts()], Array(2).fill({ rows: 5, moved: 5 }));
  assert.ok((await db.tableNames()).includes('mixbct_former_faces.v_1'));
  await second.finish();
  await first.rollback();
  assert.deepEqual(await content('v 1'), before);
  assert.deepEqual(await db.tableNames(), ['faces', 'mixbct_galleries']);
});
