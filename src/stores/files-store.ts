import { existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { z } from 'zod';
import { renameDurably, writeAtomic, writeFileDurably } from '../artifacts/durable-write.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { UserError } from '../base/errors.ts';
import { LargeMap } from '../base/large-map.ts';
import { claimMigration } from './claim.ts';
import { FilesJournal } from './files-journal.ts';
import { type FieldReader, fileState, type GalleryFile, galleryFiles, galleryState, keepGallery, linkOrCopy } from './gallery-file.ts'; // biome-ignore format: short
import type { GalleryCounts, GalleryDescription, GalleryRow, GalleryState, GalleryStore, JournalEntry, MovedBatch, PageOptions, SearchedSpace, SearchOptions } from './gallery-store.ts'; // biome-ignore format: short
import { type MigrationRecord, migrationSchema, parseRecord } from './migration-record.ts';
import { openGalleryFile, requireGalleryFile } from './open-gallery-file.ts';
import { newerRowsError, requireColumns, requireMigration, requireNoMigration, requireQueryDimension, requireStamp, unmovedError } from './requirements.ts'; // biome-ignore format: short
import { type Stamp, stampSchema } from './stamp.ts';
import type { StoreUrl } from './store-url.ts';
import { NearestRows, vectorBytes, versionOf } from './vectors.ts';

/** What the folder beside a gallery says. `step`: an exchange of the gallery's file that has begun. */
const recordSchema = z.object({
  stamp: stampSchema.nullable(),
  migration: migrationSchema.nullable(),
  step: z.enum(['cut-over', 'rollback']).nullable(),
});
type FilesRecord = z.infer<typeof recordSchema>;

/** Opens a gallery in a `.npy` or a Parquet file. @throws FileError if there is none */
export async function openFilesStore(url: StoreUrl): Promise<GalleryStore> {
  requireGalleryFile(url);
  return new FilesStore(url, await openGalleryFile(url.location, url));
}

/** One look at a gallery: its rows and what is known of them. */
type Look = GalleryState & {
  readonly rows: GalleryFile;
  /** The row's vector beside, if that is of its present version. */
  readonly isMoved: (position: number) => boolean;
  readonly beside: (position: number) => Float32Array;
};

/**
 * A gallery that is replaced as a whole whenever a row changes. Second vectors are in a folder beside it. An exchange is a rename, and
 * what the folder says makes it whole at any moment: the file that is to take the gallery's place is there before the rename, and
 * gone after it.
 */
class FilesStore implements GalleryStore {
  readonly url: string;
  readonly #place: StoreUrl;
  readonly #path: string;
  readonly #at: Readonly<Record<'folder' | 'record' | 'paused' | 'next' | 'old', string>>;
  #rows: GalleryFile;
  #journal: FilesJournal;
  /** The migration that the journal is of. */
  #journalOf = '';
  /** Versions of the new vectors, by key, after the cut-over; and the old ones. */
  #exchanged: { readonly versions: LargeMap<string, string>; readonly old: GalleryFile } | null = null;
  /** The step that is at work. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(place: StoreUrl, rows: GalleryFile) {
    const { location, text } = place;
    [this.url, this.#place, this.#path] = [text, place, location];
    const folder = `${location}.mixbct`;
    const inside = (name: string): string => join(folder, name);
    const ending = extname(location);
    this.#at = { folder, record: inside('gallery.json'), paused: inside('paused'), next: inside(`next${ending}`), old: inside(`old${ending}`) }; // biome-ignore format: short
    this.#rows = rows;
    this.#journal = new FilesJournal(folder);
  }

  describe(): Promise<GalleryDescription> {
    return this.#step(({ rows: { columns, keys, dim } }) => {
      const { all, ...named } = columns;
      return { kind: 'files', table: this.#path, ...named, columns: all, dim: keys.length > 0 ? dim : null };
    });
  }

  async state(): Promise<GalleryState> {
    const { stamp, migration } = this.#state();
    return { stamp, migration };
  }

  counts(): Promise<GalleryCounts> {
    return this.#step(({ rows, isMoved }) => ({
      rows: rows.keys.length,
      moved: rows.keys.filter((_, position) => isMoved(position)).length,
    }));
  }

  async stamp(stamp: Stamp): Promise<void> {
    requireNoMigration(this.url, this.#state());
    this.#save({ stamp, migration: null, step: null });
  }

  rows(keys: readonly string[], fields: readonly string[] = []): Promise<GalleryRow[]> {
    return this.#step(async (look) => {
      const read = await this.#fields(look, fields);
      return keys.flatMap((key) => {
        const position = look.rows.positions.get(key);
        return position === undefined ? [] : [rowAt(look, position, read)];
      });
    });
  }

  page(after: string | null, limit: number, { fields = [], only }: PageOptions = {}): Promise<GalleryRow[]> {
    return this.#step(async (look) => {
      const read = await this.#fields(look, fields);
      const { sorted, positions } = look.rows;
      const found: GalleryRow[] = [];
      for (let i = look.rows.firstAfter(after); i < sorted.length && found.length < limit; i++) {
        const position = positions.get(sorted[i]!)!;
        if (only !== 'unmoved' || !look.migration || !look.isMoved(position)) found.push(rowAt(look, position, read));
      }
      return found;
    });
  }

  search(queries: ReadonlyMap<string, Float32Array>, { k, fields = [] }: SearchOptions): Promise<SearchedSpace[]> {
    return this.#step(async (look) => {
      const { stamp, migration, rows, isMoved } = requireStamp(this.url, look);
      const read = await this.#fields(look, fields);
      const moving = migration?.phase === 'moving';
      const space = (of: Stamp, offer: (nearest: NearestRows) => void): SearchedSpace => {
        const query = queries.get(of.model.digest);
        if (!query) return { stamp: of, hits: null };
        requireQueryDimension(this.url, of, query);
        const nearest = new NearestRows(query, k);
        offer(nearest);
        return {
          stamp: of,
          hits: nearest.hits().map((hit) => ({ ...hit, fields: read(rows.positions.get(hit.key)!) })),
        };
      };
      const spaces = [
        space(stamp, (nearest) => {
          let position = 0;
          for (const block of rows.blocks())
            for (let at = 0; at < block.length; at += rows.dim, position++)
              if (!moving || !isMoved(position)) nearest.offer(rows.keys[position]!, block.subarray(at, at + rows.dim), this.url); // biome-ignore format: short
        }),
      ];
      if (!moving) return spaces;
      const moved = space(migration.target, (nearest) => {
        const { dim } = migration.target;
        const vectors = this.#journal.all(dim);
        for (const [position, key] of rows.keys.entries()) {
          if (!isMoved(position)) continue;
          const at = this.#journal.position(key) * dim;
          nearest.offer(key, vectors.subarray(at, at + dim), this.url);
        }
      });
      return [...spaces, moved];
    });
  }

  beginMigration(record: MigrationRecord): Promise<void> {
    return this.#step(async (look) => {
      const { stamp, rows } = requireStamp(this.url, look);
      requireNoMigration(this.url, look);
      if (rows.uncopied.length > 0)
        throw new UserError(`${this.url}: has columns that a file with new vectors would not hold as they are: ${rows.uncopied.join(', ')}`, { hint: 'write the file without them' }); // biome-ignore format: short
      this.#clear();
      this.#save({ stamp, migration: { ...record, paused: false }, step: null });
      if (record.paused) await this.setPaused(true);
    });
  }

  async setPaused(paused: boolean): Promise<void> {
    requireMigration(this.url, this.#state(), 'moving');
    if (paused) writeAtomic(this.#at.paused, '');
    else rmSync(this.#at.paused, { force: true });
  }

  commit({ rows, entry }: MovedBatch): Promise<number> {
    return this.#step((look) => {
      const { target } = requireMigration(this.url, look, 'moving');
      const wrong = rows.find(({ vector }) => vector.length !== target.dim);
      if (wrong) throw new RangeError(`a vector of ${wrong.vector.length} for ${target.dim} dimensions`);
      const { positions, versions } = look.rows;
      const taken = rows.filter(({ key, version }) => {
        const position = positions.get(key);
        return position !== undefined && versions[position] === version && !look.isMoved(position);
      });
      this.#journal.append(taken, entry, target.dim);
      return taken.length;
    });
  }

  journal(): Promise<JournalEntry[]> {
    return this.#step(({ migration }) => (migration ? [...this.#journal.entries] : []));
  }

  cutOver(): Promise<void> {
    return this.#step((look) => {
      const migration = requireMigration(this.url, look, 'moving');
      const { rows, isMoved, beside } = look;
      const unmoved = rows.keys.filter((_, position) => !isMoved(position)).length;
      if (unmoved > 0) throw unmovedError(this.url, unmoved);
      const { stamp } = requireStamp(this.url, look);
      this.#save({ stamp, migration, step: null }); // else a file that is gone would mean a rename
      for (const path of [...galleryFiles(this.#at.old), this.#at.next]) rmSync(path, { force: true });
      keepGallery(this.#path, this.#at.old);
      writeFileDurably(this.#at.next, rows.withVectors({ dim: migration.target.dim, vectorAt: beside, double: false }));
      this.#exchange({ stamp, migration, step: 'cut-over' }, rows.state);
      this.#save({ stamp, migration: { ...migration, phase: 'cut-over' }, step: null });
    });
  }

  rollback(): Promise<void> {
    return this.#step((look) => {
      const migration = requireMigration(this.url, look);
      if (migration.phase === 'cut-over') {
        const { rows, isMoved } = look;
        const newer = rows.keys.filter((_, position) => !isMoved(position)).length;
        if (newer > 0) throw newerRowsError(this.url, newer);
        this.#save({ stamp: migration.from, migration, step: null });
        rmSync(this.#at.next, { force: true });
        const { old } = this.#exchanged!;
        // the very file, if the rows are those that it has
        if (rows.hasRowsOf(old)) linkOrCopy(this.#at.old, this.#at.next);
        else {
          const vectorAt = (position: number) => old.numbers(old.positions.get(rows.keys[position]!)!);
          writeFileDurably(this.#at.next, rows.withVectors({ dim: migration.from.dim, vectorAt, double: old.double }));
        }
        this.#exchange({ stamp: migration.from, migration, step: 'rollback' }, rows.state);
      }
      this.#save({ stamp: migration.from, migration: null, step: null });
      this.#clear();
    });
  }

  async finish(): Promise<void> {
    const { target } = requireMigration(this.url, this.#state(), 'cut-over');
    this.#save({ stamp: target, migration: null, step: null });
    this.#clear();
  }

  async claim(): Promise<AsyncDisposable> {
    return claimMigration(join(realpathSync(dirname(this.#path)), basename(this.#path)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#rows[Symbol.dispose]();
    this.#exchanged?.old[Symbol.dispose]();
  }

  /** What the record says, with a step that has begun taken for done if its rename has been. */
  #state(): FilesRecord {
    const { record: path, next, paused } = this.#at;
    if (!existsSync(path)) return { stamp: null, migration: null, step: null };
    const record = parseRecord(recordSchema, this.url, readJson(path));
    const renamed = record.step !== null && !existsSync(next);
    const before = record.migration;
    const migration =
      renamed && record.step === 'rollback'
        ? null
        : before && { ...before, phase: renamed ? ('cut-over' as const) : before.phase, paused: existsSync(paused) }; // biome-ignore format: short
    const stamp = migration?.phase === 'cut-over' ? migration.target : record.stamp;
    return { stamp, migration, step: record.step };
  }

  #save(record: FilesRecord): void {
    mkdirSync(this.#at.folder, { recursive: true });
    writeJson(this.#at.record, record);
  }

  /** Removes what a migration has left. */
  #clear(): void {
    this.#journal.remove();
    this.#forget('');
    for (const path of [this.#at.paused, this.#at.next, ...galleryFiles(this.#at.old)]) rmSync(path, { force: true });
  }

  /** Drops what was read of a migration that another one, or none, has followed. */
  #forget(next: string): void {
    this.#exchanged?.old[Symbol.dispose]();
    this.#exchanged = null;
    this.#journal = new FilesJournal(this.#at.folder);
    this.#journalOf = next;
  }

  /** Puts the next file in the gallery's place. @throws UserError if the gallery was written since `state` */
  #exchange(record: FilesRecord, state: string): void {
    this.#save(record);
    if (galleryState(this.#path) !== state)
      throw new UserError(`${this.url}: was written while its file was to be replaced`, { hint: 'stop what writes it, and give the command again' }); // biome-ignore format: short
    renameDurably(this.#at.next, this.#path);
  }

  /** A step on the gallery as it is, one after the other. */
  #step<T>(work: (look: Look) => T | Promise<T>): Promise<T> {
    const step = this.#last.then(async () => await work(await this.#look()));
    this.#last = step.catch(() => {});
    return step;
  }

  /** @throws UserError if the gallery has not the columns */
  async #fields({ rows }: Look, names: readonly string[]): Promise<FieldReader> {
    requireColumns(this.url, rows.columns.all, names);
    return await rows.fields(names);
  }

  /** Reads what has changed, until nothing changes meanwhile. */
  async #look(): Promise<Look> {
    for (;;) {
      const before = this.#marks();
      const { stamp, migration } = this.#state();
      if (galleryState(this.#path) !== this.#rows.state) {
        const rows = await openGalleryFile(this.#path, this.#place);
        this.#rows[Symbol.dispose]();
        this.#rows = rows;
      }
      if ((migration?.id ?? '') !== this.#journalOf) this.#forget(migration?.id ?? '');
      if (migration) this.#journal.refresh();
      if (migration?.phase === 'cut-over') this.#exchanged ??= await this.#exchangedBy(migration);
      if (this.#marks() === before) return { stamp, migration, rows: this.#rows, ...this.#beside(migration) };
    }
  }

  /** What changes when anything that a look reads is written. */
  #marks(): string {
    return [galleryState(this.#path), ...[this.#at.record, this.#at.next, this.#at.paused].map(fileState)].join(' ');
  }

  async #exchangedBy({ target: { dim } }: MigrationRecord) {
    const old = await openGalleryFile(this.#at.old, this.#place);
    const vectors = this.#journal.all(dim);
    const versions = new LargeMap<string, string>();
    for (const key of old.keys) {
      const at = this.#journal.position(key) * dim;
      versions.set(key, versionOf(vectorBytes(vectors.subarray(at, at + dim))));
    }
    return { old, versions };
  }

  #beside(migration: MigrationRecord | null): Pick<Look, 'isMoved' | 'beside'> {
    const [rows, journal, exchanged] = [this.#rows, this.#journal, this.#exchanged];
    if (!migration) return { isMoved: () => false, beside: () => new Float32Array(0) };
    if (migration.phase === 'moving')
      return {
        isMoved: (position) => journal.versionOf(rows.keys[position]!) === rows.versions[position],
        beside: (position) => journal.vector(rows.keys[position]!, migration.target.dim),
      };
    const { old, versions } = exchanged!;
    return {
      isMoved: (position) => versions.get(rows.keys[position]!) === rows.versions[position],
      beside: (position) => old.row(old.positions.get(rows.keys[position]!)!),
    };
  }
}

function rowAt({ rows, isMoved, beside }: Look, position: number, fields: FieldReader): GalleryRow {
  const moved = isMoved(position);
  return {
    ...{ key: rows.keys[position]!, version: rows.versions[position]!, vector: rows.row(position), moved },
    ...{ beside: moved ? beside(position) : null, fields: fields(position) },
  };
}
