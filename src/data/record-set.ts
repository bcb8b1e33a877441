import { existsSync } from 'node:fs';
import { FileError } from '../base/errors.ts';
import { type IdList, readIds } from '../base/id-list.ts';
import { contentDigest } from './content-digest.ts';
import type { Dataset, ImageFile } from './dataset.ts';
import {
  type ImageRecord,
  LABEL_BYTES,
  RecordFile,
  readIndex,
  recordFiles,
  unpackImage,
  unpackLabels,
} from './recordio.ts';
import { idsPath, NO_FAMILY, readSidecar, type Sidecar } from './sidecar.ts';

/** A record set, as a worker thread is told it. */
export type RecordSource = {
  readonly kind: 'records';
  readonly rec: string;
  readonly keys: Int32Array;
  readonly offsets: Float64Array;
};

export function openRecords(source: RecordSource): ImageFile {
  const file = new RecordFile(source.rec);
  return { encoded: (i) => imageRecord(file, source, i).image, close: () => file.close() };
}

function imageRecord(file: RecordFile, { keys, offsets }: RecordSource, i: number): ImageRecord {
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

/** A RecordIO set: `<prefix>.rec` and `<prefix>.idx`, with its sidecar. */
export class RecordSet implements Dataset {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly classes: number;
  readonly sidecar: Sidecar;
  readonly source: RecordSource;
  readonly #file: RecordFile;
  readonly #header: { readonly classes: number } | null;
  readonly #ids: IdList | null;
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
    const ids = idsPath(prefix);
    this.#ids = existsSync(ids) ? readIds(ids, this.size) : null;
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

  get hasOwnIds(): boolean {
    return this.#ids !== null;
  }

  id(i: number): string {
    return this.#ids ? this.#ids.at(i) : String(this.source.keys[i]);
  }

  name(i: number): string {
    const id = this.#ids ? `, ${this.#ids.at(i)}` : '';
    return `${this.source.rec}: image ${i} (key ${this.source.keys[i]}${id})`;
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

function readColumns({ rec, keys, offsets }: RecordSource, limits: Limits) {
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
