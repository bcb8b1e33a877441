import { copyFileSync, existsSync, linkSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { z } from 'zod';
import { fsyncPath, renameDurably, writeAtomic, writeFileDurably } from '../artifacts/durable-write.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { lockOutput } from '../artifacts/output-lock.ts';
import { FileError, UserError } from '../base/errors.ts';
import { sleepSync } from '../base/sleep.ts';
import { embeddingFiles } from '../features/embedding-files.ts';
import { npyHeader } from '../features/npy.ts';
import { FilesGallery, fileState, galleryState } from './files-gallery.ts';
import { FilesJournal } from './files-journal.ts';
import type { GalleryCounts, GalleryDescription, GalleryRow, GalleryState, GalleryStore, JournalEntry, MovedBatch, PageOptions, SearchedSpace, SearchOptions } from './gallery-store.ts'; // biome-ignore format: short
import { type MigrationRecord, migrationSchema, parseRecord } from './migration-record.ts';
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

/** Opens a gallery in a `.npy` file. @throws FileError if there is none */
export async function openFilesStore(url: StoreUrl): Promise<GalleryStore> {
  const { location: path, text } = url;
  if (url.table !== undefined || url.id !== undefined || url.vector !== undefined)
    throw new UserError(`${text}: a .npy file has no tables and columns`, { hint: 'files:./gallery.npy' });
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new FileError(text, `there is no file ${path}`, 'check the path'); // biome-ignore format: short
  if (extname(path) !== '.npy')
    throw new UserError(`${text}: wanted a .npy file with ids beside it, as mixbct embed writes them`);
  return new FilesStore(path, text, openRows(path));
}

/** One look at a gallery: its rows and what is known of them. */
type Look = GalleryState & {
  readonly rows: FilesGallery;
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
  readonly #path: string;
  readonly #at: Readonly<Record<'folder' | 'record' | 'paused' | 'next' | 'old' | 'oldIds', string>>;
  #rows: FilesGallery;
  #journal: FilesJournal;
  /** The migration that the journal is of. */
  #journalOf = '';
  /** Versions of the new vectors, by key, after the cut-over; and the old ones. */
  #exchanged: { readonly versions: ReadonlyMap<string, string>; readonly old: FilesGallery } | null = null;

  constructor(path: string, url: string, rows: FilesGallery) {
    this.url = url;
    this.#path = path;
    const folder = `${path}.mixbct`;
    const inside = (name: string): string => join(folder, name);
    this.#at = { folder, record: inside('gallery.json'), paused: inside('paused'), next: inside('next.npy'), old: inside('old.npy'), oldIds: inside('old.ids.jsonl') }; // biome-ignore format: short
    this.#rows = rows;
    this.#journal = new FilesJournal(folder);
  }

  async describe(): Promise<GalleryDescription> {
    const { rows } = this.#look();
    const dim = rows.keys.length > 0 ? rows.dim : null;
    return { kind: 'files', table: this.#path, id: 'id', vector: 'vector', columns: COLUMNS, dim };
  }

  async state(): Promise<GalleryState> {
    const { stamp, migration } = this.#state();
    return { stamp, migration };
  }

  async counts(): Promise<GalleryCounts> {
    const { rows, isMoved } = this.#look();
    return { rows: rows.keys.length, moved: rows.keys.filter((_, position) => isMoved(position)).length };
  }

  async stamp(stamp: Stamp): Promise<void> {
    requireNoMigration(this.url, this.#state());
    this.#save({ stamp, migration: null, step: null });
  }

  async rows(keys: readonly string[], fields: readonly string[] = []): Promise<GalleryRow[]> {
    requireColumns(this.url, COLUMNS, fields);
    const look = this.#look();
    return keys.flatMap((key) => {
      const position = look.rows.positions.get(key);
      return position === undefined ? [] : [rowAt(look, position, fields)];
    });
  }

  async page(after: string | null, limit: number, { fields = [], only }: PageOptions = {}): Promise<GalleryRow[]> {
    requireColumns(this.url, COLUMNS, fields);
    const look = this.#look();
    const { sorted, positions } = look.rows;
    const found: GalleryRow[] = [];
    for (let i = after === null ? 0 : firstAfter(sorted, after); i < sorted.length && found.length < limit; i++) {
      const position = positions.get(sorted[i]!)!;
      if (only !== 'unmoved' || !look.migration || !look.isMoved(position)) found.push(rowAt(look, position, fields));
    }
    return found;
  }

  async search(
    queries: ReadonlyMap<string, Float32Array>,
    { k, fields = [] }: SearchOptions,
  ): Promise<SearchedSpace[]> {
    requireColumns(this.url, COLUMNS, fields);
    const look = requireStamp(this.url, this.#look());
    const { stamp, migration, rows, isMoved } = look;
    const moving = migration?.phase === 'moving';
    const space = (of: Stamp, offer: (nearest: NearestRows) => void): SearchedSpace => {
      const query = queries.get(of.model.digest);
      if (!query) return { stamp: of, hits: null };
      requireQueryDimension(this.url, of, query);
      const nearest = new NearestRows(query, k);
      offer(nearest);
      return { stamp: of, hits: nearest.hits().map((hit) => ({ ...hit, fields: fieldsOf(hit.key, fields) })) };
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
  }

  async beginMigration(record: MigrationRecord): Promise<void> {
    const { stamp } = requireStamp(this.url, this.#state());
    requireNoMigration(this.url, this.#state());
    this.#clear();
    this.#save({ stamp, migration: { ...record, paused: false }, step: null });
    if (record.paused) await this.setPaused(true);
  }

  async setPaused(paused: boolean): Promise<void> {
    requireMigration(this.url, this.#state(), 'moving');
    if (paused) writeAtomic(this.#at.paused, '');
    else rmSync(this.#at.paused, { force: true });
  }

  async commit({ rows, entry }: MovedBatch): Promise<number> {
    const look = this.#look();
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
  }

  async journal(): Promise<JournalEntry[]> {
    return this.#look().migration ? [...this.#journal.entries] : [];
  }

  async cutOver(): Promise<void> {
    const look = this.#look();
    const migration = requireMigration(this.url, look, 'moving');
    const { rows, isMoved, beside } = look;
    const unmoved = rows.keys.filter((_, position) => !isMoved(position)).length;
    if (unmoved > 0) throw unmovedError(this.url, unmoved);
    const { stamp } = requireStamp(this.url, look);
    this.#save({ stamp, migration, step: null }); // else a file that is gone would mean a rename
    for (const path of [this.#at.old, this.#at.oldIds, this.#at.next]) rmSync(path, { force: true });
    linkOrCopy(this.#path, this.#at.old);
    linkOrCopy(embeddingFiles(this.#path).ids, this.#at.oldIds);
    writeRows(this.#at.next, migration.target.dim, rows.keys.length, beside);
    this.#exchange({ stamp, migration, step: 'cut-over' }, rows.state);
    this.#save({ stamp, migration: { ...migration, phase: 'cut-over' }, step: null });
  }

  async rollback(): Promise<void> {
    const look = this.#look();
    const migration = requireMigration(this.url, look);
    if (migration.phase === 'cut-over') {
      const { rows, isMoved, beside } = look;
      const newer = rows.keys.filter((_, position) => !isMoved(position)).length;
      if (newer > 0) throw newerRowsError(this.url, newer);
      this.#save({ stamp: migration.from, migration, step: null });
      rmSync(this.#at.next, { force: true });
      const old = this.#exchanged!.old;
      // the very file, if the rows are those that it has
      if (String(old.keys) === String(rows.keys)) linkOrCopy(this.#at.old, this.#at.next);
      else writeRows(this.#at.next, migration.from.dim, rows.keys.length, beside);
      this.#exchange({ stamp: migration.from, migration, step: 'rollback' }, rows.state);
    }
    this.#save({ stamp: migration.from, migration: null, step: null });
    this.#clear();
  }

  async finish(): Promise<void> {
    const { target } = requireMigration(this.url, this.#state(), 'cut-over');
    this.#save({ stamp: target, migration: null, step: null });
    this.#clear();
  }

  async claim(): Promise<AsyncDisposable> {
    const lock = lockOutput(`${this.#path}.migration`);
    return { [Symbol.asyncDispose]: async () => lock[Symbol.dispose]() };
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
    this.#exchanged?.old[Symbol.dispose]();
    this.#exchanged = null;
    this.#journal.remove();
    this.#journalOf = '';
    for (const path of [this.#at.paused, this.#at.next, this.#at.old, this.#at.oldIds]) rmSync(path, { force: true });
  }

  /** Puts the next file in the gallery's place. @throws UserError if the gallery was written since `state` */
  #exchange(record: FilesRecord, state: string): void {
    this.#save(record);
    if (galleryState(this.#path) !== state)
      throw new UserError(`${this.url}: was written while its file was to be replaced`, { hint: 'stop what writes it, and give the command again' }); // biome-ignore format: short
    renameDurably(this.#at.next, this.#path);
  }

  /** Reads what has changed, until nothing changes meanwhile. */
  #look(): Look {
    for (;;) {
      const before = this.#marks();
      const { stamp, migration } = this.#state();
      if (galleryState(this.#path) !== this.#rows.state) {
        const rows = openRows(this.#path);
        this.#rows[Symbol.dispose]();
        this.#rows = rows;
      }
      if ((migration?.id ?? '') !== this.#journalOf) this.#journal = new FilesJournal(this.#at.folder);
      this.#journalOf = migration?.id ?? '';
      if (migration) this.#journal.refresh();
      if (migration?.phase === 'cut-over') this.#exchanged ??= this.#exchangedBy(migration);
      if (this.#marks() === before) return { stamp, migration, rows: this.#rows, ...this.#beside(migration) };
    }
  }

  /** What changes when anything that a look reads is written. */
  #marks(): string {
    return [galleryState(this.#path), ...[this.#at.record, this.#at.next, this.#at.paused].map(fileState)].join(' ');
  }

  #exchangedBy({ target: { dim } }: MigrationRecord) {
    const old = new FilesGallery(this.#at.old, this.#at.oldIds);
    const vectors = this.#journal.all(dim);
    const version = (key: string): string => {
      const at = this.#journal.position(key) * dim;
      return versionOf(vectorBytes(vectors.subarray(at, at + dim)));
    };
    return { old, versions: new Map(old.keys.map((key) => [key, version(key)])) };
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

const COLUMNS = ['id', 'vector'];
/** Attempts to open a gallery of which one file may be new and the other one old, and the pause between them. */
const [ATTEMPTS, PAUSE_MS] = [10, 20];

function openRows(path: string): FilesGallery {
  for (let attempt = 1; ; attempt++)
    try {
      return new FilesGallery(path);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      sleepSync(PAUSE_MS);
    }
}

const fieldsOf = (key: string, fields: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(fields.filter((field) => field === 'id').map((field) => [field, key]));

function rowAt({ rows, isMoved, beside }: Look, position: number, fields: readonly string[]): GalleryRow {
  const key = rows.keys[position]!;
  const moved = isMoved(position);
  return {
    ...{ key, version: rows.versions[position]!, vector: rows.row(position), moved },
    ...{ beside: moved ? beside(position) : null, fields: fieldsOf(key, fields) },
  };
}

/** Position of the first of sorted texts that comes after one. */
function firstAfter(sorted: readonly string[], text: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! > text) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Another name for a file, or a copy where the file system has no links. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
    fsyncPath(to);
  }
}

function writeRows(path: string, dim: number, count: number, vectorAt: (position: number) => Float32Array): void {
  function* chunks(): Iterable<Uint8Array> {
    yield npyHeader('<f4', [count, dim]);
    for (let position = 0; position < count; position++) yield vectorBytes(vectorAt(position));
  }
  writeFileDurably(path, chunks());
}
