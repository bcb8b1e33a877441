import { quoted, type SqliteDatabase } from './sqlite-driver.ts';
import type { SqliteGallery } from './sqlite-gallery.ts';

// The table with the second vectors of a gallery's rows, and the triggers that keep it true. The caller has a transaction.

/** Makes the table, without rows. */
export function createBeside(database: SqliteDatabase, gallery: SqliteGallery): void {
  database.exec(`CREATE TABLE ${gallery.sql.beside} (id ${gallery.idType} PRIMARY KEY, vector BLOB)`);
  createTriggers(database, gallery);
}

export function dropBeside(database: SqliteDatabase, gallery: SqliteGallery): void {
  dropTriggers(database, gallery);
  database.exec(`DROP TABLE ${gallery.sql.beside}`);
}

/**
 * The rows `b` beside that have a row `t` of the application's, by the very text of the id: on the left, `b.id` compares without the
 * collation of the application's column, as everywhere. A row that `OR REPLACE` deletes for another row's sake, by a unique
 * column that is not the id, calls no trigger: what is beside stays there until the exchange or the end of the migration.
 */
export const movedRows = ({ table, id, beside }: SqliteGallery['sql']): string =>
  `${beside} b JOIN ${table} t ON b.id = t.${id}`;

/** Rows without a second vector. */
export function countUnmoved(database: SqliteDatabase, { sql }: SqliteGallery): number {
  const where = `NOT EXISTS (SELECT 1 FROM ${sql.beside} b WHERE b.id = t.${sql.id})`;
  return Number(database.prepare(`SELECT count(*) AS n FROM ${sql.table} t WHERE ${where}`).get()!['n']);
}

/** Exchanges the vectors of the application's column and those beside. */
export function swapBeside(database: SqliteDatabase, gallery: SqliteGallery): void {
  const { sql, idType } = gallery;
  dropTriggers(database, gallery);
  database.exec(
    `CREATE TABLE ${sql.swap} (id ${idType} PRIMARY KEY, vector BLOB);
    INSERT INTO ${sql.swap} SELECT ${sql.id}, ${sql.vector} FROM ${sql.table};
    UPDATE ${sql.table} SET ${sql.vector} = (SELECT b.vector FROM ${sql.beside} b WHERE b.id = ${sql.table}.${sql.id});
    DROP TABLE ${sql.beside};
    ALTER TABLE ${sql.swap} RENAME TO ${sql.beside}`,
  );
  createTriggers(database, gallery);
}

const trigger = ({ name }: SqliteGallery, event: string): string => quoted(`mixbct_${event}_${name}`);

/** A row that is deleted, replaced or gets another vector loses the one beside, in the same transaction. */
function createTriggers(database: SqliteDatabase, gallery: SqliteGallery): void {
  const { table, id, vector, beside } = gallery.sql;
  const drop = (row: 'OLD' | 'NEW'): string => `DELETE FROM ${beside} WHERE id = ${row}.${id};`;
  const changed = [id, vector].map((column) => `OLD.${column} IS NOT NEW.${column} COLLATE BINARY`).join(' OR ');
  // `INSERT OR REPLACE` deletes the row before without calling the trigger of deletions; a collation would not see all changes of an id
  database.exec(
    `CREATE TRIGGER ${trigger(gallery, 'inserted')} AFTER INSERT ON ${table} BEGIN ${drop('NEW')} END;
    CREATE TRIGGER ${trigger(gallery, 'deleted')} AFTER DELETE ON ${table} BEGIN ${drop('OLD')} END;
    CREATE TRIGGER ${trigger(gallery, 'updated')} AFTER UPDATE OF ${id}, ${vector} ON ${table} WHEN ${changed}
    BEGIN ${drop('OLD')} ${drop('NEW')} END`,
  );
}

function dropTriggers(database: SqliteDatabase, gallery: SqliteGallery): void {
  for (const event of ['inserted', 'deleted', 'updated'])
    database.exec(`DROP TRIGGER IF EXISTS ${trigger(gallery, event)}`);
}
