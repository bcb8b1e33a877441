import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { toDiskFullError, writeAll } from '../artifacts/durable-write.ts';
import { FileError } from '../base/errors.ts';
import { LargeMap } from '../base/large-map.ts';
import { readFully } from '../base/regular-file.ts';
import type { JournalEntry, MovedRow } from './gallery-store.ts';
import { vectorBytes } from './vectors.ts';

/** A committed batch as its line has it: the keys and the versions of its rows, whose vectors follow those of the lines before. */
type Line = JournalEntry & { readonly keys: readonly string[]; readonly versions: readonly string[] };

const NEWLINE = 0x0a;
/** Bytes of the journal read at a time: all of it may be more than a text can hold. */
const CHUNK = 2 ** 24;

/**
 * New vectors and the journal of a migration, in two files that only grow. A batch counts when its line is whole: its vectors are on the
 * disk before it. What an attempt that was killed has left behind the last line is cut off by the next one.
 */
export class FilesJournal {
  readonly #vectors: string;
  readonly #lines: string;
  readonly #chunk: number;
  #entries: JournalEntry[] = [];
  /** The last committed vector of each key, and the version of the row that it was made of. */
  readonly #moved = new LargeMap<string, { readonly version: string; readonly at: number }>();
  /** Bytes of whole lines that were read, and vectors that they tell of. */
  #read = 0;
  #count = 0;

  constructor(folder: string, chunk = CHUNK) {
    this.#chunk = chunk;
    this.#vectors = join(folder, 'vectors.f32');
    this.#lines = join(folder, 'journal.jsonl');
  }

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  /** Bytes of the journal that count. */
  get size(): number {
    return this.#read;
  }

  /** Reads the lines that were added since. */
  refresh(): void {
    if (!existsSync(this.#lines)) return;
    const fd = openSync(this.#lines, 'r');
    try {
      for (let size = this.#chunk; ; ) {
        const bytes = Buffer.alloc(Math.min(size, Math.max(0, fstatSync(fd).size - this.#read)));
        const length = readSync(fd, bytes, 0, bytes.length, this.#read);
        const end = bytes.subarray(0, length).lastIndexOf(NEWLINE) + 1;
        for (const line of bytes.toString('utf8', 0, end).split('\n').slice(0, -1)) this.#take(line);
        this.#read += end;
        if (length < size) return;
        if (end === 0) size *= 2; // a line is longer
      }
    } finally {
      closeSync(fd);
    }
  }

  #take(text: string): void {
    const { keys, versions, ...entry } = this.#parse(text);
    for (const [i, key] of keys.entries()) this.#moved.set(key, { version: versions[i]!, at: this.#count + i });
    this.#count += keys.length;
    this.#entries.push(entry);
  }

  #parse(text: string): Line {
    try {
      const line = JSON.parse(text) as Line;
      if (line.keys.length === line.versions.length && line.keys.length === line.rows) return line;
    } catch {}
    throw new FileError(this.#lines, 'holds a line that mixbct did not write', 'roll the migration back');
  }

  /** Version of the row that a key's vector was made of; undefined if there is none. */
  versionOf(key: string): string | undefined {
    return this.#moved.get(key)?.version;
  }

  /** The vector of a key that has one. */
  vector(key: string, dim: number): Float32Array {
    const vector = new Float32Array(dim);
    const fd = openSync(this.#vectors, 'r');
    try {
      readFully(fd, this.#vectors, vectorBytes(vector), this.#moved.get(key)!.at * 4 * dim);
    } finally {
      closeSync(fd);
    }
    return vector;
  }

  /** All vectors that were committed, flat, also those that later ones replace. */
  all(dim: number): Float32Array {
    const vectors = new Float32Array(this.#count * dim);
    if (this.#count === 0) return vectors;
    const fd = openSync(this.#vectors, 'r');
    try {
      readFully(fd, this.#vectors, vectorBytes(vectors), 0);
    } finally {
      closeSync(fd);
    }
    return vectors;
  }

  /** Position of a key's vector among `all`. */
  position(key: string): number {
    return this.#moved.get(key)!.at;
  }

  /** @throws DiskFullError; then the batch does not count */
  append(rows: readonly MovedRow[], entry: Omit<JournalEntry, 'rows'>, dim: number): void {
    this.refresh();
    const line = { ...entry, rows: rows.length, keys: rows.map(({ key }) => key), versions: rows.map(({ version }) => version) }; // biome-ignore format: short
    appendAt(this.#vectors, this.#count * 4 * dim, rows.map(({ vector }) => vectorBytes(vector))); // biome-ignore format: short
    appendAt(this.#lines, this.#read, [Buffer.from(`${JSON.stringify(line)}\n`)]);
    this.refresh();
  }

  remove(): void {
    for (const path of [this.#lines, this.#vectors]) rmSync(path, { force: true });
  }
}

/** Writes chunks from a position on, where the file ends then, and syncs it. @throws DiskFullError */
function appendAt(path: string, position: number, chunks: readonly Uint8Array[]): void {
  try {
    const fd = openSync(path, existsSync(path) ? 'r+' : 'w');
    try {
      ftruncateSync(fd, position);
      let at = position;
      for (const chunk of chunks) {
        writeAll(fd, chunk, at);
        at += chunk.length;
      }
      fsyncSync(fd);
    } catch (error) {
      ftruncateSync(fd, position); // a disk that is full has room again
      throw error;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw toDiskFullError(path, error);
  }
}
