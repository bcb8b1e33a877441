import { FileError } from '../base/errors.ts';
import { fromHalf } from '../base/half.ts';
import { OpenFile, readFully } from '../base/regular-file.ts';
import { type NpyHeader, readNpyHeader, requireComplete } from './npy.ts';

/** Kinds of elements in NumPy's spelling, and what people call them. */
const KINDS: Readonly<Record<string, string>> = {
  f: 'float',
  i: 'int',
  u: 'uint',
  b: 'true or false',
  c: 'complex numbers',
  S: 'text',
  U: 'text',
  O: 'Python objects',
  M: 'dates',
  m: 'durations',
  V: 'raw bytes',
};
const WIDTHS: Readonly<Record<string, readonly number[]>> = { f: [2, 4, 8], i: [1, 2, 4, 8], u: [1, 2, 4, 8] };

type Integers = new (buffer: ArrayBuffer, offset: number, length: number) => ArrayLike<number | bigint>;
/** Arrays of whole numbers with and without a sign, by the bytes of each. */
const INTEGERS: Readonly<Record<number, readonly [signed: Integers, unsigned: Integers]>> = {
  1: [Int8Array, Uint8Array],
  2: [Int16Array, Uint16Array],
  4: [Int32Array, Uint32Array],
  8: [BigInt64Array, BigUint64Array],
};

/**
 * A .npy array of numbers as other systems write it: any byte order, C or Fortran order, floats of 2, 4 or 8 bytes, whole numbers
 * of 1, 2, 4 or 8. Read by blocks of rows.
 */
export class ForeignNpy extends OpenFile {
  readonly shape: readonly number[];
  /** `float` or whole numbers, and the bytes of one. */
  readonly kind: 'f' | 'i' | 'u';
  readonly width: number;
  readonly fortran: boolean;
  /** What messages call a row. */
  nameOf = (row: number): string => `row ${row}`;
  readonly #bigEndian: boolean;
  readonly #start: number;

  /** @throws FileError if `path` is no whole .npy file of numbers. */
  constructor(path: string) {
    super(path);
    try {
      const header = readNpyHeader(this.fd, path);
      const [, order, kind, width] = /^([<>|=])([a-zA-Z])(\d*)/.exec(header.descr) ?? [];
      if (kind === undefined || !WIDTHS[kind]?.includes(Number(width)))
        throw new FileError(
          path,
          `holds ${describe(header, kind)}, wanted numbers`,
          'convert it in NumPy: features with .astype("float32"), ids with .astype("int64")',
        );
      this.kind = kind as 'f' | 'i' | 'u';
      this.width = Number(width);
      requireComplete(this.fd, path, header, this.width);
      this.shape = header.shape;
      this.fortran = header.fortran && header.shape.filter((n) => n > 1).length > 1;
      this.#bigEndian = order === '>' && this.width > 1;
      this.#start = header.start;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** What is unlike the files that mixbct writes: "float64, big-endian, in Fortran order". */
  get described(): string {
    const type = `${KINDS[this.kind]}${8 * this.width}`;
    return [type, ...(this.#bigEndian ? ['big-endian'] : []), ...(this.fortran ? ['in Fortran order'] : [])].join(', ');
  }

  /**
   * Rows `from` … `from + count - 1` of an array [N, D] of floats, flat. float64 becomes the nearest float32.
   * @throws FileError naming the first row that holds a number that is not finite or beyond float32.
   */
  rows(from: number, count: number): Float32Array {
    const rows = this.#floats(this.#read(from, count));
    const dim = this.shape[1]!;
    for (let i = 0; i < rows.length; i++)
      if (!Number.isFinite(rows[i]))
        throw new FileError(
          this.path,
          `${this.nameOf(from + Math.floor(i / dim))} holds ${this.#original(from, i)}`,
          'features must be finite, in the range of float32',
        );
    return rows;
  }

  /** All of an array of whole numbers, as they are: numbers, or BigInts where each has 8 bytes. */
  integers(): ArrayLike<number | bigint> {
    const bytes = this.#read(0, this.shape[0] ?? 1);
    const [signed, unsigned] = INTEGERS[this.width]!;
    return new (this.kind === 'i' ? signed : unsigned)(bytes.buffer, 0, bytes.length / this.width);
  }

  #floats({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array {
    if (this.width === 2) return fromHalf(new Uint16Array(buffer, byteOffset, byteLength / 2));
    if (this.width === 4) return new Float32Array(buffer, byteOffset, byteLength / 4);
    return Float32Array.from(new Float64Array(buffer, byteOffset, byteLength / 8));
  }

  /** The number in the file that became element `i` of the rows from `from` on. */
  #original(from: number, i: number): number {
    const dim = this.shape[1]!;
    const row = this.#read(from + Math.floor(i / dim), 1);
    return this.width === 8 ? new Float64Array(row.buffer, row.byteOffset, dim)[i % dim]! : this.#floats(row)[i % dim]!;
  }

  /** Bytes of rows in C order, in this machine's byte order. */
  #read(from: number, count: number): Uint8Array<ArrayBuffer> {
    const row = this.shape.slice(1).reduce((product, n) => product * n, 1);
    const bytes = new Uint8Array(count * row * this.width);
    if (this.fortran) this.#gather(bytes, from, count, row);
    else readFully(this.fd, this.path, bytes, this.#start + from * row * this.width);
    if (this.#bigEndian) {
      const buffer = Buffer.from(bytes.buffer);
      if (this.width === 2) buffer.swap16();
      else if (this.width === 4) buffer.swap32();
      else buffer.swap64();
    }
    return bytes;
  }

  /** Rows of a file that has its columns one after the other. */
  #gather(into: Uint8Array<ArrayBuffer>, from: number, count: number, columns: number): void {
    const Unit = this.width === 2 ? Uint16Array : Uint32Array;
    const units = this.width / Unit.BYTES_PER_ELEMENT; // of 8 bytes two: a Float64Array would touch the bits of a NaN
    const target = new Unit(into.buffer);
    const column = new Unit(count * units);
    for (let c = 0; c < columns; c++) {
      const position = this.#start + (c * this.shape[0]! + from) * this.width;
      readFully(this.fd, this.path, new Uint8Array(column.buffer), position);
      for (let r = 0; r < count; r++)
        for (let u = 0; u < units; u++) target[(r * columns + c) * units + u] = column[r * units + u]!;
    }
  }
}

const describe = ({ descr }: NpyHeader, kind: string | undefined): string =>
  kind === undefined ? descr : `${descr} (${KINDS[kind] ?? 'an unknown type'})`;
