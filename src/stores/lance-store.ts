import { realpathSync } from 'node:fs';
import type { Connection, Table } from '@lancedb/lancedb';
import { FileError, messageOf } from '../base/errors.ts';
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
import { appendBatch, appendRows, type BesideNames, besideNames, createBeside, readJournal } from './lance-beside.ts';
import { asLanceError, openLance } from './lance-driver.ts';
import { describeLance, type LanceGallery, openLanceTable, requireUniqueIds } from './lance-gallery.ts';
import { type ApplicationRow, countMoved, type MovedPair, movedPairs } from './lance-moved.ts';
import {
  type LanceRecord,
  parseSwapStart,
  readRecord,
  type SwapStart,
  swapStartText,
  writeRecord,
} from './lance-record.ts';
import { type LanceRows, rowsAfter, rowsByKey, unmovedAfter } from './lance-rows.ts';
import { offerMoved, offerNearest, offerUnmoved } from './lance-search.ts';
import { type DoneSwap, findSwap, phaseOf, undoIfOvertaken } from './lance-settle.ts';
import { dropSwapColumns, replaceVectors, type Swap } from './lance-swap.ts';
import { type MigrationRecord, migrationSchema, parseRecord } from './migration-record.ts';
import {
  newerRowsError,
  requireColumns,
  requireMigration,
  requireNoMigration,
  requireQueryDimension,
  requireStamp,
  takenBackError,
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
  /** A swap that has begun and of which the end is not written. */
  readonly begun: SwapStart | null;
};

/** The phase that a swap leads to, and whether a killed process made it. */
type SwapEnd = Pick<SwapStart, 'to'> & Pick<DoneSwap, 'settling'>;

/** Attempts to read what a migration that ends meanwhile removes. */
const READS = 4;
/** Attempts to write a record that others write, too. */
const WRITES = 8;

/**
 * A table of LanceDB, which has transactions of one table only. The second vectors are in a table of their own, each with the version
 * of the row that it counts for: what the application changes is noticed when it is read. A swap is one version of the application's
 * table; who finds that it was begun looks which vectors are there.
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
    return await this.#read(async () => {
      const { table, id, vector, columns, dim } = (await this.#look()).gallery;
      return { kind: 'lancedb', table, id, vector, columns, dim };
    });
  }

  async state(): Promise<GalleryState> {
    return await this.#read(async () => {
      const { stamp, migration } = await this.#look();
      return { stamp, migration };
    });
  }

  async counts(): Promise<GalleryCounts> {
    return await this.#read(async () => {
      const look = await this.#look();
      return { rows: await this.#table.countRows(), moved: look.migration ? await this.#countMoved(look) : 0 };
    });
  }

  async stamp(stamp: Stamp): Promise<void> {
    await this.#change((look) => {
      requireNoMigration(this.url, look);
      return { stamp: JSON.stringify(stamp) };
    });
  }

  async rows(keys: readonly string[], fields: readonly string[] = []): Promise<GalleryRow[]> {
    return await this.#read(async () => this.#rows(await this.#look(), keys, fields));
  }

  async page(after: string | null, limit: number, { fields = [], only }: PageOptions = {}): Promise<GalleryRow[]> {
    return await this.#read(async () => {
      const look = await this.#look();
      const rows = await this.#rowsOf(look, fields);
      return only === 'unmoved' && look.migration
        ? await unmovedAfter(rows, after, limit)
        : await rowsAfter(rows, after, limit);
    });
  }

  async search(queries: ReadonlyMap<string, Float32Array>, options: SearchOptions): Promise<SearchedSpace[]> {
    return await this.#read(async () => {
      const look = requireStamp(this.url, await this.#look());
      const { gallery, stamp, migration } = look;
      requireColumns(this.url, gallery.columns, options.fields ?? []);
      const beside = migration?.phase === 'moving' ? await this.#beside(look) : null;
      const spaces = (beside ? [stamp, migration!.target] : [stamp]).map((of) => {
        const to = queries.get(of.model.digest);
        if (to) requireQueryDimension(this.url, of, to);
        return { stamp: of, search: to && { table: this.#table, gallery, to, k: options.k, nearest: new NearestRows(to, options.k), url: this.url } }; // biome-ignore format: short
      });
      const [own, moved] = spaces;
      if (own!.search) await (beside ? offerUnmoved(own!.search, beside) : offerNearest(own!.search));
      if (moved?.search) await offerMoved(moved.search, beside!);
      const found: SearchedSpace[] = [];
      for (const { stamp: of, search } of spaces)
        found.push({ stamp: of, hits: search ? await this.#withFields(look, search.nearest.hits(), options.fields ?? []) : null }); // biome-ignore format: short
      return found;
    });
  }

  async beginMigration(record: MigrationRecord): Promise<void> {
    await this.#change(async (look) => {
      requireNoMigration(this.url, requireStamp(this.url, look));
      await requireUniqueIds(this.#table, look.gallery, this.url);
      await createBeside(this.#db, (await this.#names(look)).beside, record.target.dim);
      return { migration: JSON.stringify(record) };
    });
  }

  async setPaused(paused: boolean): Promise<void> {
    await this.#change((look) => ({
      migration: JSON.stringify({ ...requireMigration(this.url, look, 'moving'), paused }),
    }));
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
    return await this.#read(async () => {
      const look = await this.#look();
      return look.migration ? await readJournal(await this.#open(look, 'beside')) : [];
    });
  }

  async cutOver(): Promise<void> {
    await this.#do(async () => {
      const look = await this.#settled();
      const migration = requireMigration(this.url, look, 'moving');
      const unmoved = (await this.#table.countRows()) - (await this.#countMoved(look));
      if (unmoved > 0) throw look.undone > 0 ? takenBackError(this.url, unmoved, look.former!) : unmovedError(this.url, unmoved); // biome-ignore format: short
      const late = await this.#swap(look, migration.target);
      if (late > 0) throw unmovedError(this.url, late);
      const done: MigrationRecord = { ...migration, phase: 'cut-over' };
      await this.#save(look, { migration: JSON.stringify(done), swapping: null });
      await dropSwapColumns(this.#table);
    });
  }

  async rollback(): Promise<void> {
    await this.#do(async () => {
      const look = await this.#settled();
      const { phase } = requireMigration(this.url, look);
      if (phase === 'cut-over') {
        const newer = (await this.#table.countRows()) - (await this.#countMoved(look));
        const late = newer > 0 ? newer : await this.#swap(look, look.former!);
        if (late > 0) throw newerRowsError(this.url, late);
      }
      await this.#end(look, {});
    });
  }

  async finish(): Promise<void> {
    await this.#do(async () => {
      const look = await this.#settled();
      if (look.undone > 0 && look.migration?.phase === 'moving') throw takenBackError(this.url, look.undone, look.former!); // biome-ignore format: short
      await this.#end(look, { stamp: JSON.stringify(requireMigration(this.url, look, 'cut-over').target) });
    });
  }

  async claim(): Promise<AsyncDisposable> {
    // by what a link points to: the file that the lock is of is not there
    return claimMigration(`${realpathSync(this.#url.location)}.${this.#table.name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#table.close();
    this.#db.close();
  }

  /** A migration that ends removes tables that a search may be reading: it is repeated on what is there then. */
  async #read<T>(body: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++)
      try {
        return await body();
      } catch (error) {
        if (attempt === READS || !/not found/i.test(messageOf(error))) throw asLanceError(error, this.url, this.#url.location); // biome-ignore format: short
      }
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
    const begun = written && record.swapping !== null ? parseSwapStart(this.url, record.swapping, written.phase) : null; // biome-ignore format: short
    const migration = begun ? { ...written!, phase: await phaseOf(this.#table, gallery, await this.#open({ gallery }, 'former'), written!.phase) } : written; // biome-ignore format: short
    const stamp = migration?.phase === 'cut-over' ? migration.target : former;
    return { gallery, record, former, begun, stamp, migration };
  }

  async #names({ gallery }: Pick<Look, 'gallery'>): Promise<BesideNames> {
    return await besideNames(this.#db, gallery.name);
  }

  async #open(look: Pick<Look, 'gallery'>, which: keyof BesideNames): Promise<Table> {
    return await this.#db.openTable((await this.#names(look))[which]);
  }

  /** The table with the second vectors. */
  async #beside(look: Look): Promise<Table> {
    return await this.#open(look, look.migration?.phase === 'cut-over' ? 'former' : 'beside');
  }

  /** Writes what `change` makes of the record. If another process has changed it meanwhile, it looks again. */
  async #change(change: (look: Look) => Partial<LanceRecord> | Promise<Partial<LanceRecord>>): Promise<void> {
    await this.#do(async () => {
      for (let attempt = 1; attempt <= WRITES; attempt++) {
        const look = await this.#look();
        if (await writeRecord(this.#db, look.gallery.name, await change(look), look.record)) return;
      }
      throw new FileError(this.url, 'others change what is written of it all the time', 'give the command again');
    });
  }

  /** For who has claimed the gallery. */
  async #save({ gallery }: Look, what: Partial<LanceRecord>): Promise<void> {
    await writeRecord(this.#db, gallery.name, what);
  }

  /** Removes what a migration has made. */
  async #end(look: Look, what: Partial<LanceRecord>): Promise<void> {
    const own = await this.#names(look);
    await this.#save(look, { ...what, migration: null, swapping: null });
    await dropSwapColumns(this.#table);
    const names = await this.#db.tableNames();
    // `beside` tells which names the gallery has
    for (const name of [own.former, own.beside]) if (names.includes(name)) await this.#db.dropTable(name);
  }

  /** Gives rows their second vectors, all at once, unless one was written since they were read. → as `#undoIfOvertaken` */
  async #swap(look: Look, stamp: Stamp): Promise<number> {
    const { gallery, migration } = look;
    const to = migration!.phase === 'moving' ? 'cut-over' : 'moving';
    const beside = await this.#beside(look);
    if (to === 'cut-over') await this.#keepFormer(look, beside);
    await dropSwapColumns(this.#table);
    await this.#save(look, { swapping: swapStartText({ version: await this.#table.version(), to }) });
    const pairs = movedPairs(this.#table, gallery, beside);
    const swap = await replaceVectors(this.#table, gallery, blocksOf(pairs), stamp.dim);
    const late = await this.#undoIfOvertaken(look, swap, { to, settling: false });
    if (late > 0) await this.#save(look, { swapping: null });
    return late;
  }

  /** Takes a swap back if rows overtook it: then all rows are as they were. → the number of such rows */
  async #undoIfOvertaken(look: Look, swap: Swap, { to, settling }: SwapEnd): Promise<number> {
    const { former, migration } = look;
    const [own, other] = [await this.#open(look, 'beside'), await this.#open(look, 'former')];
    const [from, stamp, beside, given] = to === 'cut-over' ? [former!, migration!.target, own, other] : [migration!.target, former!, other, own]; // biome-ignore format: short
    const gallery = { ...look.gallery, dim: from.dim };
    return await undoIfOvertaken({ url: this.url, table: this.#table, gallery, swap, beside, given, stamp, settling });
  }

  /** Looks. What a swap that was killed has left is settled first. `undone`: rows that overtook it, so that it is taken back */
  async #settled(): Promise<Look & { readonly undone: number }> {
    const look = await this.#look();
    const { begun, gallery, migration } = look;
    if (!begun || !migration) return { ...look, undone: 0 };
    let [phase, undone] = [migration.phase, 0];
    if (phase === begun.to) {
      const beside = await this.#open(look, phase === 'cut-over' ? 'beside' : 'former');
      const { version, renamed } = await findSwap(this.#table, gallery, begun.version, beside);
      // where vectors were replaced in versions that are gone, nothing tells any more
      if (version !== null || renamed)
        undone = await this.#undoIfOvertaken(look, { version, renamed }, { to: phase, settling: true });
      if (undone > 0) phase = phase === 'cut-over' ? 'moving' : 'cut-over';
    }
    await this.#save(look, { migration: JSON.stringify({ ...migration, phase }), swapping: null });
    await dropSwapColumns(this.#table);
    return { ...(await this.#look()), undone };
  }

  /** Writes the vectors that rows have down beside the versions that they are to have. */
  async #keepFormer(look: Look, beside: Table): Promise<void> {
    const { gallery } = look;
    const name = (await this.#names(look)).former;
    await createBeside(this.#db, name, gallery.dim);
    const former = await this.#db.openTable(name);
    for await (const pairs of movedPairs(this.#table, gallery, beside))
      await appendRows(former, pairs.map(({ key, own, beside }) => ({ key, version: versionOfVector(beside), vector: own })), gallery.dim); // biome-ignore format: short
  }

  async #countMoved(look: Look): Promise<number> {
    return await countMoved(this.#table, look.gallery, await this.#beside(look));
  }

  async #rows(look: Look, keys: readonly string[], fields: readonly string[]): Promise<GalleryRow[]> {
    return await rowsByKey(await this.#rowsOf(look, fields), keys);
  }

  async #rowsOf(look: Look, fields: readonly string[]): Promise<LanceRows> {
    requireColumns(this.url, look.gallery.columns, fields);
    const beside = look.migration ? await this.#beside(look) : null;
    return { table: this.#table, gallery: look.gallery, beside, fields };
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

/** The rows as they are after a swap. */
async function* blocksOf(pairs: AsyncIterable<readonly MovedPair[]>): AsyncGenerator<readonly ApplicationRow[]> {
  for await (const some of pairs) yield some.map(({ key, beside }) => ({ key, vector: beside }));
}
