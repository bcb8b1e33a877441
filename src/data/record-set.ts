import { existsSync } from 'node:fs';
import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import { type IdList, readIds } from '../artifacts/id-list.ts';
import { FileError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { contentDigest, isSampled } from './content-digest.ts';
import type { Dataset, ImageFile, RecordSource } from './dataset.ts';
import { numberClasses } from './number-classes.ts';
import { layoutOf } from './record-layout.ts';
import {
  type ImageRecord,
  LABEL_BYTES,
  MOST_EXACT,
  RecordFile,
  readIndex,
  recordFiles,
  unpackImage,
  unpackLabels,
} from './recordio.ts';
import { idsPath, NO_FAMILY, readSidecar, type Sidecar, sidecarPath } from './sidecar.ts';

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

/**
 * A RecordIO set: `<prefix>.rec` and `<prefix>.idx`, with its sidecar. Without a header and names of classes, labels with holes
 * are numbered 0 … C-1 in their order, and `sidecar.classes` keeps the original ones.
 */
export class RecordSet implements Dataset {
  readonly path: string;
  readonly size: number;
  readonly classes: number;
  readonly sidecar: Sidecar;
  readonly source: RecordSource;
  readonly #file: RecordFile;
  readonly #ids: IdList | null;
  readonly #families: number | undefined;
  readonly #isNumbered: boolean = false;
  #columns: Columns | undefined;
  #digest: string | undefined;

  constructor(prefix: string) {
    const { rec, idx } = recordFiles(prefix);
    this.path = prefix;
    const sidecar = readSidecar(prefix);
    const { keys, offsets, classes } = readLayout(rec, idx);
    this.source = { kind: 'records', rec, keys, offsets };
    this.size = keys.length;
    const names = sidecar.classes;
    if (classes !== null && names && names.length !== classes)
      throw new FileError(
        sidecarPath(prefix),
        `names ${formatCount(names.length, 'class', 'classes')}, the record set has ${classes}`,
        'import the data set again, or restore the file',
      );
    const known = classes ?? names?.length;
    this.#families = sidecar.families?.length;
    if (known !== undefined) [this.classes, this.sidecar] = [known, sidecar];
    else {
      const { labels, families } = readColumns(this.source, { classes: undefined, families: this.#families });
      const numbered = numberClasses(labels);
      this.#columns = { labels: numbered.labels, families };
      this.classes = numbered.classes;
      this.sidecar = numbered.ids ? { ...sidecar, classes: Array.from(numbered.ids, String) } : sidecar;
      this.#isNumbered = numbered.ids !== null;
    }
    const ids = idsPath(prefix);
    this.#ids = existsSync(ids) ? readIds(ids, this.size) : null;
    this.#file = new RecordFile(rec);
  }

  labels(): Int32Array {
    return this.#read().labels;
  }

  families(): Int32Array {
    return this.#read().families;
  }

  #read() {
    this.#columns ??= readColumns(this.source, { classes: this.classes, families: this.#families });
    return this.#columns;
  }

  record(i: number): ImageRecord {
    return imageRecord(this.#file, this.source, i);
  }

  /** Taken when it is asked for first. */
  get digest(): string {
    if (this.#digest === undefined) {
      const { rec, idx } = recordFiles(this.path);
      const digest = contentDigest([idx, rec]);
      this.#digest = this.#isNumbered ? digestOf(digest, 'classes numbered anew') : digest;
    }
    return this.#digest;
  }

  get digestIsSampled(): boolean {
    const { rec, idx } = recordFiles(this.path);
    return isSampled([idx, rec]);
  }

  get descriptionDigest(): string | null {
    const { classes, families } = this.sidecar;
    const ids = this.#ids ? contentDigest([idsPath(this.path)]) : null;
    return classes || families || ids ? digestOf(canonicalJson({ classes, families, ids })) : null;
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

/** Bytes that are read of a header: one more than it has, to distinguish it from an image. */
const HEADER_BYTES = LABEL_BYTES + 1;

/**
 * Which records are images, and C if a header states it. A header record has key 0, two labels and no image, and comes
 * first; without one every record is an image.
 */
function readLayout(rec: string, idx: string) {
  const { keys, offsets } = readIndex(idx);
  if (keys.length === 0) throw new FileError(idx, 'lists no record');
  using file = new RecordFile(rec);
  const head = (i: number) =>
    unpack(file, keys[i]!, offsets[i]!, (payload) => {
      const { flag, labels, start } = unpackLabels(payload, 2);
      return { flag, labels, isEmpty: payload.length <= start };
    }, HEADER_BYTES); // biome-ignore format: a call
  const first = head(0);
  if (keys[0] !== 0 || first.flag < 2 || !first.isEmpty) return { keys, offsets, classes: null };
  const records = { rec, idx, keys, isEmpty: (i: number) => head(i).isEmpty };
  const { from, until, classes } = layoutOf(records, first.labels as [number, number]);
  return { keys: keys.subarray(from, until), offsets: offsets.subarray(from, until), classes };
}

type Columns = { readonly labels: Int32Array; readonly families: Int32Array };
type Limits = { readonly classes: number | undefined; readonly families: number | undefined };

function readColumns({ rec, keys, offsets }: RecordSource, limits: Limits): Columns {
  using file = new RecordFile(rec);
  const labels = new Int32Array(keys.length);
  const families = new Int32Array(keys.length).fill(NO_FAMILY);
  for (let i = 0; i < keys.length; i++) {
    const [label, family] = unpack(file, keys[i]!, offsets[i]!, (payload) => unpackLabels(payload, 2), LABEL_BYTES)
      .labels as [number, number?];
    const problem = (what: string): FileError =>
      new FileError(rec, `record with key ${keys[i]} at offset ${offsets[i]}: ${what}`);
    if (!Number.isInteger(label) || label < 0 || label >= MOST_EXACT)
      throw problem(`label ${label} is no class id from 0 to ${MOST_EXACT - 1}, which is what float32 tells apart`);
    if (limits.classes !== undefined && label >= limits.classes)
      throw problem(`label ${label} is out of range (the set has ${formatCount(limits.classes, 'class', 'classes')})`);
    labels[i] = label;
    if (limits.families === undefined) continue;
    if (family === undefined || !(Number.isInteger(family) && family >= 0 && family < limits.families))
      throw problem(`family ${family} is out of range (the description names ${limits.families})`);
    families[i] = family;
  }
  return { labels, families };
}
