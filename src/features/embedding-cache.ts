import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { renameDurably } from '../artifacts/durable-write.ts';
import { FileError } from '../base/errors.ts';
import type { FaceEmbeddings } from './extract.ts';
import { readNpy, writeNpy } from './npy.ts';

const PREFIX = 'kept-';

/** Embeddings of whole packs that an interrupted attempt leaves in its folder for the next one. */
export class EmbeddingCache {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Whether an attempt has left any. */
  static isIn = (folder: string): boolean =>
    existsSync(folder) && readdirSync(folder).some((name) => name.startsWith(PREFIX) && name.endsWith('.npy'));

  /** The embeddings named `key`: from the folder, or else computed and written there. */
  async get(key: string, compute: () => Promise<FaceEmbeddings>): Promise<FaceEmbeddings> {
    const path = join(this.#folder, `${PREFIX}${key}.npy`);
    const kept = readKept(path);
    if (kept) return kept;
    const faces = await compute();
    const both = new Float32Array(2 * faces.original.length);
    both.set(faces.original);
    both.set(faces.mirrored, faces.original.length);
    writeNpy(`${path}.part`, '<f4', both, [faces.dim]);
    renameDurably(`${path}.part`, path); // whole or not at all
    return faces;
  }

  /** Removes the embeddings from the folder. */
  clear(): void {
    for (const name of readdirSync(this.#folder)) if (name.startsWith(PREFIX)) rmSync(join(this.#folder, name));
  }
}

/** Null if they are not there, or are damaged: then they are removed. */
function readKept(path: string): FaceEmbeddings | null {
  if (!existsSync(path)) return null;
  try {
    const { data, shape } = readNpy(path, ['<f4']);
    return { original: data.subarray(0, data.length / 2), mirrored: data.subarray(data.length / 2), dim: shape[1]! };
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    rmSync(path);
    return null;
  }
}
