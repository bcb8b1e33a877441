import { existsSync, statSync } from 'node:fs';
import { readIds } from '../artifacts/id-list.ts';
import { FileError } from '../base/errors.ts';
import { byCodeUnit } from '../data/class-folders.ts';
import { embeddingFiles } from '../features/embedding-files.ts';
import { requireDistinct } from '../features/id-file.ts';
import { NpyFile } from '../features/npy.ts';
import { vectorBytes, versionOf } from './vectors.ts';

/** Rows read at a time. */
const BLOCK = 4096;

/** A file's state: another one has other numbers. */
export function fileState(path: string): string {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? [found.ino, found.size, found.mtimeNs].join() : 'none';
}

/** Vectors [N, D] in a `.npy` with the ids beside it, as `mixbct embed` writes them, as they were at one moment. */
export class FilesGallery implements Disposable {
  readonly path: string;
  readonly dim: number;
  /** By position. */
  readonly keys: readonly string[];
  /** Positions by key. */
  readonly positions: ReadonlyMap<string, number>;
  /** Keys in the order of pages. */
  readonly sorted: readonly string[];
  /** By position. */
  readonly versions: readonly string[];
  readonly state: string;
  readonly #file: NpyFile<'<f4'>;

  /** @throws FileError if one of the files is missing or damaged, they do not agree, or an id occurs twice */
  constructor(path: string, ids = embeddingFiles(path).ids) {
    this.path = path;
    this.state = galleryState(path);
    this.#file = new NpyFile<'<f4'>(path, ['<f4']);
    try {
      const [count = 0, dim = 0, ...more] = this.#file.shape;
      if (this.#file.shape.length !== 2 || dim === 0 || more.length > 0)
        throw new FileError(path, `has shape [${this.#file.shape.join(', ')}], wanted rows of vectors, [N, D]`);
      if (!existsSync(ids)) throw new FileError(ids, 'is not there, wanted the id of each row, one JSON string a line');
      const list = readIds(ids, count);
      this.dim = dim;
      this.keys = Array.from({ length: count }, (_, row) => list.at(row));
      requireDistinct(ids, this.keys);
      this.positions = new Map(this.keys.map((key, row) => [key, row]));
      this.sorted = [...this.keys].sort(byCodeUnit);
      const versions: string[] = [];
      for (const rows of this.blocks())
        for (let at = 0; at < rows.length; at += dim)
          versions.push(versionOf(vectorBytes(rows.subarray(at, at + dim))));
      this.versions = versions;
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  row(position: number): Float32Array {
    return this.#file.read(position, 1);
  }

  /** All rows, flat, a block at a time. */
  *blocks(): Iterable<Float32Array> {
    for (let from = 0; from < this.keys.length; from += BLOCK)
      yield this.#file.read(from, Math.min(BLOCK, this.keys.length - from));
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** What changes when one of the files of a gallery does. */
export const galleryState = (path: string): string => [path, embeddingFiles(path).ids].map(fileState).join(' ');
