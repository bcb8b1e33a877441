import { copyFileSync, linkSync, realpathSync, statSync } from 'node:fs';
import { extname } from 'node:path';
import { fsyncPath } from '../artifacts/durable-write.ts';
import { type LargeMap, positionsIn } from '../base/large-map.ts';
import { byCodeUnit } from '../data/class-folders.ts';
import { embeddingFiles } from '../features/embedding-files.ts';
import { requireDistinct } from '../features/id-file.ts';
import { vectorBytes, versionOf } from './vectors.ts';

/** Rows read at a time. */
export const BLOCK = 4096;

/** Other vectors for the rows of a gallery, by position. */
export type VectorsAt = {
  readonly dim: number;
  readonly vectorAt: (position: number) => ArrayLike<number>;
  /** Whether float32 may not hold them. */
  readonly double: boolean;
};

/** Reads the columns of the row at a position. */
export type FieldReader = (position: number) => Record<string, unknown>;

/** What a file has that holds a gallery, as it was at one moment: ids and vectors [N, D]. */
export abstract class GalleryFile implements Disposable {
  readonly path: string;
  readonly state: string;
  /** D; 0 if there are no rows. */
  readonly dim: number;
  /** By position. */
  readonly keys: readonly string[];
  /** Positions by key. */
  readonly positions: Pick<LargeMap<string, number>, 'get'>;
  /** Keys in the order of pages. */
  readonly sorted: readonly string[];
  /** By position. */
  readonly versions: readonly string[] = [];

  /** Names of the columns with ids and vectors, and of all. */
  abstract readonly columns: { readonly id: string; readonly vector: string; readonly all: readonly string[] };
  /** Whether float32 may not hold the vectors. */
  abstract readonly double: boolean;
  /** Columns that a file with other vectors would not have as they are. */
  abstract readonly uncopied: readonly string[];

  /** `state`: of the files before they were read. @throws FileError if a key occurs twice */
  protected constructor(
    path: string,
    where: string,
    { state, dim, keys }: Pick<GalleryFile, 'state' | 'dim' | 'keys'>,
  ) {
    requireDistinct(where, keys);
    [this.path, this.state, this.dim, this.keys] = [path, state, dim, keys];
    this.positions = positionsIn(keys);
    this.sorted = [...keys].sort(byCodeUnit);
  }

  /** Versions of all rows: what a constructor ends with. */
  protected readVersions(): string[] {
    const versions: string[] = [];
    for (const rows of this.blocks())
      for (let at = 0; at < rows.length; at += this.dim)
        versions.push(versionOf(vectorBytes(rows.subarray(at, at + this.dim))));
    return versions;
  }

  abstract row(position: number): Float32Array;
  /** A row's numbers as the file has them. */
  abstract numbers(position: number): ArrayLike<number>;
  /** All rows, flat, a block at a time. */
  abstract blocks(): Iterable<Float32Array>;
  /** @throws FileError if a column cannot be read */
  abstract fields(names: readonly string[]): Promise<FieldReader>;
  /** Whether another file has the same rows, but for their vectors. */
  abstract hasRowsOf(other: GalleryFile): boolean;
  /** The bytes of a file that has the same rows with other vectors, in chunks. */
  abstract withVectors(vectors: VectorsAt): Iterable<Uint8Array>;
  abstract [Symbol.dispose](): void;

  /** Position among the sorted keys of the first one that comes after a key; null: of the first of all. */
  firstAfter(key: string | null): number {
    let [low, high] = [0, key === null ? 0 : this.sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sorted[middle]! > key!) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** The files of a gallery: the one that an exchange replaces, and the ids beside a `.npy`. */
export const galleryFiles = (path: string): string[] =>
  extname(path) === '.npy' ? [path, embeddingFiles(path).ids] : [path];

/** A file's state: another one has other numbers. */
export function fileState(path: string): string {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? [found.ino, found.size, found.mtimeNs].join() : 'none';
}

/** What changes when one of the files of a gallery does. */
export const galleryState = (path: string): string => galleryFiles(path).map(fileState).join(' ');

/** Other names for a gallery's files, or copies where the file system has no links. */
export function keepGallery(path: string, to: string): void {
  const names = galleryFiles(to);
  for (const [i, file] of galleryFiles(path).entries()) linkOrCopy(file, names[i]!);
}

export function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(realpathSync(from), to); // a name of a symbolic link would lead elsewhere from another folder
  } catch {
    copyFileSync(from, to);
    fsyncPath(to);
  }
}
