import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '@lancedb/lancedb';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeIds } from '../artifacts/id-list.ts';
import { writeNpy } from '../features/npy.ts';
import { openStore } from './open-store.ts';
import { openSqlite } from './sqlite-driver.ts';

test('a gallery has one migration, whichever of its paths a process names', async (t) => {
  const folder = testFolder(t);
  const real = join(folder, 'real');
  mkdirSync(real);
  symlinkSync(real, join(folder, 'link'));
  const db = await connect(join(real, 'lance'));
  t.after(() => db.close());
  await db.createTable('faces', [{ id: 'a', vector: [1, 2] }]);
  const { database } = await openSqlite(join(real, 'gallery.db'));
  database.exec('CREATE TABLE faces (id TEXT PRIMARY KEY, vector BLOB)');
  database.close();
  symlinkSync(join(real, 'gallery.db'), join(folder, 'other.db'));
  writeNpy(join(real, 'gallery.npy'), '<f4', Float32Array.of(1, 2), [2]);
  writeIds(join(real, 'gallery.ids.jsonl'), ['a']);
  const pairs = [
    [`lancedb:${real}/lance#faces`, `lancedb:${folder}/link/lance#faces`],
    [`lancedb:${real}/lance/#faces`, `lancedb:${folder}/link/lance#faces`],
    [`sqlite:${real}/gallery.db#faces`, `sqlite:${folder}/link/gallery.db#faces`],
    [`sqlite:${real}/gallery.db#faces`, `sqlite:${folder}/other.db#faces`],
    [`files:${real}/gallery.npy`, `files:${folder}/link/gallery.npy`],
  ];
  for (const [url, other] of pairs) {
    await using first = await openStore(url!);
    await using second = await openStore(other!);
    const claim = await first.claim();
    await assert.rejects(second.claim(), /is writing it since/);
    await claim[Symbol.asyncDispose]();
    await (await second.claim())[Symbol.asyncDispose]();
  }
});
