import { UserError } from '../base/errors.ts';
import { type Query, quotedName } from './postgres-driver.ts';
import type { PostgresGallery } from './postgres-gallery.ts';
import { versionSql } from './postgres-vectors.ts';

// The table with the second vectors of a gallery's rows. Each row has the version of the application's vector that it counts for. A row
// beside with another version is none, so that no change is missed that calls no trigger, or whose trigger does not see the row beside
// because its transaction began before that was committed. The triggers remove what counts no more. The caller has a transaction.

/**
 * Whether the row `b` beside counts for the row `t` of the application's. If the transaction `written_by` wrote `t`, that is the row which
 * was moved. If another one did, it may have changed other columns only: the digest tells, which takes several times as long.
 */
const counts = ({ id, vector }: PostgresGallery['sql']): string =>
  `b.id = t.${id} AND (b.written_by = t.xmin OR b.version = ${versionSql(`t.${vector}`)})`;

/** Rows `t` of the application's, with their rows `b` beside. */
export const besideJoin = (sql: PostgresGallery['sql'], join: 'JOIN' | 'LEFT JOIN' = 'JOIN'): string =>
  `${sql.table} t ${join} ${sql.beside} b ON ${counts(sql)}`;

/** Whether a row `t` has none. */
export const isUnmoved = (sql: PostgresGallery['sql']): string =>
  `NOT EXISTS (SELECT 1 FROM ${sql.beside} b WHERE ${counts(sql)})`;

/** Makes the table, without rows. A leftover of a dropped table with the same name goes. */
export async function createBeside(query: Query, gallery: PostgresGallery): Promise<void> {
  const { beside, idType, unmove } = gallery.sql;
  await query(`DROP TABLE IF EXISTS ${beside}`);
  await query(`CREATE TABLE ${beside} (id ${idType} PRIMARY KEY, vector vector, version text, written_by xid)`);
  // as its owner: the application's role, which calls it, may have no right to the table beside
  await query(
    `CREATE OR REPLACE FUNCTION ${unmove}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    BEGIN
      IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM ${beside};
      ELSE
        DELETE FROM ${beside} WHERE id = OLD.${gallery.sql.id};
      END IF;
      RETURN NULL;
    END $$`,
  );
  await createTriggers(query, gallery);
}

/** Whether an earlier version of mixbct made the table, without versions. */
export async function lacksVersions(query: Query, { sql }: PostgresGallery): Promise<boolean> {
  const [found] = await query(
    `SELECT to_regclass($1) IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'version' AND NOT attisdropped) AS lacks`,
    sql.beside,
  );
  return found!['lacks'] === true;
}

/** Gives such a table the versions of the present rows. */
export async function addVersions(query: Query, { sql }: PostgresGallery): Promise<void> {
  await query(
    `ALTER TABLE ${sql.beside} ADD COLUMN IF NOT EXISTS version text, ADD COLUMN IF NOT EXISTS written_by xid`,
  );
  await query(
    `UPDATE ${sql.beside} b SET version = ${versionSql(`t.${sql.vector}`)}, written_by = t.xmin FROM ${sql.table} t WHERE t.${sql.id} = b.id AND b.version IS NULL`,
  );
}

export async function dropBeside(query: Query, gallery: PostgresGallery): Promise<void> {
  await dropTriggers(query, gallery);
  await query(`DROP FUNCTION IF EXISTS ${gallery.sql.unmove}()`);
  await query(`DROP TABLE IF EXISTS ${gallery.sql.beside}`);
}

/** A row that is deleted or gets another vector loses the one beside, in the same transaction. */
async function createTriggers(query: Query, { sql }: PostgresGallery): Promise<void> {
  const call = `EXECUTE FUNCTION ${sql.unmove}()`;
  const changed = [sql.id, sql.vector].map((column) => `OLD.${column} IS DISTINCT FROM NEW.${column}`).join(' OR ');
  const { triggers } = sql;
  await query(`CREATE TRIGGER ${triggers.changed} AFTER UPDATE ON ${sql.table} FOR EACH ROW WHEN (${changed}) ${call}`);
  await query(`CREATE TRIGGER ${triggers.deleted} AFTER DELETE ON ${sql.table} FOR EACH ROW ${call}`);
  await query(`CREATE TRIGGER ${triggers.truncated} AFTER TRUNCATE ON ${sql.table} FOR EACH STATEMENT ${call}`);
}

/** By their function: names of a migration that an earlier version began do not tell one gallery of a table from another. */
async function dropTriggers(query: Query, { oid, sql }: PostgresGallery): Promise<void> {
  const found = await query('SELECT tgname AS name FROM pg_trigger WHERE tgrelid = $1 AND tgfoid = to_regproc($2)', oid, sql.unmove); // biome-ignore format: short
  for (const { name } of found) await query(`DROP TRIGGER ${quotedName(String(name))} ON ${sql.table}`);
}

/** Rows without a second vector. */
export async function countUnmoved(query: Query, { sql }: PostgresGallery): Promise<number> {
  const [found] = await query(`SELECT count(*) AS n FROM ${sql.table} t WHERE ${isUnmoved(sql)}`);
  return Number(found!['n']);
}

/** Dimensions that a column of vectors declares; null if it takes any. */
export async function declaredDimension(query: Query, { oid, vector }: PostgresGallery): Promise<number | null> {
  const [found] = await query('SELECT atttypmod AS n FROM pg_attribute WHERE attrelid = $1 AND attname = $2', oid, vector); // biome-ignore format: short
  return Number(found!['n']) > 0 ? Number(found!['n']) : null;
}

/** Exchanges the vectors of the application's column, which get `dim` dimensions, and those beside. Every row has one beside. */
export async function swapBeside(query: Query, gallery: PostgresGallery, dim: number): Promise<void> {
  const { sql } = gallery;
  const declared = await declaredDimension(query, gallery);
  const widens = declared !== null && declared !== dim;
  await dropTriggers(query, gallery);
  const indexes = widens ? await dropVectorIndexes(query, gallery) : [];
  if (widens) await query(`ALTER TABLE ${sql.table} ALTER COLUMN ${sql.vector} TYPE vector`);
  await query(`DELETE FROM ${sql.beside} b WHERE NOT EXISTS (SELECT 1 FROM ${sql.table} t WHERE t.${sql.id} = b.id)`); // no trigger was called
  // all parts of a statement see what was there before it
  await query(
    `WITH fresh AS (SELECT id, vector FROM ${sql.beside}),
    kept AS (UPDATE ${sql.beside} b SET vector = t.${sql.vector}, version = ${versionSql('b.vector')}, written_by = NULL FROM ${sql.table} t WHERE t.${sql.id} = b.id)
    UPDATE ${sql.table} t SET ${sql.vector} = fresh.vector FROM fresh WHERE fresh.id = t.${sql.id}`,
  );
  if (widens) await query(`ALTER TABLE ${sql.table} ALTER COLUMN ${sql.vector} TYPE vector(${dim})`);
  for (const index of indexes) await query(index);
  await createTriggers(query, gallery);
}

/** Indexes of the table that depend on the column of vectors, also those of its partitions that are no parts of the table's own. */
const VECTOR_INDEXES = `SELECT i.indexrelid::regclass::text AS name, c.relkind, pg_get_indexdef(i.indexrelid) AS sql
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = $2
  WHERE (i.indrelid = $1 OR i.indrelid IN (SELECT relid FROM pg_partition_tree($1::oid::regclass)))
  AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = i.indexrelid)`;

/** Indexes of vectors have the dimensions of their column. → what makes them again */
async function dropVectorIndexes(query: Query, { oid, vector }: PostgresGallery): Promise<string[]> {
  const found = await query(`${VECTOR_INDEXES} AND a.attnum = ANY(i.indkey)`, oid, vector);
  for (const { name } of found) await query(`DROP INDEX ${String(name)}`);
  // the definition of an index of a partitioned table is that of the table's own part alone
  return found.map(({ sql, relkind }) => (relkind === 'I' ? String(sql).replace(' ON ONLY ', ' ON ') : String(sql)));
}

/** @throws UserError if an index is of an expression of the vectors: it may name their dimensions, and fail for others */
export async function requireNoVectorExpression(query: Query, gallery: PostgresGallery, url: string): Promise<void> {
  const [found] = await query(
    `${VECTOR_INDEXES} AND i.indexprs IS NOT NULL AND a.attnum <> ALL(i.indkey) AND EXISTS (SELECT 1 FROM pg_depend d WHERE
    d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)`,
    gallery.oid,
    gallery.vector,
  );
  if (!found) return;
  const name = String(found['name']);
  throw new UserError(`${url}: the index ${name} is of an expression of ${gallery.vector}, which vectors of other dimensions may not have`, { hint: `DROP INDEX ${name}, and make it again afterwards` }); // biome-ignore format: short
}
