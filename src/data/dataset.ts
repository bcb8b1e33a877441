import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { FileError } from '../base/errors.ts';
import { type CropSource, openCrops } from './crops.ts';
import { openPackImages, type PackSource } from './packs.ts';
import {
  type ImageRecord,
  LABEL_BYTES,
  RecordFile,
  readIndex,
  recordFiles,
  unpackImage,
  unpackLabels,
} from './recordio.ts';
import { NO_FAMILY, readSidecar, type Sidecar } from './sidecar.ts';

/** Where encoded images lie, as a worker thread is told it. */
export type Source =
  | { readonly kind: 'records'; readonly rec: string; readonly keys: Int32Array; readonly offsets: Float64Array }
  | { readonly kind: 'files'; readonly files: readonly string[] }
  | CropSource
  | PackSource;

export { NO_FAMILY } from './sidecar.ts';

/** A labelled set of images: a record set, or a folder of `class/instance.jpg|png|webp`. Position i is the same everywhere. */
export interface Dataset extends Disposable {
  readonly path: string;
  /** Names the content; artefacts made from a dataset record it. */
  readonly digest: string;
  /** N */
  readonly size: number;
  /** C */
  readonly classes: number;
  readonly sidecar: Sidecar;
  /** How pictures are brought into place before a network sees them; absent: they are as they should be. */
  readonly alignment?: 'five-points';
  /** Class ids [N], and family ids [N] or `NO_FAMILY`. */
  labels(): Int32Array;
  families(): Int32Array;
  /** Labels, id and encoded bytes of image `i`. @throws FileError naming what is wrong with it. */
  record(i: number): ImageRecord;
  /** What a message calls image `i`. */
  name(i: number): string;
  readonly source: Source;
  close(): void;
}

/** Opens a dataset by the prefix of its `.rec` and `.idx`, or by its folder. @throws FileError if neither is there. */
export function openDataset(path: string): Dataset {
  const files = recordFiles(path);
  if (existsSync(files.rec) || existsSync(files.idx)) return new Records(files.prefix);
  if (existsSync(path) && statSync(path).isDirectory()) return new Folder(path);
  throw new FileError(
    path,
    `no such dataset: neither ${files.rec} nor a folder of classes`,
    'fetch one with: mixbct data get k12',
  );
}

/** Reads the encoded image at a position: the part of a dataset that workers have. */
export interface ImageFile {
  encoded(i: number): Uint8Array;
  /**
   * The matrix [6] that tells where each pixel of the picture [side, side] lies in the decoded one. Where this is absent,
   * or null comes back, the whole picture is resized. @throws UserError if the picture is not what it should be.
   */
  place?(i: number, size: { readonly height: number; readonly width: number }, side: number): Float64Array | null;
  close(): void;
}

export function openSource(source: Source): ImageFile {
  if (source.kind === 'crops') return openCrops(source);
  if (source.kind === 'pack') return openPackImages(source);
  if (source.kind === 'files') return { encoded: (i) => readFileSync(source.files[i]!), close: () => undefined };
  const file = new RecordFile(source.rec);
  return { encoded: (i) => imageRecord(file, source, i).image, close: () => file.close() };
}

function imageRecord(file: RecordFile, { keys, offsets }: Records['source'], i: number): ImageRecord {
  const [offset, key] = [offsets[i]!, keys[i]!];
  const record = unpack(file, key, offset, unpackImage);
  if (record.image.length === 0)
    throw new FileError(file.path, `record with key ${key} at offset ${offset} holds no image`);
  return record;
}

function unpack<T>(file: RecordFile, key: number, offset: number, take: (payload: Buffer) => T, limit?: number): T {
  const payload = file.read(offset, key, limit);
  try {
    return take(payload);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new FileError(
      file.path,
      `record with key ${key} at offset ${offset}: ${payload.length} bytes are too few for an image record`,
    );
  }
}

class Records implements Dataset {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly classes: number;
  readonly sidecar: Sidecar;
  readonly source: Source & { readonly kind: 'records' };
  readonly #file: RecordFile;
  readonly #header: { readonly classes: number } | null;
  #columns: { readonly labels: Int32Array; readonly families: Int32Array } | undefined;

  constructor(prefix: string) {
    const { rec, idx } = recordFiles(prefix);
    this.path = prefix;
    this.sidecar = readSidecar(prefix);
    const { keys, offsets, header } = layout(rec, idx);
    this.source = { kind: 'records', rec, keys, offsets };
    this.size = keys.length;
    this.digest = contentDigest([idx, rec]);
    this.#header = header;
    this.classes = header?.classes ?? this.labels().reduce((most, label) => Math.max(most, label), -1) + 1;
    this.#file = new RecordFile(rec);
  }

  labels(): Int32Array {
    return this.#read().labels;
  }

  families(): Int32Array {
    return this.#read().families;
  }

  #read() {
    this.#columns ??= readColumns(this.source, {
      classes: this.#header?.classes,
      families: this.sidecar.families?.length,
    });
    return this.#columns;
  }

  record(i: number): ImageRecord {
    return imageRecord(this.#file, this.source, i);
  }

  name(i: number): string {
    return `${this.source.rec}: image ${i} (key ${this.source.keys[i]})`;
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Which records are samples, and C where the header tells it. A header record (key 0, flag 2) says [end, x]: samples are
 * the keys 1 … end-1, and x is the class count, unless there are records from key `end` on: then those describe one
 * identity each, x is the key after the last of them, and C = x - end (MS1M, methods.md 1.2). No header: every record.
 */
function layout(rec: string, idx: string) {
  const index = readIndex(idx);
  const { keys, offsets } = index;
  if (keys.length === 0) throw new FileError(idx, 'lists no record');
  const file = new RecordFile(rec);
  try {
    const first = unpack(file, keys[0]!, offsets[0]!, unpackLabels, LABEL_BYTES);
    if (keys[0] !== 0 || first.flag === 0) return { ...index, header: null };
    const [end, second] = first.labels as [number, number];
    const classes = (header: number): number => {
      if (Number.isInteger(header) && header >= 1 && header <= MOST_CLASSES) return header;
      throw new FileError(rec, `the header record promises ${header} classes, wanted 1 to ${MOST_CLASSES}`);
    };
    const samples = keys.findIndex((key, i) => i > 0 && key >= end);
    const until = samples < 0 ? keys.length : samples;
    if (until !== end)
      throw new FileError(
        idx,
        `lists ${until - 1} images before key ${end}, the header record promises ${end - 1}`,
        'the record set is incomplete: fetch or write it anew',
      );
    return {
      keys: keys.subarray(1, until),
      offsets: offsets.subarray(1, until),
      header: { classes: classes(samples < 0 ? second : second - end) },
    };
  } finally {
    file.close();
  }
}

/** Labels are float32, which holds every whole number up to here. */
const MOST_CLASSES = 2 ** 24;

type Limits = { readonly classes: number | undefined; readonly families: number | undefined };

function readColumns({ rec, keys, offsets }: Source & { readonly kind: 'records' }, limits: Limits) {
  const file = new RecordFile(rec);
  const labels = new Int32Array(keys.length);
  const families = new Int32Array(keys.length).fill(NO_FAMILY);
  try {
    for (let i = 0; i < keys.length; i++) {
      const [label, family] = unpack(file, keys[i]!, offsets[i]!, (payload) => unpackLabels(payload, 2), LABEL_BYTES)
        .labels as [number, number?];
      const problem = (what: string): FileError =>
        new FileError(rec, `record with key ${keys[i]} at offset ${offsets[i]}: ${what}`);
      if (!Number.isInteger(label) || label < 0 || label >= MOST_CLASSES)
        throw problem(`label ${label} is no class id`);
      if (limits.classes !== undefined && label >= limits.classes)
        throw problem(`label ${label} is out of range (the header promises ${limits.classes} classes)`);
      labels[i] = label;
      if (limits.families === undefined) continue;
      if (family === undefined || !(family >= 0 && family < limits.families))
        throw problem(`family ${family} is out of range (the description names ${limits.families})`);
      families[i] = family;
    }
  } finally {
    file.close();
  }
  return { labels, families };
}

const IMAGE_EXTENSIONS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.pgm', '.ppm']);

class Folder implements Dataset {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly classes: number;
  readonly sidecar: Sidecar;
  readonly source: Source & { readonly kind: 'files' };
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

  name(i: number): string {
    return this.source.files[i]!;
  }

  close(): void {}

  [Symbol.dispose](): void {}
}

/** By code unit, so that positions do not depend on the machine's language. */
const sorted = (names: string[]): string[] => names.sort((a, b) => (a < b ? -1 : 1));

const WHOLE_BELOW_BYTES = 256 * 2 ** 20;
const SAMPLES = 256;
const SAMPLE_BYTES = 64 * 1024;
const block = Buffer.allocUnsafe(2 ** 20);

/**
 * A digest of files: of all their bytes, or beyond 256 MB of their sizes and of 256 blocks evenly spaced over them,
 * which any rewriting of records changes and which still takes a second on a hundred gigabytes.
 */
function contentDigest(files: readonly string[], names: readonly string[] = []): string {
  const sizes = files.map((file) => statSync(file).size);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const hash = createHash('sha256').update(JSON.stringify([sizes, names]));
  const stride = total <= WHOLE_BELOW_BYTES ? 0 : Math.floor(total / SAMPLES);
  let before = 0;
  for (const [i, file] of files.entries()) {
    const fd = openSync(file, 'r');
    try {
      let at = stride === 0 ? 0 : (stride - (before % stride)) % stride;
      while (at < sizes[i]!) {
        const read = readSync(fd, block, 0, stride === 0 ? block.length : SAMPLE_BYTES, at);
        if (read === 0) break;
        hash.update(block.subarray(0, read));
        at += stride === 0 ? read : stride;
      }
    } finally {
      closeSync(fd);
    }
    before += sizes[i]!;
  }
  return hash.digest('hex').slice(0, 16);
}
