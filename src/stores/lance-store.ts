import type { Connection, Table } from '@lancedb/lancedb';
import { lockOutput } from '../artifacts/output-lock.ts';
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
import {
  appendBatch,
  type BesideRow,
  besideName,
  besideRows,
  besideVersions,
  createBeside,
  type LanceRecord,
  readJournal,
  readRecord,
  writeRecord,
} from './lance-beside.ts';
import { asLanceError, openLance, quotedColumn, vectorsOf } from './lance-driver.ts';
import { afterFilter, describeLance, FRESH, keysFilter, type LanceGallery, openLanceTable } from './lance-gallery.ts';
import { offerByRow, offerNearest } from './lance-search.ts';
import { applicationRows, dropSwapColumns, replaceVectors } from './lance-swap.ts';
import { type MigrationRecord, migrationSchema, parseRecord } from './migration-record.ts';
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
import { NearestRows, versionOfVector } from './vectors.ts';

/** Opens a gallery in a folder of LanceDB. @throws UserError as `GalleryStore` and if LanceDB is not installed */
export async function openLanceStore(url: StoreUrl): Promise<GalleryStore> {
  try {
    const db = await openLance(url);
    const table = await openLanceTable(db, url);
    await describeLance(table, url);
    return new LanceStore(url, db, table);
  } catch (error) {
    throw asLanceError(error, url.text, url.location);
  }
}

/** A version of the table, and what is written of it. */
type Look = GalleryState & {
  readonly gallery: LanceGallery;
  readonly record: LanceRecord;
  /** What the vectors were of before the migration. */
  readonly former: Stamp | null;
};

/** Keys and columns that are looked at together where only some of them are wanted. */
const CHUNK = 4096;
/** Rows that tell whether a swap has been. */
const SAMPLE = 64;

/**
 * A table of LanceDB, which has transactions of one table only. The second vectors are in a table of their own, each with the version
 * of the row that it counts for: what the application changes is noticed when it is read. That makes a search during a migration read
 * all vectors. A swap is one version of the application's table; who finds that it was begun looks which vectors are there.
 */
class LanceStore implements GalleryStore {
  readonly url: string;
  readonly #url: StoreUrl;
  readonly #db: Connection;
  readonly #table: Table;

  constructor(url: StoreUrl, db: Connection, table: Table) {
    this.url = url.text;
    this.#url = url;
    this.#db = db;
    this.#table = table;
  }

  async describe(): Promise<GalleryDescription> {
    return await this.#do(async () => {
      const { table, id, vector, columns, dim } = (await this.#look()).gallery;
      return { kind: 'lancedb', table, id, vector, columns, dim };
    });
  }

  async state(): Promise<GalleryState> {
    return await this.#do(async () => {
      const { stamp, migration } = await this.#look();
      return { stamp, migration };
    });
  }

  async counts(): Promise<GalleryCounts> {
    return await this.#do(async () => {
      const look = await this.#look();
      const rows = await this.#table.countRows();
      return { rows, moved: look.migration ? (await this.#movedRows(look)).size : 0 };
    });
  }

  async stamp(stamp: Stamp): Promise<void> {
    await this.#do(async () => {
      const look = await this.#look();
      requireNoMigration(this.url, look);
      await this.#save(look, { stamp: JSON.stringify(stamp) });
    });
  }

  async rows(keys: readonly string[], fields: readonly string[] = []): Promise<GalleryRow[]> {
    return await this.#do(async () => this.#rows(await this.#look(), keys, fields));
  }

  async page(after: string | null, limit: number, { fields = [], only }: PageOptions = {}): Promise<GalleryRow[]> {
    return await this.#do(async () => {
      const look = await this.#look();
      const found: GalleryRow[] = [];
      for (let last = after; found.length < limit; ) {
        const chosen = only === 'unmoved' && look.migration;
        const keys = await this.#keysAfter(look, last, chosen ? Math.max(limit, CHUNK) : limit);
        if (keys.length === 0) break;
        const rows = new Map((await this.#rows(look, keys, fields)).map((row) => [row.key, row]));
        found.push(...keys.flatMap((key) => rows.get(key) ?? []).filter(({ moved }) => !chosen || !moved));
        last = keys.at(-1)!;
      }
      return found.slice(0, limit);
    });
  }

  async search(queries: ReadonlyMap<string, Float32Array>, options: SearchOptions): Promise<SearchedSpace[]> {
    return await this.#do(async () => {
      const look = requireStamp(this.url, await this.#look());
      const { gallery, stamp, migration } = look;
      requireColumns(this.url, gallery.columns, options.fields ?? []);
      const moving = migration?.phase === 'moving';
      const spaces = (moving ? [stamp, migration.target] : [stamp]).map((of) => {
        const query = queries.get(of.model.digest);
        if (query) requireQueryDimension(this.url, of, query);
        return { stamp: of, query, nearest: query && new NearestRows(query, options.k) };
      });
      const [own, beside] = spaces;
      if (moving)
        await offerByRow(this.#table, gallery, await this.#beside(look), { own: own!.nearest, beside: beside!.nearest }, this.url); // biome-ignore format: short
      else if (own!.nearest) await offerNearest(this.#table, gallery, own!.query!, options.k, own!.nearest, this.url);
      const found: SearchedSpace[] = [];
      for (const { stamp: of, nearest } of spaces)
        found.push({ stamp: of, hits: nearest ? await this.#withFields(look, nearest.hits(), options.fields ?? []) : null }); // biome-ignore format: short
      return found;
    });
  }

  async beginMigration(record: MigrationRecord): Promise<void> {
    await this.#do(async () => {
      const look = requireStamp(this.url, await this.#look());
      requireNoMigration(this.url, look);
      await createBeside(this.#db, besideName(look.gallery, 'beside'), record.target.dim);
      await this.#save(look, { migration: JSON.stringify(record) });
    });
  }

  async setPaused(paused: boolean): Promise<void> {
    await this.#do(async () => {
      const look = await this.#look();
      const migration = { ...requireMigration(this.url, look, 'moving'), paused };
      await this.#save(look, { migration: JSON.stringify(migration) });
    });
  }

  async commit({ rows, entry }: MovedBatch): Promise<number> {
    return await this.#do(async () => {
      const look = await this.#look();
      const { dim } = requireMigration(this.url, look, 'moving').target;
      for (const { vector } of rows) if (vector.length !== dim) throw new RangeError(`a vector of ${vector.length} for ${dim} dimensions`); // biome-ignore format: short
      const now = new Map((await this.#rows(look, rows.map(({ key }) => key), [])).map((row) => [row.key, row])); // biome-ignore format: short
      const taken = rows.filter(({ key, version }) => now.get(key)?.version === version && !now.get(key)!.moved);
      await appendBatch(await this.#beside(look), taken, dim, { ...entry, rows: taken.length });
      return taken.length;
    });
  }

  async journal(): Promise<JournalEntry[]> {
    return await this.#do(async () => {
      const { gallery, migration } = await this.#look();
      return migration ? await readJournal(await this.#db.openTable(besideName(gallery, 'beside'))) : [];
    });
  }

  async cutOver(): Promise<void> {
    await this.#do(async () => {
      const look = await this.#look();
      const migration = requireMigration(this.url, look, 'moving');
      const rows = await this.#movedRows(look);
      const unmoved = (await this.#table.countRows()) - rows.size;
      if (unmoved > 0) throw unmovedError(this.url, unmoved);
      const former: BesideRow[] = [];
      for (const [key, { own, beside }] of rows) former.push({ key, version: versionOfVector(beside), vector: own });
      await createBeside(this.#db, besideName(look.gallery, 'former'), look.gallery.dim, former);
      const late = await this.#swap(look, rows, migration.target.dim);
      if (late > 0) throw unmovedError(this.url, late);
      const done: MigrationRecord = { ...migration, phase: 'cut-over' };
      await this.#save(look, { migration: JSON.stringify(done), swapping: null });
      await dropSwapColumns(this.#table);
    });
  }

  async rollback(): Promise<void> {
    await this.#do(async () => {
      const look = await this.#look();
      const { phase } = requireMigration(this.url, look);
      if (phase === 'cut-over') {
        const rows = await this.#movedRows(look);
        const newer = (await this.#table.countRows()) - rows.size;
        const late = newer > 0 ? newer : await this.#swap(look, rows, look.former!.dim);
        if (late > 0) throw newerRowsError(this.url, late);
      }
      await this.#end(look, {});
    });
  }

  async finish(): Promise<void> {
    await this.#do(async () => {
      const look = await this.#look();
      await this.#end(look, { stamp: JSON.stringify(requireMigration(this.url, look, 'cut-over').target) });
    });
  }

  async claim(): Promise<AsyncDisposable> {
    const name = `${this.#url.location.replace(/\/+$/, '')}.${this.#table.name}.migration`;
    const lock = lockOutput(name);
    return { [Symbol.asyncDispose]: async () => lock[Symbol.dispose]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#table.close();
    this.#db.close();
  }

  async #do<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      throw asLanceError(error, this.url, this.#url.location);
    }
  }

  /** Takes the newest version of the table, and what is written of that version: a swap writes before it and after it. */
  async #look(): Promise<Look> {
    for (let record: LanceRecord | undefined; ; ) {
      await this.#table.checkoutLatest();
      const gallery = await describeLance(this.#table, this.#url);
      const again = await readRecord(this.#db, gallery.name);
      if (JSON.stringify(record) === JSON.stringify(again)) return await this.#lookAt(gallery, again);
      record = again;
    }
  }

  async #lookAt(gallery: LanceGallery, record: LanceRecord): Promise<Look> {
    const former = record.stamp === null ? null : parseRecord(stampSchema, this.url, record.stamp);
    const written = record.migration === null ? null : parseRecord(migrationSchema, this.url, record.migration);
    const migration = written && record.swapping !== null ? { ...written, phase: await this.#phaseOf(gallery) } : written; // biome-ignore format: short
    const stamp = migration?.phase === 'cut-over' ? migration.target : former;
    return { gallery, record, former, stamp, migration };
  }

  /** The phase of a gallery of which a swap has begun, by which of the vectors are in the application's column. */
  async #phaseOf(gallery: LanceGallery): Promise<MigrationRecord['phase']> {
    const former = await this.#db.openTable(besideName(gallery, 'former'));
    const sample = await former.query().where('id IS NOT NULL').select(['id', 'version']).limit(SAMPLE).toArray();
    const filter = keysFilter(gallery, sample.map(({ id }) => String(id))); // biome-ignore format: short
    const fresh = new Map(sample.map(({ id, version }) => [String(id), String(version)]));
    if (filter !== null)
      for await (const { key, vector } of applicationRows(this.#table, gallery, filter))
        if (fresh.get(key) === versionOfVector(vector)) return 'cut-over';
    return 'moving';
  }

  /** The table with the second vectors. */
  async #beside({ gallery, migration }: Look): Promise<Table> {
    return await this.#db.openTable(besideName(gallery, migration?.phase === 'cut-over' ? 'former' : 'beside'));
  }

  async #save({ gallery, record }: Look, what: Partial<LanceRecord>): Promise<void> {
    await writeRecord(this.#db, gallery.name, { ...record, ...what });
  }

  /** Removes what a migration has made. */
  async #end(look: Look, what: Partial<LanceRecord>): Promise<void> {
    await this.#save(look, { ...what, migration: null, swapping: null });
    await dropSwapColumns(this.#table);
    const names = await this.#db.tableNames();
    for (const which of ['beside', 'former'] as const) {
      const name = besideName(look.gallery, which);
      if (names.includes(name)) await this.#db.dropTable(name);
    }
  }

  /**
   * Gives rows their second vectors, all at once, unless one was written since they were read. → the number of such rows: then all are
   * as they were
   */
  async #swap(look: Look, rows: ReadonlyMap<string, MovedPair>, dim: number): Promise<number> {
    const { gallery } = look;
    await this.#save(look, { swapping: new Date().toISOString() });
    const fresh = new Map([...rows].map(([key, { beside }]) => [key, beside]));
    const version = await replaceVectors(this.#table, gallery, fresh, dim);
    await this.#table.checkout(version - 1);
    const before = new Map<string, Float32Array | null>();
    let late = dim === gallery.dim ? 0 : await this.#table.countRows(`${FRESH} IS NULL`);
    for await (const { key, vector } of applicationRows(this.#table, gallery)) {
      const own = rows.get(key)?.own;
      if (own === undefined || versionOfVector(own) !== versionOfVector(vector)) late++;
      before.set(key, vector);
    }
    await this.#table.checkoutLatest();
    if (late > 0) {
      await replaceVectors(this.#table, { ...gallery, dim }, before, gallery.dim);
      await dropSwapColumns(this.#table);
      await this.#save(look, { swapping: null });
    }
    return late;
  }

  /** The rows that are moved, with both vectors. */
  async #movedRows(look: Look): Promise<Map<string, MovedPair>> {
    const beside = await this.#beside(look);
    const versions = await besideVersions(beside);
    const own = new Map<string, Float32Array | null>();
    for await (const { key, vector } of applicationRows(this.#table, look.gallery))
      if (versions.get(key)?.has(versionOfVector(vector))) own.set(key, vector);
    const found = new Map<string, MovedPair>();
    for await (const { key, version, vector } of besideRows(beside))
      if (own.has(key) && versionOfVector(own.get(key)!) === version) found.set(key, { own: own.get(key)!, beside: vector }); // biome-ignore format: short
    return found;
  }

  async #keysAfter({ gallery }: Look, after: string | null, count: number): Promise<string[]> {
    const query = this.#table.query().select([gallery.id]).orderBy({ columnName: gallery.id }).limit(count);
    const found = await (after === null ? query : query.where(afterFilter(gallery, after))).toArray();
    return found.map((row) => String(row[gallery.id]));
  }

  async #rows(look: Look, keys: readonly string[], fields: readonly string[]): Promise<GalleryRow[]> {
    const { gallery, migration } = look;
    requireColumns(this.url, gallery.columns, fields);
    const filter = keysFilter(gallery, keys);
    if (filter === null) return [];
    const beside = new Map<string, Float32Array | null>();
    if (migration)
      for await (const { key, version, vector } of besideRows(await this.#beside(look), keys)) beside.set(`${version} ${key}`, vector); // biome-ignore format: short
    const named = Object.fromEntries(fields.map((field, i) => [`f${i}`, quotedColumn(field)]));
    const select = { key: quotedColumn(gallery.id), vector: quotedColumn(gallery.vector), ...named };
    const found: GalleryRow[] = [];
    for await (const batch of this.#table.query().where(filter).select(select))
      for (const [i, vector] of vectorsOf(batch.getChild('vector')).entries()) {
        const [key, version] = [String(batch.getChild('key')!.get(i)), versionOfVector(vector)];
        const second = beside.get(`${version} ${key}`);
        const values = fields.map((field, f) => [field, batch.getChild(`f${f}`)!.get(i)]);
        found.push({
          ...{ key, version, vector, moved: second !== undefined, beside: second ?? null },
          fields: Object.fromEntries(values),
        });
      }
    return found;
  }

  async #withFields(
    look: Look,
    hits: readonly Pick<Hit, 'key' | 'score'>[],
    fields: readonly string[],
  ): Promise<Hit[]> {
    const rows = fields.length > 0 ? await this.#rows(look, hits.map(({ key }) => key), fields) : []; // biome-ignore format: short
    const found = new Map(rows.map((row) => [row.key, row.fields]));
    return hits.map((hit) => ({ ...hit, fields: found.get(hit.key) ?? {} }));
  }
}

type MovedPair = { readonly own: Float32Array | null; readonly beside: Float32Array | null };
