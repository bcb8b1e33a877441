import { closeSync, fstatSync, ftruncateSync, openSync, readSync, statSync } from 'node:fs';
import { requireFileSize, writeAll } from '../artifacts/durable-write.ts';
import { bytesOf } from '../base/bytes-of.ts';
import { FileError } from '../base/errors.ts';
import { OpenFile, readFully } from '../base/regular-file.ts';

// NumPy's .npy, versions 1 to 3: magic, version, header length, a Python dictionary as text, then the elements.

const MAGIC = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]);
/** Room for the header that the writer leaves, so that the row count can be filled in at the end. */
const HEADER_BYTES = 128;

const types = {
  '<f2': Uint16Array, // bit patterns: half.ts tells the numbers
  '<f4': Float32Array,
  '<f8': Float64Array,
  '<i4': Int32Array,
  '<i8': BigInt64Array,
  '|u1': Uint8Array,
  '|b1': Uint8Array,
} as const;
export type NpyType = keyof typeof types;
type Arrays = {
  '<f2': Uint16Array;
  '<f4': Float32Array;
  '<f8': Float64Array;
  '<i4': Int32Array;
  '<i8': BigInt64Array;
  '|u1': Uint8Array;
  '|b1': Uint8Array;
};
export type NpyArray<T extends NpyType = NpyType> = Arrays[T];

const elements = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** What the head of a .npy file says: type of the elements in NumPy's spelling, element order, shape, where the elements begin. */
export type NpyHeader = {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
  readonly start: number;
};

/** @throws FileError if the file has fewer bytes than its header says, with elements of `width` bytes. */
export function requireComplete(
  fd: number,
  path: string,
  { descr, shape, start }: Omit<NpyHeader, 'fortran'>,
  width: number,
): void {
  const [expected, size] = [start + elements(shape) * width, fstatSync(fd).size];
  if (size < expected)
    throw new FileError(path, `cut short: [${shape.join(', ')}] of ${descr} needs ${expected} bytes, ${size} there`);
}

/** Reads rows of an array on disk. Nothing of it stays in memory. */
export class NpyFile<T extends NpyType = NpyType> extends OpenFile {
  readonly type: T;
  readonly shape: readonly number[];
  readonly #start: number;
  /** Elements of one row, bytes of one element. */
  readonly #row: number;
  readonly #width: number;

  /** @throws FileError if `path` is no .npy file of one of the types `wanted`, in C order, whole. */
  constructor(path: string, wanted: readonly T[]) {
    super(path);
    try {
      const { descr, fortran, shape, start } = readNpyHeader(this.fd, path);
      if (fortran) throw new FileError(path, 'is in Fortran order', 'save it with np.ascontiguousarray');
      if (!(wanted as readonly string[]).includes(descr))
        throw new FileError(path, `holds ${descr}, wanted ${wanted.join(' or ')}`, 'convert it in NumPy with .astype');
      this.type = descr as T;
      this.shape = shape;
      this.#start = start;
      this.#row = elements(shape.slice(1));
      this.#width = types[this.type].BYTES_PER_ELEMENT;
      requireComplete(this.fd, path, { descr, shape, start }, this.#width);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Rows `from` … `from + count - 1`, flat, in `into` if it is given. @throws RangeError if the file has no such rows. */
  read(from: number, count: number, into?: NpyArray<T>): NpyArray<T> {
    const result = into ?? new types[this.type](count * this.#row);
    this.#fill(result, 0, from, count);
    return result as unknown as NpyArray<T>;
  }

  /** Rows in any order, flat, in `into` if it is given; neighbours are read together. @throws RangeError if the file has no such row. */
  gather(rows: ArrayLike<number>, into?: NpyArray<T>): NpyArray<T> {
    const result = into ?? new types[this.type](rows.length * this.#row);
    for (let i = 0; i < rows.length; ) {
      let run = 1;
      while (i + run < rows.length && rows[i + run] === rows[i]! + run) run++;
      this.#fill(result, i, rows[i]!, run);
      i += run;
    }
    return result as unknown as NpyArray<T>;
  }

  all(): NpyArray<T> {
    return this.read(0, this.shape[0] ?? 1);
  }

  /** The open file, and the byte at which its first row begins. */
  place(): { readonly fd: number; readonly start: number } {
    return { fd: this.fd, start: this.#start };
  }

  #fill(into: ArrayBufferView, row: number, from: number, count: number): void {
    const rows = this.shape[0] ?? 1;
    if (!(from >= 0 && from + count <= rows))
      throw new RangeError(`${this.path}: rows ${from} … ${from + count - 1} of ${rows}`);
    const bytes = this.#row * this.#width;
    const target = new Uint8Array(into.buffer, into.byteOffset + row * bytes, count * bytes);
    readFully(this.fd, this.path, target, this.#start + from * bytes);
  }
}

/** @throws FileError if the file is no .npy file that we know how to read. */
export function readNpyHeader(fd: number, path: string): NpyHeader {
  const head = Buffer.alloc(12);
  readSync(fd, head, 0, 12, 0);
  if (!head.subarray(0, 6).equals(MAGIC))
    throw new FileError(path, 'is no .npy file (the first bytes are not \\x93NUMPY)');
  const [version] = [head[6]!];
  if (version < 1 || version > 3) throw new FileError(path, `.npy version ${version} is not known`);
  const prefix = version === 1 ? 10 : 12;
  const length = version === 1 ? head.readUInt16LE(8) : head.readUInt32LE(8);
  const text = Buffer.alloc(Math.min(length, 1 << 20));
  readSync(fd, text, 0, text.length, prefix);
  const header = text.toString('latin1');
  const descr = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || shape === undefined)
    throw new FileError(path, 'its header cannot be read', 'structured arrays are not supported');
  const sizes = shape.split(',').map((n) => n.trim()).filter((n) => n !== ''); // biome-ignore format: short
  if (!sizes.every((n) => /^\d+$/.test(n) && Number.isSafeInteger(Number(n))))
    throw new FileError(path, `has the shape (${shape.trim()}), wanted whole numbers`);
  return {
    descr,
    fortran: order === 'True',
    shape: sizes.map(Number),
    start: prefix + length,
  };
}

/** Counts the whole rows that a writer, finished or not, has put into a file. */
export function countWrittenRows(path: string, type: NpyType, rowShape: readonly number[] = []): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return Math.max(0, Math.floor((size - HEADER_BYTES) / (elements(rowShape) * types[type].BYTES_PER_ELEMENT)));
}

/** The head of a .npy file in C order. */
export function npyHeader(type: NpyType, shape: readonly number[]): Buffer {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const header = Buffer.alloc(HEADER_BYTES, ' ');
  MAGIC.copy(header);
  header.writeUInt8(1, 6);
  header.writeUInt8(0, 7);
  header.writeUInt16LE(HEADER_BYTES - 10, 8);
  header.write(text, 10, 'latin1');
  header.write('\n', HEADER_BYTES - 1);
  return header;
}

/** Writes an array row by row; the number of rows is known at the end. */
export class NpyWriter<T extends NpyType> {
  readonly #path: string;
  readonly #fd: number;
  readonly #type: T;
  readonly #rowShape: readonly number[];
  #rows = 0;
  #position = HEADER_BYTES;
  #torn = false;

  /** Continues after the first `rows` of an unfinished file and cuts off the rest. */
  constructor(path: string, type: T, rowShape: readonly number[] = [], { rows = 0 }: { readonly rows?: number } = {}) {
    this.#path = path;
    this.#fd = openSync(path, rows > 0 ? 'r+' : 'w');
    this.#type = type;
    this.#rowShape = rowShape;
    this.#rows = rows;
    this.#position = HEADER_BYTES + rows * elements(rowShape) * types[type].BYTES_PER_ELEMENT;
    ftruncateSync(this.#fd, rows > 0 ? this.#position : 0);
  }

  /** Appends whole rows, flat. @throws RangeError if the last one is not whole. */
  append(rows: NpyArray<T>): void {
    const count = rows.length / elements(this.#rowShape);
    if (!Number.isInteger(count))
      throw new RangeError(`${rows.length} elements are no whole rows of [${this.#rowShape.join(', ')}]`);
    const bytes = bytesOf(rows);
    this.#torn = true;
    writeAll(this.#fd, bytes, this.#position);
    this.#torn = false;
    this.#position += bytes.length;
    this.#rows += count;
  }

  /** Writes the header, unless the last `append` failed: such a file has none. */
  close(): void {
    if (this.#torn) {
      closeSync(this.#fd);
      return;
    }
    const header = npyHeader(this.#type, [this.#rows, ...this.#rowShape]);
    try {
      writeAll(this.#fd, header, 0);
      requireFileSize(this.#path, this.#fd, this.#position);
    } finally {
      closeSync(this.#fd);
    }
  }
}

/** A whole array of one of the types `wanted`. @throws FileError */
export function readNpy<T extends NpyType>(
  path: string,
  wanted: readonly T[],
): { readonly data: NpyArray<T>; readonly shape: readonly number[]; readonly type: T } {
  using file = new NpyFile(path, wanted);
  return { data: file.all(), shape: file.shape, type: file.type };
}

/** An array, whole or in pieces of whole rows that follow each other, each good until the next. */
export type NpyPieces<T extends NpyType = NpyType> = NpyArray<T> | Iterable<NpyArray<T>>;
export const piecesOf = <T extends NpyType>(data: NpyPieces<T>): Iterable<NpyArray<T>> =>
  ArrayBuffer.isView(data) ? [data] : data;

/** Writes a whole array; `rowShape` are the dimensions after the first. */
export function writeNpy<T extends NpyType>(
  path: string,
  type: T,
  data: NpyPieces<T>,
  rowShape: readonly number[] = [],
): void {
  const writer = new NpyWriter(path, type, rowShape);
  try {
    for (const piece of piecesOf(data)) writer.append(piece);
  } finally {
    writer.close();
  }
}
