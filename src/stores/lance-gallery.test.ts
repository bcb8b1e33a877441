import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@lancedb/lancedb';
import { testFolder } from '../../test/helpers/folder.ts';
import { DIM, otherStamp, vectorOf } from '../../test/helpers/lance-gallery.ts';
import { migrationTo, oldStamp } from '../../test/helpers/store-conformance.ts';
import { arrow, vectorType } from './lance-driver.ts';
import { openStore } from './open-store.ts';

test('LanceDB: ids are whole numbers without sign to the end of 64 bits', async (t) => {
  const folder = testFolder(t);
  const db = await connect(folder);
  t.after(() => db.close());
  const a = arrow();
  const schema = new a.Schema([new a.Field('id', new a.Uint64(), false), new a.Field('vector', vectorType(DIM), true)]);
  const ids = [1n, 2n, 2n ** 63n + 5n, 2n ** 64n - 1n];
  const keys = ids.map(String);
  await db.createTable('faces', ids.map((id, i) => ({ id, vector: [...vectorOf(i, 0)] })), { schema }); // biome-ignore format: short
  await using store = await openStore(`lancedb:${folder}#faces`);
  await store.stamp(oldStamp);
  await store.beginMigration(migrationTo(otherStamp));
  const page = await store.page(null, 3);
  const last = await store.page(page.at(-1)!.key, 3);
  assert.deepEqual([...page, ...last].map(({ key }) => key), keys); // biome-ignore format: short
  assert.deepEqual((await store.rows([...keys, '-1', String(2n ** 64n)])).map(({ key }) => key).sort(), [...keys].sort()); // biome-ignore format: short
  const entry = { batch: 1, at: '', ms: 1 };
  const rows = [...page, ...last].map(({ key, version }, i) => ({ key, version, vector: vectorOf(i, 2) }));
  assert.equal(await store.commit({ rows: rows.slice(0, 3), entry }), 3);
  assert.deepEqual((await store.page(null, 4)).map(({ moved }) => moved), [true, true, true, false]); // biome-ignore format: short
  assert.deepEqual(
    (await store.page(null, 4, { only: 'unmoved' })).map(({ key }) => key),
    [keys[3]],
  );
  assert.equal(await store.commit({ rows: rows.slice(3), entry: { ...entry, batch: 2 } }), 1);
  assert.deepEqual(await store.counts(), { rows: 4, moved: 4 });
  const nearest = async () => (await store.search(new Map([[otherStamp.model.digest, vectorOf(3, 2)]]), { k: 1 })).flatMap(({ hits }) => hits ?? []).map(({ key }) => key); // biome-ignore format: short
  assert.deepEqual(await nearest(), [keys[3]]);
  await store.cutOver();
  assert.deepEqual((await store.page(null, 4)).map(({ vector }) => vector), rows.map(({ vector }) => vector)); // biome-ignore format: short
  assert.deepEqual(await nearest(), [keys[3]]);
  await store.rollback();
  assert.deepEqual((await store.page(null, 4)).map(({ vector }) => vector), ids.map((_, i) => vectorOf(i, 0))); // biome-ignore format: short
});
