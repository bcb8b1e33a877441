import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type NewGallery, type NewTable, TableExistsError } from './new-gallery.ts';
import { asSqliteError, openSqlite, quoted, sqliteTransaction } from './sqlite-driver.ts';
import { vectorBytes } from './vectors.ts';

/** Creates a table in one transaction, and the file if there is none. @throws UserError if there is such a table */
export async function createSqliteGallery(table: NewTable, { images, blocks }: NewGallery): Promise<void> {
  const { url, id, vector } = table;
  try {
    mkdirSync(dirname(resolve(url.location)), { recursive: true });
    const { database } = await openSqlite(url.location);
    try {
      sqliteTransaction(database, 'BEGIN IMMEDIATE', () => {
        if (database.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(table.table))
          throw new TableExistsError(table);
        const name = quoted(table.table);
        database.exec(`CREATE TABLE ${name} (${quoted(id)} TEXT PRIMARY KEY, ${quoted(vector)} BLOB, label INTEGER${images ? ', image BLOB' : ''})`); // biome-ignore format: short
        const insert = database.prepare(`INSERT INTO ${name} VALUES (?, ?, ?${images ? ', ?' : ''})`);
        for (const block of blocks())
          for (const row of block)
            insert.run(row.id, vectorBytes(row.vector), row.label, ...(images ? [row.image] : []));
      });
    } finally {
      database.close();
    }
  } catch (error) {
    throw asSqliteError(error, url.text, url.location);
  }
}
