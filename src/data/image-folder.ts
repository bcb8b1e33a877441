import { join } from 'node:path';
import { FileError } from '../base/errors.ts';
import { readRegularFile } from '../base/regular-file.ts';
import { walkClassFolders } from './class-folders.ts';
import { contentDigest, isSampled } from './content-digest.ts';
import type { Dataset, FileSource, ImageFile } from './dataset.ts';
import type { ImageRecord } from './recordio.ts';
import { NO_FAMILY, type Sidecar } from './sidecar.ts';
import { describeSkippedFiles, type SkippedFiles } from './skipped-files.ts';

export const openFiles = ({ files }: FileSource): ImageFile => ({
  encoded: (i) => readRegularFile(files[i]!),
  close: () => undefined,
});

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
