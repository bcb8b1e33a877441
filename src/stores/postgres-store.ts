import { codeOf, UserError } from '../base/errors.ts';
import type {
  GalleryCounts,
  GalleryDescription,
  GalleryRow,
  GalleryState,
  GalleryStore,
  Hit,
  JournalEntry,
  MovedBatch,
  PageOptions,
  SearchedSpace,
  SearchOptions,
} from './gallery-store.ts';
import { isIntegerKey } from './integer-key.ts';
import { type MigrationRecord, migrationSchema, parseRecord } from './migration-record.ts';
import { addVersions, besideJoin, countUnmoved, createBeside, declaredDimension, dropBeside, isUnmoved, lacksVersions, requireNoVectorExpression, swapBeside } from './postgres-beside.ts'; // biome-ignore format: short
import { claimGallery } from './postgres-claim.ts';
import { type PostgresRow, PostgresSession, type Query, quotedName } from './postgres-driver.ts';
import { findPostgresGallery, type PostgresGallery } from './postgres-gallery.ts';
import { vectorOfWire, vectorText, versionSql } from './postgres-vectors.ts';
import {
  newerRowsError,
  requireColumns,
  requireMigration,
  requireNoMigration,
  requireQueryDimension,
  requireStamp,
  unmovedError,
} from './requirements.ts';
import { type Stamp, stampSchema } from './stamp.ts';
import type { StoreUrl } from './store-url.ts';
import { NearestRows } from './vectors.ts';

/** Codes of a server for a role that may not, and for a server that only reads. */
const RIGHTS = ['42501', '25006'];

/** Opens a gallery in a database with pgvector. @throws UserError as `GalleryStore` and if `pg` is not installed */
export async function openPostgresStore(url: StoreUrl): Promise<GalleryStore> {
  const session = await PostgresSession.open(url);
  try {
    const gallery = await session.transaction('look', (query) => findPostgresGallery(query, url));
    if (await session.transaction('look', (query) => lacksVersions(query, gallery)))
      await session.transaction('write', (query) => addVersions(query, gallery).catch((error) => {
        if (!RIGHTS.includes(codeOf(error) ?? '')) throw error;
        throw new UserError(`${url.text}: an earlier version of mixbct began its migration, without the versions of rows that this one reads`, { hint: 'let the owner of the table open it once on the primary server: mixbct migrate status URL' }); // biome-ignore format: short
      })); // biome-ignore format: short
    return new PostgresStore(url, session, gallery);
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * A table with a column of pgvector's type. The second vectors are in a table of their own, each with the version of the row that it
 * is of: it counts no more once its row is deleted or gets another vector.
 */
class PostgresStore implements GalleryStore {
  readonly url: string;
  readonly #url: StoreUrl;
  readonly #session: PostgresSession;
  readonly #gallery: PostgresGallery;

  constructor(url: StoreUrl, session: PostgresSession, gallery: PostgresGallery) {
    this.url = url.text;
    this.#url = url;
    this.#session = session;
    this.#gallery = gallery;
  }

  async describe(): Promise<GalleryDescription> {
    const { table, id, vector, columns, sql } = this.#gallery;
    return await this.#look(async (query) => {
      const [first] = await query(`SELECT vector_dims(${sql.vector}) AS n FROM ${sql.table} WHERE ${sql.vector} IS NOT NULL LIMIT 1`); // biome-ignore format: short
      const dim = first ? Number(first['n']) : await declaredDimension(query, this.#gallery);
      return { kind: 'postgres', table, id, vector, columns, dim };
    });
  }

  async state(): Promise<GalleryState> {
    return await this.#look((query) => this.#state(query));
  }

  async counts(): Promise<GalleryCounts> {
    const { sql } = this.#gallery;
    return await this.#look(async (query) => {
      const { migration } = await this.#state(query);
      const [rows, moved] = migration ? [besideJoin(sql, 'LEFT JOIN'), 'count(b.id)'] : [sql.table, 0];
      const [found] = await query(`SELECT count(*) AS rows, ${moved} AS moved FROM ${rows}`);
      return { rows: Number(found!['rows']), moved: Number(found!['moved']) };
    });
  }

  async stamp(stamp: Stamp): Promise<void> {
    await this.#write(async (query, state) => {
      requireNoMigration(this.url, state);
      await this.#save(query, { stamp });
    });
  }

  async rows(keys: readonly string[], fields: readonly string[] = []): Promise<GalleryRow[]> {
    const { id, idType } = this.#gallery.sql;
    return await this.#look(async (query) => {
      const select = `${await this.#selectRows(query, fields)} WHERE t.${id} = ANY($1::text[]::${idType}[])`;
      return (await query(select, this.#possible(keys))).map((row) => this.#row(row, fields));
    });
  }

  async page(after: string | null, limit: number, { fields = [], only }: PageOptions = {}): Promise<GalleryRow[]> {
    const { id, idType } = this.#gallery.sql;
    return await this.#look(async (query) => {
      const { migration } = await this.#state(query);
      const unmoved = only === 'unmoved' && migration ? 'b.id IS NULL' : 'true';
      const where = `WHERE ${unmoved} AND ($1::text IS NULL OR t.${id} > $1::text::${idType})`;
      const select = `${await this.#selectRows(query, fields)} ${where} ORDER BY t.${id} LIMIT $2`;
      return (await query(select, after, limit)).map((row) => this.#row(row, fields));
    });
  }

  async search(
    queries: ReadonlyMap<string, Float32Array>,
    { k, fields = [] }: SearchOptions,
  ): Promise<SearchedSpace[]> {
    const { sql, columns } = this.#gallery;
    return await this.#look(async (query) => {
      const { stamp, migration } = requireStamp(this.url, await this.#state(query));
      requireColumns(this.url, columns, fields);
      const moving = migration?.phase === 'moving';
      const own = { stamp, vector: `t.${sql.vector}`, from: `${sql.table} t` };
      const spaces: (Space & { readonly stamp: Stamp })[] = moving
        ? [
            { ...own, where: isUnmoved(sql), exact: true },
            { stamp: migration.target, vector: 'b.vector', from: besideJoin(sql), where: 'true', exact: true },
          ]
        : [{ ...own, where: 'true', exact: false }];
      const found: SearchedSpace[] = [];
      for (const { stamp: of, ...space } of spaces) {
        const vector = queries.get(of.model.digest);
        if (vector) requireQueryDimension(this.url, of, vector);
        found.push({ stamp: of, hits: vector ? await this.#nearest(query, vector, space, { k, fields }) : null });
      }
      return found;
    });
  }

  async beginMigration(record: MigrationRecord): Promise<void> {
    await this.#write(async (query, state) => {
      requireNoMigration(this.url, requireStamp(this.url, state));
      await this.#requireOwner(query);
      if (record.target.dim !== record.from.dim) await requireNoVectorExpression(query, this.#gallery, this.url);
      await createBeside(query, this.#gallery);
      await this.#save(query, { migration: record });
    });
  }

  async setPaused(paused: boolean): Promise<void> {
    await this.#write(async (query, state) =>
      this.#save(query, { migration: { ...requireMigration(this.url, state, 'moving'), paused } }),
    );
  }

  async commit({ rows, entry }: MovedBatch): Promise<number> {
    const { sql, name } = this.#gallery;
    return await this.#write(async (query, state) => {
      const { target } = requireMigration(this.url, state, 'moving');
      for (const { vector } of rows) if (vector.length !== target.dim) throw new RangeError(`a vector of ${vector.length} for ${target.dim} dimensions`); // biome-ignore format: short
      // the rows are locked: who changes one waits, and its trigger then sees the vector beside, unless its transaction has an older look
      const taken = await query(
        `WITH batch AS (SELECT * FROM unnest($1::text[]::${sql.idType}[], $2::text[], $3::vector[]) AS x (id, version, vector)),
        same AS (SELECT t.${sql.id} AS id, t.xmin AS written_by FROM ${sql.table} t JOIN batch ON batch.id = t.${sql.id}
          WHERE ${versionSql(`t.${sql.vector}`)} = batch.version ORDER BY t.${sql.id} FOR NO KEY UPDATE OF t)
        INSERT INTO ${sql.beside} AS b SELECT batch.id, batch.vector, batch.version, same.written_by FROM batch JOIN same ON same.id = batch.id
        ON CONFLICT (id) DO UPDATE SET vector = EXCLUDED.vector, version = EXCLUDED.version, written_by = EXCLUDED.written_by
        WHERE b.version IS DISTINCT FROM EXCLUDED.version
        RETURNING 1 AS taken`,
        rows.map(({ key }) => key),
        rows.map(({ version }) => version),
        rows.map(({ vector }) => vectorText(vector)),
      );
      const { batch, at, ms } = entry;
      await query(`INSERT INTO ${sql.journal} VALUES ($1, $2, $3, $4, $5)`, name, batch, at, taken.length, ms);
      return taken.length;
    });
  }

  async journal(): Promise<JournalEntry[]> {
    const { sql, name } = this.#gallery;
    return await this.#look(async (query) => {
      if (!(await this.#hasOwnTables(query))) return [];
      const entries = await query(`SELECT batch, at, rows, ms FROM ${sql.journal} WHERE gallery = $1 ORDER BY batch`, name); // biome-ignore format: short
      return entries.map((entry) => ({ ...entry }) as JournalEntry);
    });
  }

  async cutOver(): Promise<void> {
    await this.#write(async (query, state) => {
      const migration = requireMigration(this.url, state, 'moving');
      await this.#lockTable(query);
      const unmoved = await countUnmoved(query, this.#gallery);
      if (unmoved > 0) throw unmovedError(this.url, unmoved);
      await this.#swap(query, migration.from, migration.target);
      await this.#save(query, { migration: { ...migration, phase: 'cut-over' } });
    });
  }

  async rollback(): Promise<void> {
    await this.#write(async (query, state) => {
      const { phase, target } = requireMigration(this.url, state);
      if (phase === 'cut-over') {
        await this.#lockTable(query);
        const newer = await countUnmoved(query, this.#gallery);
        if (newer > 0) throw newerRowsError(this.url, newer);
        await this.#swap(query, target, (await this.#written(query)).stamp!);
      }
      await this.#end(query);
    });
  }

  async finish(): Promise<void> {
    await this.#write(async (query, state) => {
      const { target } = requireMigration(this.url, state, 'cut-over');
      await this.#end(query);
      await this.#save(query, { stamp: target });
    });
  }

  async claim(): Promise<AsyncDisposable> {
    await this.#write(async () => {}); // the gallery has a row
    return await claimGallery(this.#url, this.#gallery);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]();
  }

  /** One look: all that is read in `body` was there at one moment. */
  #look<T>(body: (query: Query) => Promise<T>): Promise<T> {
    return this.#session.transaction('look', body);
  }

  /** Those who write wait for each other from the state on. */
  #write<T>(body: (query: Query, state: GalleryState) => Promise<T>): Promise<T> {
    return this.#session.transaction('write', async (query) => {
      await this.#lockState(query);
      return await body(query, await this.#state(query));
    });
  }

  async #hasOwnTables(query: Query): Promise<boolean> {
    const [found] = await query('SELECT to_regclass($1) IS NOT NULL AS has', this.#gallery.sql.galleries);
    return found!['has'] === true;
  }

  /** Makes mixbct's tables and the gallery's row if they are not there, and locks the row. */
  async #lockState(query: Query): Promise<void> {
    const { galleries, journal } = this.#gallery.sql;
    if (!(await this.#hasOwnTables(query))) {
      await query("SELECT pg_advisory_xact_lock(hashtextextended('mixbct tables', 0))"); // IF NOT EXISTS fails if two do it at once
      await query(`CREATE TABLE IF NOT EXISTS ${galleries} (gallery text PRIMARY KEY, stamp text, migration text, claim text)`); // biome-ignore format: short
      await query(`CREATE TABLE IF NOT EXISTS ${journal} (gallery text, batch int, at text, rows int, ms float8, PRIMARY KEY (gallery, batch))`); // biome-ignore format: short
    }
    await query(`INSERT INTO ${galleries} (gallery) VALUES ($1) ON CONFLICT DO NOTHING`, this.#gallery.name);
    await query(`SELECT 1 FROM ${galleries} WHERE gallery = $1 FOR UPDATE`, this.#gallery.name);
  }

  /** Lets the application read and not write until the end of the transaction. */
  async #lockTable(query: Query): Promise<void> {
    await query(`LOCK TABLE ${this.#gallery.sql.table} IN SHARE ROW EXCLUSIVE MODE`);
  }

  async #swap(query: Query, from: Stamp, to: Stamp): Promise<void> {
    if (from.dim !== to.dim) await requireNoVectorExpression(query, this.#gallery, this.url);
    await swapBeside(query, this.#gallery, to.dim);
  }

  async #requireOwner(query: Query): Promise<void> {
    const [found] = await query("SELECT pg_has_role(relowner, 'USAGE') AS may, current_user AS role FROM pg_class WHERE oid = $1", this.#gallery.oid); // biome-ignore format: short
    if (found!['may'] === true) return;
    throw new UserError(`${this.url}: the role ${String(found!['role'])} does not own the table, and a migration puts triggers on it`, { hint: 'connect as its owner' }); // biome-ignore format: short
  }

  /** What is written, whatever the phase. */
  async #written(query: Query): Promise<GalleryState> {
    const { sql, name } = this.#gallery;
    if (!(await this.#hasOwnTables(query))) return { stamp: null, migration: null };
    const [found] = await query(`SELECT stamp, migration FROM ${sql.galleries} WHERE gallery = $1`, name);
    const { stamp = null, migration = null } = found ?? {};
    return {
      stamp: stamp === null ? null : parseRecord(stampSchema, this.url, stamp),
      migration: migration === null ? null : parseRecord(migrationSchema, this.url, migration),
    };
  }

  async #state(query: Query): Promise<GalleryState> {
    const { stamp, migration } = await this.#written(query);
    return { stamp: migration?.phase === 'cut-over' ? migration.target : stamp, migration };
  }

  /** Writes the stamp or the migration of this gallery; the other one stays. */
  async #save(query: Query, what: { readonly stamp: Stamp } | { readonly migration: MigrationRecord | null }) {
    for (const [column, value] of Object.entries(what))
      await query(`UPDATE ${this.#gallery.sql.galleries} SET ${column} = $2 WHERE gallery = $1`, this.#gallery.name, value && JSON.stringify(value)); // biome-ignore format: short
  }

  /** Removes what a migration has made. */
  async #end(query: Query): Promise<void> {
    await dropBeside(query, this.#gallery);
    await query(`DELETE FROM ${this.#gallery.sql.journal} WHERE gallery = $1`, this.#gallery.name);
    await this.#save(query, { migration: null });
  }

  /** Keys that may be ids: a text that is no number cannot be one of a column of numbers. */
  #possible(keys: readonly string[]): readonly string[] {
    const isPossible = FORMS[this.#gallery.sql.idType];
    return isPossible ? keys.filter(isPossible) : keys;
  }

  async #selectRows(query: Query, fields: readonly string[]): Promise<string> {
    const { sql, columns } = this.#gallery;
    requireColumns(this.url, columns, fields);
    const named = fields.map((field, i) => `, t.${quotedName(field)} AS f${i}`).join('');
    const vector = `t.${sql.vector}`;
    const own = `t.${sql.id}::text AS key, vector_send(${vector}) AS vector, ${versionSql(vector)} AS version${named}`;
    return (await this.#state(query)).migration
      ? `SELECT ${own}, b.id IS NOT NULL AS moved, vector_send(b.vector) AS beside FROM ${besideJoin(sql, 'LEFT JOIN')}`
      : `SELECT ${own}, false AS moved, NULL::bytea AS beside FROM ${sql.table} t`;
  }

  #row(row: PostgresRow, fields: readonly string[]): GalleryRow {
    const { key, version, vector, moved, beside } = row;
    return {
      ...{ key: String(key), version: String(version), moved: moved === true },
      ...{ vector: vectorOfWire(vector), beside: vectorOfWire(beside), fields: fieldsOf(row, fields) },
    };
  }

  /** The nearest rows by pgvector, scored here. */
  async #nearest(
    query: Query,
    to: Float32Array,
    { vector, from, where, exact }: Space,
    { k, fields = [] }: SearchOptions,
  ): Promise<Hit[]> {
    const named = fields.map((field, i) => `, t.${quotedName(field)} AS f${i}`).join('');
    const distance = `${vector} <=> $1::vector`;
    // of zeros the distance is NaN, which comes last
    const select = (order: string) =>
      query(
        `SELECT t.${this.#gallery.sql.id}::text AS key, vector_send(${vector}) AS v${named} FROM ${from}
        WHERE ${vector} IS NOT NULL AND ${where} ORDER BY ${order} LIMIT $2`,
        vectorText(to),
        k,
      );
    if (!exact) await query(SEARCH_WIDTH, k);
    let rows = exact ? [] : await select(distance);
    // an index yields so many rows as it was told to look for, of which some may be gone; it has no order by a sum
    if (rows.length < k) rows = await select(`(${distance}) + 0`);
    const nearest = new NearestRows(to, k);
    const found = new Map(rows.map((row) => [String(row['key']), fieldsOf(row, fields)]));
    for (const { key, v } of rows) nearest.offer(String(key), vectorOfWire(v)!, this.url);
    return nearest.hits().map((hit) => ({ ...hit, fields: found.get(hit.key)! }));
  }
}

/** Rows that are searched: by their distance to a query, or, if not `exact`, by an index of the vectors if there is one. */
type Space = Readonly<Record<'vector' | 'from' | 'where', string>> & { readonly exact: boolean };

/** Lets HNSW look for k rows until the end of the transaction, of which it yields no more than 40 otherwise; its limit is 1,000. */
const SEARCH_WIDTH = `SELECT set_config('hnsw.ef_search',
  least(1000, greatest($1::int, coalesce(nullif(current_setting('hnsw.ef_search', true), ''), '40')::int))::text, true)`;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const FORMS: Readonly<Record<string, (key: string) => boolean>> = {
  smallint: (key) => isIntegerKey(key, 16),
  integer: (key) => isIntegerKey(key, 32),
  bigint: (key) => isIntegerKey(key, 64),
  uuid: (key) => UUID.test(key),
};

const fieldsOf = (row: PostgresRow, fields: readonly string[]): Hit['fields'] =>
  Object.fromEntries(fields.map((field, i) => [field, row[`f${i}`]]));
