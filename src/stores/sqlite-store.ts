import { realpathSync } from 'node:fs';
import { UserError } from '../base/errors.ts';
import { claimMigration } from './claim.ts';
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
import { numberOrText } from './number-or-text.ts';
import {
  newerRowsError,
  requireColumns,
  requireMigration,
  requireNoMigration,
  requireQueryDimension,
  requireStamp,
  unmovedError,
} from './requirements.ts';
import { countUnmoved, createBeside, dropBeside, movedRows, swapBeside } from './sqlite-beside.ts';
import {
  asSqliteError,
  openSqlite,
  quoted,
  type SqliteDatabase,
  type SqliteOptions,
  type SqliteRow,
  type SqliteStatement,
  type SqliteValue,
  sqliteTransaction,
} from './sqlite-driver.ts';
import { findGallery, requireDatabaseFile, type SqliteGallery } from './sqlite-gallery.ts';
import { type Stamp, stampSchema } from './stamp.ts';
import type { StoreUrl } from './store-url.ts';
import { NearestRows, vectorBytes, vectorOfBytes, versionOf } from './vectors.ts';

/** Opens a gallery in an SQLite file. @throws UserError as `GalleryStore` and if no SQLite is installed */
export async function openSqliteStore(url: StoreUrl, options: SqliteOptions = {}): Promise<GalleryStore> {
  try {
    requireDatabaseFile(url);
    const { database, vec } = await openSqlite(url.location, options);
    try {
      return new SqliteStore(url, database, vec, findGallery(database, url));
    } catch (error) {
      database.close();
      throw error;
    }
  } catch (error) {
    throw asSqliteError(error, url.text, url.location);
  }
}

/**
 * A table with vectors as blobs of float32, which is what sqlite-vec's functions read. The second vectors are in a table of their
 * own; triggers remove one in the very transaction in which its row is deleted, replaced or gets another vector.
 */
class SqliteStore implements GalleryStore {
  readonly url: string;
  readonly #database: SqliteDatabase;
  readonly #vec: boolean;
  readonly #gallery: SqliteGallery;

  constructor(url: StoreUrl, database: SqliteDatabase, vec: boolean, gallery: SqliteGallery) {
    this.url = url.text;
    this.#database = database;
    this.#vec = vec;
    this.#gallery = gallery;
  }

  async describe(): Promise<GalleryDescription> {
    const { table, id, vector, columns, sql } = this.#gallery;
    return this.#do(() => {
      const [first] = this.#all(`SELECT ${sql.vector} AS v FROM ${sql.table} WHERE ${sql.vector} IS NOT NULL LIMIT 1`);
      const dim = first ? this.#vector(first['v'], 'the first row')!.length : null;
      return { kind: 'sqlite', table, id, vector, columns, dim };
    });
  }

  async state(): Promise<GalleryState> {
    return this.#do(() => this.#read(() => this.#state()));
  }

  async counts(): Promise<GalleryCounts> {
    const { sql } = this.#gallery;
    const count = (table: string): number => Number(this.#all(`SELECT count(*) AS n FROM ${table}`)[0]!['n']);
    return this.#do(() =>
      this.#read(() => ({ rows: count(sql.table), moved: this.#state().migration ? count(movedRows(sql)) : 0 })),
    );
  }

  async stamp(stamp: Stamp): Promise<void> {
    this.#do(() =>
      this.#write(() => {
        requireNoMigration(this.url, this.#state());
        this.#save({ stamp });
      }),
    );
  }

  async rows(keys: readonly string[], fields: readonly string[] = []): Promise<GalleryRow[]> {
    const { sql, integers } = this.#gallery;
    return this.#do(() =>
      this.#read(() => {
        const select = this.#prepare(`${this.#selectRows(fields)} WHERE t.${sql.id} = ${sql.key}`);
        // as a number, any other text would be a 0
        const asked = integers ? keys.filter((key) => isIntegerKey(key, 64)) : keys;
        return asked.flatMap((key) => select.all(key)).map((row) => this.#row(row, fields));
      }),
    );
  }

  async page(after: string | null, limit: number, { fields = [], only }: PageOptions = {}): Promise<GalleryRow[]> {
    const { sql } = this.#gallery;
    return this.#do(() =>
      this.#read(() => {
        const unmoved = only === 'unmoved' && this.#state().migration ? 'b.id IS NULL' : 'true';
        const where = `WHERE ${unmoved} AND ${after === null ? 'true' : `t.${sql.id} > ${sql.key}`}`;
        const select = this.#prepare(`${this.#selectRows(fields)} ${where} ORDER BY t.${sql.id} LIMIT ?`);
        const found = select.all(...(after === null ? [] : [after]), limit);
        return found.map((row) => this.#row(row, fields));
      }),
    );
  }

  async search(
    queries: ReadonlyMap<string, Float32Array>,
    { k, fields = [] }: SearchOptions,
  ): Promise<SearchedSpace[]> {
    const { sql } = this.#gallery;
    return this.#do(() =>
      this.#read(() => {
        const { stamp, migration } = requireStamp(this.url, this.#state());
        const moving = migration?.phase === 'moving';
        const rest = moving ? `WHERE NOT EXISTS (SELECT 1 FROM ${sql.beside} b WHERE b.id = t.${sql.id})` : '';
        const spaces = [
          { stamp, from: `SELECT t.${sql.id} AS id, t.${sql.vector} AS v FROM ${sql.table} t ${rest}` },
          ...(moving
            ? [{ stamp: migration.target, from: `SELECT b.id AS id, b.vector AS v FROM ${movedRows(sql)}` }]
            : []),
        ];
        return spaces.map(({ stamp, from }) => {
          const query = queries.get(stamp.model.digest);
          if (!query) return { stamp, hits: null };
          requireQueryDimension(this.url, stamp, query);
          return { stamp, hits: this.#nearest(query, from, k, fields) };
        });
      }),
    );
  }

  async beginMigration(record: MigrationRecord): Promise<void> {
    this.#do(() =>
      this.#write(() => {
        requireNoMigration(this.url, requireStamp(this.url, this.#state()));
        this.#save({ migration: record });
        createBeside(this.#database, this.#gallery);
      }),
    );
  }

  async setPaused(paused: boolean): Promise<void> {
    this.#do(() =>
      this.#write(() => this.#save({ migration: { ...requireMigration(this.url, this.#state(), 'moving'), paused } })),
    );
  }

  async commit({ rows, entry }: MovedBatch): Promise<number> {
    const { sql } = this.#gallery;
    return this.#do(() =>
      this.#write(() => {
        const { target } = requireMigration(this.url, this.#state(), 'moving');
        const now = this.#database.prepare(`SELECT CAST(${sql.id} AS TEXT) AS key, ${sql.vector} AS v FROM ${sql.table} WHERE ${sql.id} = ${sql.key}`); // biome-ignore format: short
        const put = this.#database.prepare(`INSERT OR IGNORE INTO ${sql.beside} VALUES (${sql.key}, ?)`);
        let taken = 0;
        for (const { key, version, vector } of rows) {
          if (vector.length !== target.dim) throw new RangeError(`a vector of ${vector.length} for ${target.dim} dimensions`); // biome-ignore format: short
          const found = now.get(key);
          // a collation finds other spellings of the key, too
          if (found?.['key'] === key && versionOf(found['v'] as Uint8Array | null) === version)
            taken += Number(put.run(key, vectorBytes(vector)).changes);
        }
        this.#all(
          `INSERT INTO ${JOURNAL} VALUES (?, ?, ?, ?, ?)`,
          this.#gallery.name,
          entry.batch,
          entry.at,
          taken,
          entry.ms,
        );
        return taken;
      }),
    );
  }

  async journal(): Promise<JournalEntry[]> {
    return this.#do(() =>
      this.#read(() => {
        if (!this.#hasOwnTables()) return [];
        const found = this.#all(
          `SELECT batch, at, rows, ms FROM ${JOURNAL} WHERE gallery = ? ORDER BY batch`,
          this.#gallery.name,
        );
        return found.map((entry) => ({ ...entry }) as JournalEntry);
      }),
    );
  }

  async cutOver(): Promise<void> {
    this.#do(() =>
      this.#write(() => {
        const migration = requireMigration(this.url, this.#state(), 'moving');
        const unmoved = countUnmoved(this.#database, this.#gallery);
        if (unmoved > 0) throw unmovedError(this.url, unmoved);
        swapBeside(this.#database, this.#gallery);
        this.#save({ migration: { ...migration, phase: 'cut-over' } });
      }),
    );
  }

  async rollback(): Promise<void> {
    this.#do(() =>
      this.#write(() => {
        const { phase } = requireMigration(this.url, this.#state());
        if (phase === 'cut-over') {
          const newer = countUnmoved(this.#database, this.#gallery);
          if (newer > 0) throw newerRowsError(this.url, newer);
          swapBeside(this.#database, this.#gallery);
        }
        this.#end();
      }),
    );
  }

  async finish(): Promise<void> {
    this.#do(() =>
      this.#write(() => {
        const { target } = requireMigration(this.url, this.#state(), 'cut-over');
        this.#end();
        this.#save({ stamp: target });
      }),
    );
  }

  async claim(): Promise<AsyncDisposable> {
    // by what a link points to: the file that the lock is of is not there
    return claimMigration(`${realpathSync(this.#gallery.path)}.${this.#gallery.name.replaceAll('/', '_')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#database.close();
  }

  #do<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      throw asSqliteError(error, this.url, this.#gallery.path);
    }
  }

  /** One look: all that is read in `body` was there at one moment. */
  #read<T>(body: () => T): T {
    return sqliteTransaction(this.#database, 'BEGIN', body);
  }

  #write<T>(body: () => T): T {
    return sqliteTransaction(this.#database, 'BEGIN IMMEDIATE', body);
  }

  /** Prepares what reads columns of the application's: whole numbers come as they are, not rounded and not refused. */
  #prepare(sql: string): SqliteStatement {
    const statement = this.#database.prepare(sql);
    statement.setReadBigInts(true);
    return statement;
  }

  #all(sql: string, ...values: readonly SqliteValue[]): SqliteRow[] {
    return this.#database.prepare(sql).all(...values);
  }

  #hasOwnTables(): boolean {
    return this.#all('SELECT 1 FROM sqlite_schema WHERE name = ?', 'mixbct_galleries').length > 0;
  }

  #state(): GalleryState {
    const [found] = this.#hasOwnTables() ? this.#all(`SELECT stamp, migration FROM ${GALLERIES} WHERE gallery = ?`, this.#gallery.name) : []; // biome-ignore format: short
    const { stamp = null, migration = null } = found ?? {};
    const record = migration === null ? null : parseRecord(migrationSchema, this.url, migration);
    const written = stamp === null ? null : parseRecord(stampSchema, this.url, stamp);
    return { stamp: record?.phase === 'cut-over' ? record.target : written, migration: record };
  }

  /** Writes the stamp or the migration of this gallery; the other one stays. */
  #save(what: { readonly stamp: Stamp } | { readonly migration: MigrationRecord | null }): void {
    this.#database.exec(
      `CREATE TABLE IF NOT EXISTS ${GALLERIES} (gallery TEXT PRIMARY KEY, stamp TEXT, migration TEXT);
      CREATE TABLE IF NOT EXISTS ${JOURNAL} (gallery TEXT, batch INTEGER, at TEXT, rows INTEGER, ms REAL, PRIMARY KEY (gallery, batch))`,
    );
    this.#all(`INSERT OR IGNORE INTO ${GALLERIES} (gallery) VALUES (?)`, this.#gallery.name);
    for (const [column, value] of Object.entries(what)) {
      const set = this.#database.prepare(`UPDATE ${GALLERIES} SET ${column} = ? WHERE gallery = ?`);
      set.run(value === null ? null : JSON.stringify(value), this.#gallery.name);
    }
  }

  /** Removes what a migration has made. */
  #end(): void {
    dropBeside(this.#database, this.#gallery);
    this.#all(`DELETE FROM ${JOURNAL} WHERE gallery = ?`, this.#gallery.name);
    this.#save({ migration: null });
  }

  #selectRows(fields: readonly string[]): string {
    const { sql, columns } = this.#gallery;
    requireColumns(this.url, columns, fields);
    const named = fields.map((field, i) => `, t.${quoted(field)} AS f${i}`).join('');
    const own = `CAST(t.${sql.id} AS TEXT) AS key, t.${sql.vector} AS vector${named}`;
    return this.#state().migration
      ? `SELECT ${own}, b.id IS NOT NULL AS moved, b.vector AS beside FROM ${sql.table} t LEFT JOIN ${sql.beside} b ON b.id = t.${sql.id}`
      : `SELECT ${own}, 0 AS moved, NULL AS beside FROM ${sql.table} t`;
  }

  #row(row: SqliteRow, fields: readonly string[]): GalleryRow {
    const key = String(row['key']);
    const vector = this.#vector(row['vector'], `row ${key}`);
    return {
      key,
      version: versionOf(vector && vectorBytes(vector)),
      vector,
      moved: Number(row['moved']) === 1,
      beside: this.#vector(row['beside'], `the vector beside row ${key}`),
      fields: fieldsOf(row, fields),
    };
  }

  /** @throws FileError if a value is no blob of float32. */
  #vector(value: unknown, which: string): Float32Array | null {
    if (value === null) return null;
    const where = `${this.url}: ${which}`;
    if (value instanceof Uint8Array) return vectorOfBytes(value, where);
    throw new UserError(`${where}: the vector is ${typeof value}, wanted a blob of float32`, { hint: 'sqlite-vec makes one of JSON: vec_f32(vector)' }); // biome-ignore format: short
  }

  /** The nearest of the rows (id, v) that `from` selects: found by sqlite-vec if it is there, scored here in both cases. */
  #nearest(query: Float32Array, from: string, k: number, fields: readonly string[]): Hit[] {
    const nearest = new NearestRows(query, k);
    const rows = `SELECT CAST(id AS TEXT) AS key, v FROM (${from}) WHERE v IS NOT NULL`;
    const found = this.#vec
      ? this.#database
          .prepare(`${rows} AND vec_distance_cosine(v, ?) IS NOT NULL ORDER BY vec_distance_cosine(v, ?) LIMIT ?`)
          .iterate(vectorBytes(query), vectorBytes(query), k)
      : this.#database.prepare(rows).iterate();
    for (const { key, v } of found) nearest.offer(String(key), this.#vector(v, `row ${key}`)!, this.url);
    const { sql, columns } = this.#gallery;
    requireColumns(this.url, columns, fields);
    const named = fields.map((field, i) => `${quoted(field)} AS f${i}`).join(', ');
    const select = this.#prepare(`SELECT ${named || 1} FROM ${sql.table} WHERE ${sql.id} = ${sql.key}`);
    return nearest.hits().map((hit) => ({ ...hit, fields: fieldsOf(select.get(hit.key)!, fields) }));
  }
}

const fieldsOf = (row: SqliteRow, fields: readonly string[]): Hit['fields'] =>
  Object.fromEntries(fields.map((field, i) => [field, numberOrText(row[`f${i}`])]));

const [GALLERIES, JOURNAL] = ['mixbct_galleries', 'mixbct_journal'];
