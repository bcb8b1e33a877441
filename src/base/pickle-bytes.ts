/** What is wrong with a pickle at the place where it is read; `readPickle` adds file, opcode and offset. */
export class MalformedPickle extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** Longest string: V8's own limit is a little under 2^29 characters. */
const LONGEST_STRING = 2 ** 28;
/** Longest integer in bytes: 2048 bits. Turning digits into a number is not linear work, and no data has longer ones. */
const LONGEST_INTEGER = 256;
const LONGEST_DECIMAL = 620;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The operands of opcodes, read one after the other. Every reader checks that its bytes are there. */
export class PickleBytes {
  at = 0;
  /** Where the opcode stands whose operands are read. */
  opcodeAt = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How many bytes have not been read. */
  get left(): number {
    return this.#bytes.length - this.at;
  }

  /** The next `count` bytes themselves, not a copy. */
  take(count: number): Buffer {
    if (count > this.left) throw new MalformedPickle(`wants ${count} bytes, ${this.left} are left: cut short`);
    this.at += count;
    return this.#bytes.subarray(this.at - count, this.at);
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  /** Little-endian, unsigned. One of 8 bytes may be rounded: it is larger than any file then. */
  length(bytes: 2 | 4 | 8): number {
    const field = this.take(bytes);
    return bytes === 8 ? Number(field.readBigUInt64LE()) : field.readUIntLE(0, bytes);
  }

  int32(): number {
    return this.take(4).readInt32LE();
  }

  double(): number {
    return this.take(8).readDoubleBE();
  }

  /** Two's complement, little-endian, of any length. */
  integer(bytes: number): number | bigint {
    if (bytes > LONGEST_INTEGER)
      throw new MalformedPickle(`an integer of ${bytes} bytes, ${LONGEST_INTEGER} are the most`);
    const hex = Buffer.from(this.take(bytes)).reverse().toString('hex');
    return bytes === 0 ? 0 : narrowed(BigInt.asIntN(8 * bytes, BigInt(`0x${hex}`)));
  }

  /** Up to the end of the line, which is read but not returned; one character for each byte. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.at);
    if (end < 0) throw new MalformedPickle('a line without an end: cut short');
    const text = this.takeText(end - this.at).toString('latin1');
    this.at++;
    return text;
  }

  /** A decimal line, with Python's L or without; `01` and `00` are booleans where those may stand. */
  decimal({ booleans = false } = {}): number | bigint | boolean {
    const line = this.line();
    if (booleans && (line === '01' || line === '00')) return line === '01';
    const digits = line.replace(/L$/, '');
    if (!/^[+-]?\d+$/.test(digits) || digits.length > LONGEST_DECIMAL)
      throw new MalformedPickle('wanted a whole number');
    return narrowed(BigInt(digits.replace(/^\+/, '')));
  }

  float(): number {
    const line = this.line().trim();
    const special = { inf: Infinity, '-inf': -Infinity, nan: Number.NaN }[line];
    if (special === undefined && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(line)) throw new MalformedPickle('wanted a number');
    return special ?? Number(line);
  }

  utf8(bytes: number): string {
    const text = this.takeText(bytes);
    try {
      return utf8.decode(text);
    } catch {
      throw new MalformedPickle('a string that is not UTF-8');
    }
  }

  /** A line in which \uXXXX and \UXXXXXXXX stand for characters, and every other byte for itself. */
  rawUnicode(): string {
    return this.line().replace(/\\u([\da-fA-F]{4})|\\U([\da-fA-F]{8})/g, (_, short?: string, long?: string) => {
      const point = Number.parseInt(short ?? long!, 16);
      if (point > 0x10ffff) throw new MalformedPickle('a character beyond Unicode');
      return String.fromCodePoint(point);
    });
  }

  /** The bytes that a line of Python source in quotes stands for. */
  quoted(): Buffer {
    const line = this.line().trim();
    const quote = line[0];
    if (line.length < 2 || (quote !== "'" && quote !== '"') || line.at(-1) !== quote)
      throw new MalformedPickle('wanted a string in quotes');
    const text = line.slice(1, -1).replace(/\\(x[0-9a-f]{2}|[0-7]{1,3}|.|$)/gis, (whole, what: string) => {
      if (/^x./i.test(what)) return String.fromCharCode(Number.parseInt(what.slice(1), 16));
      if (/^[0-7]/.test(what)) return String.fromCharCode(Number.parseInt(what, 8) & 0xff);
      return ESCAPES[what] ?? whole;
    });
    return Buffer.from(text, 'latin1');
  }

  private takeText(bytes: number): Buffer {
    if (bytes > LONGEST_STRING) throw new MalformedPickle(`a string of ${bytes} bytes, ${LONGEST_STRING} are the most`);
    return this.take(bytes);
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  "'": "'",
  '"': '"',
  n: '\n',
  r: '\r',
  t: '\t',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
};

const narrowed = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value);
