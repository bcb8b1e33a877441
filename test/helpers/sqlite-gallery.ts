import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openStore } from '../../src/stores/open-store.ts';
import { openSqlite } from '../../src/stores/sqlite-driver.ts';
import { vectorBytes } from '../../src/stores/vectors.ts';
import { testFolder } from './folder.ts';
import { oldStamp, type TestGallery, type TestRow } from './store-conformance.ts';

/** A gallery as an application makes it; `declared` are the columns of its table. */
export async function sqliteGallery(
  t: TestContext,
  rows: readonly TestRow[],
  declared = 'id TEXT PRIMARY KEY, vector BLOB, path TEXT',
): Promise<TestGallery> {
  const path = join(testFolder(t), 'gallery.db');
  const { database, ...gallery } = await createGallery(path, rows, declared);
  t.after(() => database.close());
  return gallery;
}

async function createGallery(path: string, rows: readonly TestRow[], declared: string) {
  const { database } = await openSqlite(path);
  database.exec(`CREATE TABLE faces (${declared})`);
  const insert = async (more: readonly TestRow[]): Promise<void> => {
    const into = database.prepare('INSERT OR REPLACE INTO faces (id, vector, path) VALUES (?, ?, ?)');
    database.exec('BEGIN');
    for (const { key, vector, path: image } of more) into.run(key, vectorBytes(vector), image);
    database.exec('COMMIT');
  };
  await insert(rows);
  return {
    database,
    url: `sqlite:${path}#faces`,
    insert,
    remove: async (key: string) => void database.prepare('DELETE FROM faces WHERE id = ?').run(key),
    setVector: async (key: string, vector: Float32Array) =>
      void database.prepare('UPDATE faces SET vector = ? WHERE id = ?').run(vectorBytes(vector), key),
    content: async () =>
      new Map(
        database
          .prepare('SELECT id, vector, path FROM faces ORDER BY id')
          .all()
          .map(({ id, vector, path: image }) => [String(id), { vector: vector as Uint8Array, path: String(image) }]),
      ),
  };
}

/** Writes a small stamped gallery of the images in a folder `photos`. */
export async function writeSqliteGallery(path: string): Promise<void> {
  const rows = ['a/1.pgm', 'a/2.pgm', 'b/1.pgm', 'c/2.pgm'].map((key, i) => ({
    ...{ key, path: `photos/${key}` },
    vector: Float32Array.from({ length: oldStamp.dim }, (_, d) => Math.sin(i + d)),
  }));
  const { database, url } = await createGallery(path, rows, 'id TEXT PRIMARY KEY, vector BLOB, path TEXT');
  database.close();
  await using store = await openStore(url);
  await store.stamp(oldStamp);
}
