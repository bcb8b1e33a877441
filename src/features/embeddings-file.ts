import { z } from 'zod';
import { requireDigest } from '../artifacts/cached-digest.ts';
import { type IdList, readIds } from '../artifacts/id-list.ts';
import { readJson } from '../artifacts/json-file.ts';
import { FileError } from '../base/errors.ts';
import { fromHalf } from '../base/half.ts';
import { readTextFile } from '../base/text-file.ts';
import { EMBEDDINGS, embeddingFiles, formatOf } from './embedding-files.ts';
import { planSchema } from './embedding-shard-artifact.ts';
import { npyTypes } from './feature-set.ts';
import { appliedAdapterSchema } from './feature-set-artifact.ts';
import { NpyFile } from './npy.ts';
import type { EmbeddingsInfo, SkippedImage } from './write-embeddings.ts';

const descriptionSchema = planSchema.omit({ shards: true, total: true, paths: true }).extend({
  kind: z.literal(EMBEDDINGS),
  version: z.literal(1),
  mixbct: z.string(),
  count: z.int().positive(),
  skipped: z.int().nonnegative(),
  adapter: appliedAdapterSchema.optional(),
  digests: z.object({ embeddings: z.string(), ids: z.string().optional() }).optional(),
});

const AGAIN = 'wanted a .npy file that mixbct embed wrote, with the files beside it';

const skippedImage = z.object({ id: z.string(), problem: z.string() });

/** A .npy file of embeddings with its ids and description, for reading. */
export class EmbeddingsFile implements Disposable {
  readonly path: string;
  readonly info: EmbeddingsInfo;
  readonly ids: IdList;
  readonly #file: NpyFile<'<f2' | '<f4'>;

  /** @throws FileError if `path` is not such a file, or not the one that its description tells of. */
  constructor(path: string) {
    if (formatOf(path) !== '.npy') throw new FileError(path, 'of files with embeddings, a .npy can be read', AGAIN);
    const at = embeddingFiles(path);
    const { data, error } = descriptionSchema.safeParse(readJson(at.description, AGAIN));
    if (error) {
      const [{ path: where, message }] = error.issues as [z.core.$ZodIssue];
      throw new FileError(at.description, `"${where.join('.')}" is not that of embeddings (${message})`, AGAIN);
    }
    this.path = path;
    this.info = data;
    this.ids = readIds(at.ids, data.count);
    this.ids.at(0); // reads them all: a writer must not fail half way
    this.#file = new NpyFile<'<f2' | '<f4'>(path, [npyTypes[data.dtype]]);
    try {
      this.#requireDescribed();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #requireDescribed(): void {
    const { count, dim, digests } = this.info;
    const at = embeddingFiles(this.path);
    const { shape } = this.#file;
    if (String(shape) !== String([count, dim]))
      throw new FileError(
        this.path,
        `has shape [${shape.join(', ')}], ${at.description} says [${count}, ${dim}]`,
        AGAIN,
      );
    if (digests) requireDigest(this.path, digests.embeddings, AGAIN);
    if (digests?.ids !== undefined) requireDigest(at.ids, digests.ids, AGAIN);
  }

  /** Rows `from` … `from + count - 1`, flat. */
  block(from: number, count: number): Float32Array {
    const rows = this.#file.read(from, count);
    return rows instanceof Uint16Array ? fromHalf(rows) : rows;
  }

  /** The images that have no embedding. @throws FileError if the list beside the file is not that of `mixbct embed`. */
  skipped(): readonly SkippedImage[] {
    if (this.info.skipped === 0) return [];
    const path = embeddingFiles(this.path).skipped;
    const lines = readTextFile(path).split('\n').slice(0, -1);
    try {
      return z
        .array(skippedImage)
        .length(this.info.skipped)
        .parse(lines.map((line) => JSON.parse(line)));
    } catch {
      throw new FileError(path, `is no list of ${this.info.skipped} skipped images`, AGAIN);
    }
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
