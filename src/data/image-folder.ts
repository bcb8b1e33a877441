import { join } from 'node:path';
import { ObjectMissing, readObject } from '../artifacts/object-store.ts';
import { isObjectUrl } from '../artifacts/object-url.ts';
import { mapConcurrently } from '../base/concurrent.ts';
import { FileError } from '../base/errors.ts';
import { readRegularFile } from '../base/regular-file.ts';
import { walkClassFolders } from './class-folders.ts';
import { contentDigest, isSampled } from './content-digest.ts';
import type { Dataset, FileSource, ImageFile } from './dataset.ts';
import type { ImageRecord } from './recordio.ts';
import { NO_FAMILY, type Sidecar } from './sidecar.ts';
import { describeSkippedFiles, type SkippedFiles } from './skipped-files.ts';

export function openFiles({ files }: FileSource): ImageFile {
  const fetched = new Map<number, Uint8Array | ObjectMissing>();
  return {
    async prepare(positions) {
      const remote = [...new Set(positions)].filter((i) => isObjectUrl(files[i]!));
      await mapConcurrently(remote, REQUESTS, async (i) => {
        fetched.set(i, await objectOrMissing(files[i]!));
      });
    },
    encoded(i) {
      const found = fetched.get(i) ?? readRegularFile(files[i]!);
      fetched.delete(i);
      if (found instanceof ObjectMissing) throw found;
      return found;
    },
    close: () => undefined,
  };
}

/** Objects that a thread fetches at a time. */
const REQUESTS = 16;

/** An object that is not there is a fault of this image. Storage that does not answer is none. */
async function objectOrMissing(url: string): Promise<Uint8Array | ObjectMissing> {
  try {
    return await readObject(url);
  } catch (error) {
    if (error instanceof ObjectMissing) return error;
    throw error;
  }
}

/** A folder of `class/instance.jpg`: `class-folders.ts` says what belongs to it. */
export class ImageFolder implements Dataset {
  readonly path: string;
  readonly size: number;
  readonly classes: number;
  readonly sidecar: Sidecar;
  readonly source: FileSource;
  readonly hasOwnIds = true;
  readonly skippedFiles: SkippedFiles;
  readonly #ids: readonly string[];
  readonly #labels: Int32Array;
  #digest: string | undefined;

  constructor(path: string) {
    const { classes, ids, labels, skipped } = walkClassFolders(path);
    if (ids.length === 0) {
      const what = describeSkippedFiles(skipped).map((line) => `\n  ${line}`);
      throw new FileError(path, `holds no images${what.join('')}`, 'wanted class/instance.jpg, .png, .webp, …');
    }
    const files = ids.map((id) => join(path, id));
    this.path = path;
    this.source = { kind: 'files', files };
    this.sidecar = { classes: [...classes] };
    this.size = files.length;
    this.classes = classes.length;
    this.skippedFiles = skipped;
    this.#ids = ids;
    this.#labels = labels;
  }

  /** Taken when it is asked for first. */
  get digest(): string {
    this.#digest ??= contentDigest(
      this.source.files,
      this.#ids.map((id) => `/${id}`),
    );
    return this.#digest;
  }

  get digestIsSampled(): boolean {
    return isSampled(this.source.files);
  }

  labels(): Int32Array {
    return this.#labels;
  }

  families(): Int32Array {
    return new Int32Array(this.size).fill(NO_FAMILY);
  }

  record(i: number): ImageRecord {
    const file = this.source.files[i]!;
    const image = readRegularFile(file);
    if (image.length === 0) throw new FileError(file, 'is empty, an image was expected', 'remove it, or restore it');
    return { labels: [this.#labels[i]!], id: i, image };
  }

  id(i: number): string {
    return this.#ids[i]!;
  }

  name(i: number): string {
    return this.source.files[i]!;
  }

  close(): void {}

  [Symbol.dispose](): void {}
}
