import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { embedFaces } from '../features/index.ts';
import { readNpy, writeNpy } from '../features/index.ts';

type Faces = Awaited<ReturnType<typeof embedFaces>>;

const PREFIX = 'kept-';

/** Embeddings of whole packs that an attempt which was cut short leaves to the next one, in a folder of the attempt. */
export class KeptEmbeddings {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Whether an attempt has left any in its folder. */
  static any = (folder: string): boolean => existsSync(folder) && readdirSync(folder).some((n) => n.startsWith(PREFIX));

  /** Those named `key` if they are there, else what `make` makes, which is kept. */
  async of(key: string, make: () => Promise<Faces>): Promise<Faces> {
    const path = join(this.#folder, `${PREFIX}${key}.npy`);
    if (existsSync(path)) {
      const { data, shape } = readNpy(path, ['<f4']);
      return { original: data.subarray(0, data.length / 2), mirrored: data.subarray(data.length / 2), dim: shape[1]! };
    }
    const faces = await make();
    const both = new Float32Array(2 * faces.original.length);
    both.set(faces.original);
    both.set(faces.mirrored, faces.original.length);
    writeNpy(`${path}.part`, '<f4', both, [faces.dim]);
    renameSync(`${path}.part`, path); // whole or not at all
    return faces;
  }

  /** Removes them: the result does not need them. */
  clear(): void {
    for (const name of readdirSync(this.#folder)) if (name.startsWith(PREFIX)) rmSync(join(this.#folder, name));
  }
}
