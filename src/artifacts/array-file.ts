import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, mkdirSync, openSync, readSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { bytesOf } from '../base/bytes-of.ts';
import { FileError } from '../base/errors.ts';
import { OpenFile, readFully } from '../base/regular-file.ts';
import { isDigestChecked } from './cached-digest.ts';
import { renameDurably, toDiskFullError, writeAll } from './durable-write.ts';
import { removeStaleTemporaries, temporaryPath } from './process-identity.ts';

// Arrays one after the other, each from a multiple of eight bytes on; then, as JSON, what they are; then the length of that (4 bytes)
// and the SHA-256 of all before it (32 bytes).

const types = { i4: Int32Array, f4: Float32Array, u1: Uint8Array } as const;
type Type = keyof typeof types;
type Arrays = { i4: Int32Array; f4: Float32Array; u1: Uint8Array };
type Entry = { readonly type: Type; readonly at: number; readonly length: number };

const ALIGNMENT = 8;
const [LENGTH_BYTES, DIGEST_BYTES] = [4, 32];
const FOOT_BYTES = LENGTH_BYTES + DIGEST_BYTES;
const BLOCK_BYTES = 1 << 20;

/** A file of arrays that a program keeps for itself to read faster. It is there when it is whole, and never a part of it. */
export class ArrayFileWriter implements Disposable {
  readonly #path: string;
  readonly #temporary: string;
  readonly #fd: number;
  readonly #hash: Hash = createHash('sha256');
  readonly #entries: Entry[] = [];
  #size = 0;
  #open = true;

  constructor(path: string) {
    this.#path = path;
    mkdirSync(dirname(path), { recursive: true });
    removeStaleTemporaries(path);
    this.#temporary = temporaryPath(path);
    this.#fd = openSync(this.#temporary, 'w');
  }

  /** @throws DiskFullError */
  append(array: Int32Array | Float32Array | Uint8Array): void {
    const type = array instanceof Int32Array ? 'i4' : array instanceof Float32Array ? 'f4' : 'u1';
    this.#entries.push({ type, at: this.#size, length: array.length });
    this.#write(bytesOf(array));
    this.#write(new Uint8Array((ALIGNMENT - (this.#size % ALIGNMENT)) % ALIGNMENT));
  }

  /** Puts the whole file in its place. @throws DiskFullError */
  finish(): void {
    const text = Buffer.from(JSON.stringify(this.#entries));
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32LE(text.length);
    this.#write(text);
    this.#write(length);
    this.#write(this.#hash.digest(), false);
    fsyncSync(this.#fd);
    this.#close();
    renameDurably(this.#temporary, this.#path);
  }

  #write(bytes: Uint8Array, hashed = true): void {
    if (hashed) this.#hash.update(bytes);
    this.#size += bytes.length;
    try {
      writeAll(this.#fd, bytes);
    } catch (error) {
      throw toDiskFullError(this.#path, error);
    }
  }

  #close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }

  /** Removes what is not finished. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#close();
    rmSync(this.#temporary, { force: true });
  }
}

/** Files that this process has found whole: they are read once for that. */
const whole = new Set<string>();

/** The arrays of a file of `ArrayFileWriter`, which are read where they are wanted. */
export class ArrayFile extends OpenFile {
  readonly #entries: readonly Entry[];

  private constructor(path: string) {
    super(path);
    try {
      this.#entries = readEntries(this.fd, path);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Null if there is no such file, or if it is damaged. */
  static open(path: string): ArrayFile | null {
    try {
      return new ArrayFile(path);
    } catch (error) {
      if (error instanceof FileError || error instanceof SyntaxError) return null;
      throw error;
    }
  }

  get count(): number {
    return this.#entries.length;
  }

  /** Array `i`, of the type that was written. */
  read<T extends Type>(i: number, type: T): Arrays[T] {
    const { type: written, at, length } = this.#entries[i]!;
    if (written !== type) throw new FileError(this.path, `array ${i} is ${written}, wanted ${type}`);
    // not zeros first: all of it is read
    const { buffer } = Buffer.allocUnsafeSlow(length * types[type].BYTES_PER_ELEMENT);
    const array = new types[type](buffer) as Arrays[T];
    readFully(this.fd, this.path, bytesOf(array), at);
    return array;
  }
}

/** @throws FileError, SyntaxError if the file is cut short, or not all bytes are those that were written and its digest is to be checked */
function readEntries(fd: number, path: string): Entry[] {
  const { size: bytes, dev, ino, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  const [size, key] = [Number(bytes), [dev, ino, bytes, mtimeNs, ctimeNs].join(' ')];
  if (size < FOOT_BYTES) throw new FileError(path, 'is cut short');
  const foot = readFully(fd, path, Buffer.alloc(FOOT_BYTES), size - FOOT_BYTES);
  if (!whole.has(key) && isDigestChecked(size)) {
    if (!digestOfAll(fd, path, size - DIGEST_BYTES).equals(foot.subarray(LENGTH_BYTES)))
      throw new FileError(path, 'is damaged');
    whole.add(key);
  }
  const text = Buffer.alloc(Math.min(size - FOOT_BYTES, foot.readUInt32LE()));
  const entries: Entry[] = JSON.parse(readFully(fd, path, text, size - FOOT_BYTES - text.length).toString());
  for (const { type, at, length } of entries)
    if (!(at >= 0 && length >= 0 && at + length * types[type]?.BYTES_PER_ELEMENT <= size))
      throw new FileError(path, 'is damaged');
  return entries;
}

function digestOfAll(fd: number, path: string, size: number): Buffer {
  const hash = createHash('sha256');
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let at = 0; at < size; ) {
    const read = readSync(fd, block, 0, Math.min(block.length, size - at), at);
    if (read === 0) throw new FileError(path, 'is cut short');
    hash.update(block.subarray(0, read));
    at += read;
  }
  return hash.digest();
}
