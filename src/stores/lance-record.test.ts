// Several processes that write what LanceDB holds of one gallery.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '@lancedb/lancedb';
import { testFolder } from '../../test/helpers/folder.ts';
import { movedGallery, otherStamp } from '../../test/helpers/lance-gallery.ts';
import { migrationTo, stampOf } from '../../test/helpers/store-conformance.ts';
import { openStore } from './open-store.ts';

test('LanceDB: what another process writes of a gallery meanwhile is not overwritten', async (t) => {
  const { table, store, url, content } = await movedGallery(t);
  const before = await content();
  await using late = await openStore(url);
  /** What happens between the look and the write of the next step that writes a record. */
  const meanwhile = (what: () => Promise<void>): void => {
    const prototype = Object.getPrototypeOf(table);
    const update = prototype.update;
    let once = true;
    const mock = t.mock.method(prototype, 'update', async function (this: typeof table, options: never) {
      if (this.name === 'mixbct_galleries' && once) {
        once = false;
        await what();
        mock.mock.restore();
      }
      return await update.call(this, options);
    });
  };
  meanwhile(() => store.cutOver());
  await assert.rejects(late.setPaused(true), /the cut-over has been/);
  const { stamp, migration } = await store.state();
  assert.deepEqual([stamp, migration!.phase, migration!.paused], [otherStamp, 'cut-over', false]);
  await store.rollback();
  assert.deepEqual(await content(), before);

  // a stamp and the begin of a migration, in both orders
  const third = { ...otherStamp, model: { name: 'third', digest: 'third' } };
  meanwhile(() => store.beginMigration(migrationTo(otherStamp)));
  await assert.rejects(late.stamp(third), /is in a migration to other/);
  assert.equal((await store.state()).migration!.phase, 'moving');
  await store.rollback();
  meanwhile(() => late.stamp(third));
  await store.beginMigration(migrationTo(otherStamp));
  assert.deepEqual((await store.state()).stamp, third);
});

test('LanceDB: of several processes that stamp a new gallery at once, one is the last', async (t) => {
  const folder = join(testFolder(t), 'gallery');
  const db = await connect(folder);
  t.after(() => db.close());
  for (const name of ['faces', 'others']) await db.createTable(name, [{ id: 'a', vector: [1, 2] }]);
  await using others = await openStore(`lancedb:${folder}#others`);
  await others.stamp(stampOf('old', 2));
  const stores = await Promise.all(Array.from({ length: 3 }, () => openStore(`lancedb:${folder}#faces`)));
  await Promise.all(stores.map((store, i) => store.stamp(stampOf(`model ${i}`, 2))));
  assert.equal(await (await db.openTable('mixbct_galleries')).countRows(), 2);
  assert.match((await stores[0]!.state()).stamp!.model.name, /^model/);
  assert.equal((await others.state()).stamp!.model.name, 'old');
  for (const store of stores) await store[Symbol.asyncDispose]();
});
