import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { FileError } from '../base/errors.ts';
import { contentDigest } from './content-digest.ts';
import type { Dataset, ImageFile } from './dataset.ts';
import type { ImageRecord } from './recordio.ts';
import { NO_FAMILY, type Sidecar } from './sidecar.ts';

/** Files that hold one image each, as a worker thread is told them. */
export type FileSource = { readonly kind: 'files'; readonly files: readonly string[] };

export const openFiles = ({ files }: FileSource): ImageFile => ({
  encoded: (i) => readFileSync(files[i]!),
  close: () => undefined,
});

const IMAGE_EXTENSIONS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.pgm', '.ppm']);

/** A folder of `class/instance.jpg`. */
export class ImageFolder implements Dataset {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly classes: number;
  readonly sidecar: Sidecar;
  readonly source: FileSource;
  readonly #labels: Int32Array;

  constructor(path: string) {
    const names = sorted(
      readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name),
    );
    const labels: number[] = [];
    const files: string[] = [];
    for (const [label, name] of names.entries())
      for (const file of sorted(readdirSync(join(path, name)))) {
        if (!IMAGE_EXTENSIONS.has(extname(file).toLowerCase())) continue;
        files.push(join(path, name, file));
        labels.push(label);
      }
    if (files.length === 0) throw new FileError(path, 'holds no images', 'wanted class/instance.jpg, .png or .webp');
    this.path = path;
    this.source = { kind: 'files', files };
    this.sidecar = { classes: names };
    this.size = files.length;
    this.classes = names.length;
    this.#labels = Int32Array.from(labels);
    this.digest = contentDigest(
      files,
      files.map((file) => file.slice(path.length)),
    );
  }

  labels(): Int32Array {
    return this.#labels;
  }

  families(): Int32Array {
    return new Int32Array(this.size).fill(NO_FAMILY);
  }

  record(i: number): ImageRecord {
    return { labels: [this.#labels[i]!], id: i, image: readFileSync(this.source.files[i]!) };
  }

  readonly hasOwnIds = true;

  id(i: number): string {
    return relative(this.path, this.source.files[i]!).replaceAll(sep, '/');
  }

  name(i: number): string {
    return this.source.files[i]!;
  }

  close(): void {}

  [Symbol.dispose](): void {}
}

/** By code unit, so that positions do not depend on the machine's language. */
const sorted = (names: string[]): string[] => names.sort((a, b) => (a < b ? -1 : 1));
