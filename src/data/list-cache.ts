import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ArrayFile, ArrayFileWriter } from '../artifacts/array-file.ts';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { digestOf } from '../artifacts/digest.ts';
import { DiskFullError } from '../artifacts/durable-write.ts';
import { codeOf } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';

/** Every image in the order of the lists: N of them. */
export type IjbImages = {
  /** Files below `loose_crop`. */
  readonly names: readonly string[];
  /** Template and medium (a photograph, or all frames of a video). [N] each */
  readonly templates: Int32Array;
  readonly media: Int32Array;
  /** x, y of eyes, nose and corners of the mouth in pixels of the crop, in shared memory. [N · 10] */
  readonly landmarks: Float32Array;
  /** How sure the detector was. [N] */
  readonly detector: Float32Array;
};

/** Template ids of the enrolled and of the asking side, and 1 where both show one subject. [K] each */
export type IjbPairs = { readonly gallery: Int32Array; readonly query: Int32Array; readonly same: Uint8Array };

/** Changes with what is kept, so that a file of an earlier release is not taken. */
const VERSION = '1';

/**
 * Lists of an IJB benchmark as arrays in a folder, which are read many times faster than their text. A file is named by the digest
 * of all text that it was made from, so that none is taken for another; a damaged one is written again. All may be removed at any time.
 */
export class ListCache {
  readonly #folder: string | null;

  /** `folder` null: nothing is kept. */
  constructor(folder: string | null) {
    this.#folder = folder;
  }

  /** The lists of images, from `read` if they were not kept. */
  images(sources: readonly string[], read: () => IjbImages): IjbImages {
    const path = this.#path('images', sources);
    if (path === null) return read();
    const kept = keptImages(path, read);
    if (kept) return kept;
    const images = read();
    const { names, templates, media, landmarks, detector } = images;
    using file = new KeptFile(path);
    file.append(templates, media, landmarks, detector, Buffer.from(names.join('\n')));
    file.finish();
    return images;
  }

  /** The pairs in pieces, from `read` if they were not kept. They are kept when all of them have been taken. */
  *pairs(sources: readonly string[], read: () => Iterable<IjbPairs>): Generator<IjbPairs, void, undefined> {
    const path = this.#path('pairs', sources);
    if (path === null) return yield* read();
    using kept = ArrayFile.open(path);
    if (!kept) return yield* pairsKept(path, read());
    for (let i = 0; i < kept.count - 2; i += 3)
      yield { gallery: kept.read(i, 'i4'), query: kept.read(i + 1, 'i4'), same: kept.read(i + 2, 'u1') };
  }

  /** The pairs of label 1 in order; null if the pairs are not kept. */
  genuinePairs(sources: readonly string[]): Omit<IjbPairs, 'same'> | null {
    const path = this.#path('pairs', sources);
    using kept = path === null ? null : ArrayFile.open(path);
    return kept && { gallery: kept.read(kept.count - 2, 'i4'), query: kept.read(kept.count - 1, 'i4') };
  }

  /** Null if nothing is kept, or if there is nothing to keep. */
  #path(what: string, sources: readonly string[]): string | null {
    if (this.#folder === null || !sources.every((file) => existsSync(file))) return null;
    return join(this.#folder, `${what}-${digestOf(VERSION, ...sources.map(cachedFileDigest))}.lists`);
  }
}

/**
 * Scoring needs templates, media and detector scores only. Names and landmarks are read when they are asked for; from `read` if the file
 * has gone by then.
 */
function keptImages(path: string, read: () => IjbImages): IjbImages | null {
  using file = ArrayFile.open(path);
  if (!file) return null;
  let others: Pick<IjbImages, 'names' | 'landmarks'> | undefined;
  const other = () => {
    others ??= keptNames(path) ?? read();
    return others;
  };
  return {
    get names() {
      return other().names;
    },
    templates: file.read(0, 'i4'),
    media: file.read(1, 'i4'),
    get landmarks() {
      return other().landmarks;
    },
    detector: file.read(3, 'f4'),
  };
}

function keptNames(path: string): Pick<IjbImages, 'names' | 'landmarks'> | null {
  using file = ArrayFile.open(path);
  if (!file) return null;
  const plain = file.read(2, 'f4');
  const landmarks = new Float32Array(new SharedArrayBuffer(plain.byteLength));
  landmarks.set(plain);
  return { names: Buffer.from(file.read(4, 'u1').buffer).toString().split('\n'), landmarks };
}

/** Hands out `pairs`, and keeps them: pieces of three arrays each, then the two of the genuine pairs. */
function* pairsKept(path: string, pairs: Iterable<IjbPairs>): Generator<IjbPairs, void, undefined> {
  const genuine: { readonly gallery: number[]; readonly query: number[] } = { gallery: [], query: [] };
  using file = new KeptFile(path);
  for (const piece of pairs) {
    const { gallery, query, same } = piece;
    for (let i = same.indexOf(1); i >= 0; i = same.indexOf(1, i + 1)) {
      genuine.gallery.push(gallery[i]!);
      genuine.query.push(query[i]!);
    }
    file.append(gallery, query, same);
    yield piece;
  }
  file.append(Int32Array.from(genuine.gallery), Int32Array.from(genuine.query));
  file.finish();
}

/** A file that is written if the folder takes one: lists can be read again. */
class KeptFile implements Disposable {
  #file: ArrayFileWriter | undefined;

  constructor(path: string) {
    this.#try(() => {
      this.#file = new ArrayFileWriter(path);
    });
  }

  append(...arrays: readonly (Int32Array | Float32Array | Uint8Array)[]): void {
    this.#try(() => {
      for (const array of arrays) this.#file?.append(array);
    });
  }

  finish(): void {
    this.#try(() => this.#file?.finish());
  }

  #try(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (!(error instanceof DiskFullError) && codeOf(error) === undefined) throw error;
      logLine(`lists are not kept for the next time: ${(error as Error).message}`);
      this[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
    this.#file = undefined;
  }
}
