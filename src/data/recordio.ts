import { closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync, readSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { renameDurably, requireFileSize, toDiskFullError, writeAll } from '../artifacts/durable-write.ts';
import { FileError, UserError } from '../base/errors.ts';
import { OpenFile, readRegularFile } from '../base/regular-file.ts';

// MXNet's RecordIO (methods.md 1.1): `<prefix>.rec` holds chunks, `<prefix>.idx` one line `key \t offset` per record.

/** What every record begins with. */
export const RECORD_MAGIC = 0xced7230a;
const MAGIC_BYTES = Buffer.from([0x0a, 0x23, 0xd7, 0xce]);
const CHUNK_HEADER = 8;
const LENGTH_BITS = 29;
const MAX_LENGTH = 2 ** LENGTH_BITS - 1;
const MAX_KEY = 2 ** 31 - 1;
const [NEWLINE, RETURN, TAB, BLANK, ZERO] = [0x0a, 0x0d, 0x09, 0x20, 0x30];
/** Continuation flag of a chunk: a whole record, or a part of one that contained the magic word. */
const Part = { whole: 0, first: 1, middle: 2, last: 3 } as const;

const padded = (length: number): number => (length + 3) & ~3;

/** The two files of a record set; `path` may be the prefix or either file. */
export function recordFiles(path: string): { readonly prefix: string; readonly rec: string; readonly idx: string } {
  const prefix = path.replace(/\.(rec|idx)$/, '');
  return { prefix, rec: `${prefix}.rec`, idx: `${prefix}.idx` };
}

/** Keys and byte offsets in write order, in shared memory so that workers need no copy. */
export type RecordIndex = { readonly keys: Int32Array; readonly offsets: Float64Array };

/** Parses an index file. @throws FileError naming the first malformed line. */
export function readIndex(path: string): RecordIndex {
  if (!existsSync(path)) throw new FileError(path, 'no such file', 'a record set needs both its .rec and its .idx');
  const text = readRegularFile(path);
  let lines = text.length > 0 && text.at(-1) !== NEWLINE ? 1 : 0;
  for (let at = text.indexOf(NEWLINE); at >= 0; at = text.indexOf(NEWLINE, at + 1)) lines++;
  const keys = new Int32Array(new SharedArrayBuffer(4 * lines));
  const offsets = new Float64Array(new SharedArrayBuffer(8 * lines));
  let at = 0;
  const number = (): number => {
    const from = at;
    let value = 0;
    for (let digit = text[at]! - ZERO; digit >= 0 && digit <= 9; digit = text[++at]! - ZERO) value = 10 * value + digit;
    return at > from ? value : Number.NaN;
  };
  for (let line = 0; line < lines; line++) {
    const key = number();
    const separated = text[at++] === TAB;
    const offset = number();
    while (text[at] === BLANK || text[at] === TAB || text[at] === RETURN) at++;
    if (!separated || Number.isNaN(key + offset) || (at < text.length && text[at] !== NEWLINE))
      throw new FileError(path, `line ${line + 1} is not "key<TAB>offset"`, 'is this the .idx of a RecordIO set?');
    if (key > MAX_KEY || !Number.isSafeInteger(offset))
      throw new FileError(path, `line ${line + 1}: key ${key} at offset ${offset} is out of range`);
    keys[line] = key;
    offsets[line] = offset;
    at++;
  }
  return { keys, offsets };
}

/** Reads records at known offsets. Nothing of the file stays in memory. */
export class RecordFile extends OpenFile {
  readonly size: number;
  #buffer = Buffer.allocUnsafe(16 * 1024);

  constructor(path: string) {
    if (!existsSync(path)) throw new FileError(path, 'no such file', 'a record set needs both its .rec and its .idx');
    super(path);
    this.size = fstatSync(this.fd).size;
  }

  /**
   * The payload of the record at `offset`, its parts joined; `limit` reads no more than its first bytes, if one part holds them.
   * The bytes are the caller's. @throws FileError naming key and offset if the file is cut short or no record starts there.
   */
  read(offset: number, key: number, limit = Number.POSITIVE_INFINITY): Buffer {
    const parts: Buffer[] = [];
    for (let at = offset; ; ) {
      const header = this.#bytes(at, CHUNK_HEADER, key, offset);
      if (header.readUInt32LE(0) !== RECORD_MAGIC)
        throw this.#bad(
          key,
          offset,
          `wanted the magic word ced7230a at byte ${at}, got ${header.readUInt32LE(0).toString(16).padStart(8, '0')}`,
        );
      const word = header.readUInt32LE(4);
      const [flag, length] = [word >>> LENGTH_BITS, word & MAX_LENGTH];
      const continues: boolean = flag === Part.first || flag === Part.middle;
      const expected =
        parts.length === 0 ? flag === Part.whole || flag === Part.first : flag === Part.middle || flag === Part.last;
      if (!expected)
        throw this.#bad(key, offset, `the chunk at byte ${at} has continuation flag ${flag}, out of place`);
      if (parts.length > 0) parts.push(MAGIC_BYTES);
      if (at + CHUNK_HEADER + length > this.size)
        throw this.#bad(
          key,
          offset,
          `cut short: ${length} bytes wanted at byte ${at + CHUNK_HEADER}, the file ends at ${this.size}`,
        );
      const wanted = Math.min(length, limit);
      const payload = Buffer.from(this.#bytes(at + CHUNK_HEADER, wanted, key, offset));
      if (parts.length === 0 && (!continues || wanted < length)) return payload;
      parts.push(payload);
      if (!continues) return Buffer.concat(parts);
      at += CHUNK_HEADER + padded(length);
    }
  }

  /** A view of the read buffer, refilled when it does not hold the range: neighbours cost one system call. */
  #window = { start: 0, length: 0 };
  #bytes(at: number, length: number, key: number, offset: number): Buffer {
    const { start, length: held } = this.#window;
    if (at < start || at + length > start + held) {
      if (at + length > this.size)
        throw this.#bad(
          key,
          offset,
          `cut short: ${length} bytes wanted at byte ${at}, ${Math.max(0, this.size - at)} there`,
        );
      if (length > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(padded(length) * 2);
      const read = readSync(this.fd, this.#buffer, 0, this.#buffer.length, at);
      this.#window = { start: at, length: read };
      if (read < length) throw this.#bad(key, offset, `cut short: ${length} bytes wanted at byte ${at}, ${read} there`);
    }
    const from = at - this.#window.start;
    return this.#buffer.subarray(from, from + length);
  }

  #bad(key: number, offset: number, problem: string): FileError {
    return new FileError(
      this.path,
      `record with key ${key} at offset ${offset}: ${problem}`,
      'fetch or write the record set anew',
    );
  }
}

/** Writes a record set. Both files appear under their names at `close`, or not at all. */
export class RecordWriter {
  readonly #rec: OutputFile;
  readonly #idx: OutputFile;

  constructor(prefix: string) {
    const { rec, idx } = recordFiles(prefix);
    mkdirSync(dirname(rec), { recursive: true });
    this.#rec = new OutputFile(rec);
    this.#idx = new OutputFile(idx);
  }

  write(key: number, payload: Uint8Array): void {
    this.#idx.append(Buffer.from(`${key}\t${this.#rec.size}\n`));
    const data = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    const cuts = alignedMagic(data);
    let from = 0;
    for (const [part, cut] of [...cuts, data.length].entries()) {
      const last = part === cuts.length;
      const flag = cuts.length === 0 ? Part.whole : part === 0 ? Part.first : last ? Part.last : Part.middle;
      this.#chunk(flag, data.subarray(from, cut));
      from = cut + MAGIC_BYTES.length;
    }
  }

  #chunk(flag: number, payload: Buffer): void {
    if (payload.length > MAX_LENGTH)
      throw new FileError(this.#rec.path, `a record of ${payload.length} bytes does not fit (limit ${MAX_LENGTH})`);
    const chunk = Buffer.alloc(CHUNK_HEADER + padded(payload.length));
    chunk.writeUInt32LE(RECORD_MAGIC, 0);
    chunk.writeUInt32LE(((flag << LENGTH_BITS) | payload.length) >>> 0, 4);
    payload.copy(chunk, CHUNK_HEADER);
    this.#rec.append(chunk);
  }

  /** Syncs both files, then renames them, the index last. */
  close(): void {
    this.#rec.finish();
    this.#idx.finish();
    this.#rec.appear();
    this.#idx.appear();
  }

  /** Removes what was written, for a caller whose input failed. */
  abort(): void {
    this.#rec.abort();
    this.#idx.abort();
  }
}

const FLUSH_BYTES = 4 * 1024 * 1024;

/** A file that is written from start to end in blocks, as `<path>.part` until it appears. */
class OutputFile {
  readonly path: string;
  /** Bytes appended so far. */
  size = 0;
  readonly #part: string;
  readonly #fd: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #open = true;

  constructor(path: string) {
    this.path = path;
    this.#part = `${path}.part`;
    this.#fd = openSync(this.#part, 'w');
  }

  append(bytes: Buffer): void {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.size += bytes.length;
    if (this.#pendingBytes > FLUSH_BYTES) this.#flush();
  }

  #flush(): void {
    writeAll(this.#fd, Buffer.concat(this.#pending));
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  finish(): void {
    this.#flush();
    requireFileSize(this.path, this.#fd, this.size);
    fsyncSync(this.#fd);
    this.#close();
  }

  appear(): void {
    renameDurably(this.#part, this.path);
  }

  abort(): void {
    this.#close();
    rmSync(this.#part, { force: true });
  }

  #close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}

/** Writes a record set by `fill`. If `fill` throws, nothing is written. */
export async function writeRecords(
  prefix: string,
  fill: (writer: RecordWriter) => void | Promise<void>,
): Promise<void> {
  const writer = new RecordWriter(prefix);
  try {
    await fill(writer);
    writer.close();
  } catch (error) {
    writer.abort();
    throw toDiskFullError(prefix, error);
  }
}

/** Positions of the magic word at multiples of 4: where a payload must be cut. */
function alignedMagic(data: Buffer): number[] {
  const cuts: number[] = [];
  for (let at = data.indexOf(MAGIC_BYTES); at >= 0; ) {
    const aligned = at % 4 === 0;
    if (aligned) cuts.push(at);
    at = data.indexOf(MAGIC_BYTES, at + (aligned ? 4 : 1));
  }
  return cuts;
}

/** An image record taken apart. `labels` are float32 in the file: class ids and counts below 2^24 are exact. */
export type ImageRecord = { readonly labels: readonly number[]; readonly id: number; readonly image: Uint8Array };

const RECORD_HEADER = 24;
/** Bytes that hold the header and the two labels this project reads. */
export const LABEL_BYTES = RECORD_HEADER + 8;

/** Labels are float32 in a record, which carries every whole number below this exactly. */
export const MOST_EXACT = 2 ** 24;

/**
 * One label is stored as a scalar (flag 0), several as a vector, as MXNet's `pack` does.
 * @throws UserError if the class id of an image is one that float32 does not tell from others
 */
export function packImage({ labels, id, image }: ImageRecord): Buffer {
  if (image.length > 0 && labels[0]! >= MOST_EXACT)
    throw new UserError(`image ${id}: class id ${labels[0]}, but a record holds ids below ${MOST_EXACT}`, {
      hint: 'labels are float32 in RecordIO: number the classes from 0 without holes',
    });
  const scalar = labels.length === 1;
  const count = scalar ? 0 : labels.length;
  const payload = Buffer.alloc(RECORD_HEADER + 4 * count + image.length);
  payload.writeUInt32LE(count, 0);
  if (scalar) payload.writeFloatLE(labels[0]!, 4);
  payload.writeBigUInt64LE(BigInt(id), 8);
  for (let i = 0; i < count; i++) payload.writeFloatLE(labels[i]!, RECORD_HEADER + 4 * i);
  payload.set(image, RECORD_HEADER + 4 * count);
  return payload;
}

/** @throws RangeError if the payload is too short for what its header says; the caller knows file and key. */
export function unpackImage(payload: Buffer): ImageRecord {
  const { labels, start } = unpackLabels(payload);
  return { labels, id: Number(payload.readBigUInt64LE(8)), image: payload.subarray(start) };
}

/** Flag, labels and where the image starts; at most `most` labels are read. @throws RangeError as `unpackImage` */
export function unpackLabels(
  payload: Buffer,
  most = Number.POSITIVE_INFINITY,
): { readonly flag: number; readonly labels: number[]; readonly start: number } {
  const flag = payload.readUInt32LE(0);
  if (flag === 0) return { flag, labels: [payload.readFloatLE(4)], start: RECORD_HEADER };
  const count = Math.min(flag, most);
  if (RECORD_HEADER + 4 * count > payload.length) throw new RangeError(`${count} labels in ${payload.length} bytes`);
  const labels = Array.from({ length: count }, (_, i) => payload.readFloatLE(RECORD_HEADER + 4 * i));
  return { flag, labels, start: RECORD_HEADER + 4 * flag };
}
