import { fstatSync, readSync } from 'node:fs';
import { FileError } from '../base/errors.ts';
import { OpenFile } from '../base/regular-file.ts';

/** What a column holds: a whole number from 0 to 2³¹-1, a decimal number, any text, or something that is skipped. */
export type ColumnType = 'integer' | 'number' | 'text' | 'skip';
type Values = { integer: Int32Array; number: Float64Array; text: string[]; skip: null };

/** Some rows of a table, column by column; `from` is the line of the first of them, counted from 1. */
export type TableRows<C extends readonly ColumnType[]> = {
  readonly from: number;
  readonly count: number;
  readonly columns: { readonly [K in keyof C]: Values[C[K]] };
};

export type TableOptions = {
  /** ' ': any run of blanks and tabs. ',': one comma, blanks around it do not matter. */
  readonly separator?: ' ' | ',';
  /** The first line may be a header: it is skipped if no integer stands where integers are wanted. */
  readonly header?: boolean;
  /** Lines may go on after the columns that are read. */
  readonly more?: boolean;
  /** Rows handed out at a time. */
  readonly chunk?: number;
};

const BLOCK_BYTES = 1 << 20;
/** A cell has at least one character and its end: this bounds the number of rows, and the memory for them. */
const LEAST_CELL = 2;
const [NEWLINE, RETURN, POINT, ZERO] = [0x0a, 0x0d, 0x2e, 0x30];
const [BLANK, TAB, COMMA] = [0x20, 0x09, 0x2c];
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const UTF_16_MARKS = [Buffer.from([0xff, 0xfe]), Buffer.from([0xfe, 0xff])];
const MOST_INTEGER = 2 ** 31 - 1;
/** Digits whose whole number a double holds; dividing it by an exact power of ten then rounds as reading the text does. */
const EXACT_DIGITS = 15;
const POWERS = Float64Array.from({ length: EXACT_DIGITS + 1 }, (_, k) => 10 ** k);
const WORDS = {
  integer: `a whole number from 0 to ${MOST_INTEGER}`,
  number: 'a number',
  text: 'a text',
  skip: 'anything',
} as const;

/**
 * Reads a text table of any length, `chunk` rows at a time; what is handed out is the caller's. Memory holds one chunk and one
 * block of the file. Lines end in \n or \r\n, the last one may have no end; blanks at either end of a line do not matter, nor
 * does a byte order mark; empty lines may stand at the end only.
 * @throws FileError naming file and line.
 */
export function* readTable<const C extends readonly ColumnType[]>(
  path: string,
  columns: C,
  { separator = ' ', header = false, more = false, chunk = 65536 }: TableOptions = {},
): Generator<TableRows<C>, void, undefined> {
  using lines = new Lines(path);
  if (header && isHeader(lines.firstLine(), columns, separator)) lines.skip();
  const rows = Math.min(chunk, Math.ceil((lines.size + 1) / LEAST_CELL / columns.length));
  const parser = new Parser(path, columns, separator, more);
  for (;;) {
    const from = lines.read + 1;
    const room = columns.map((kind) => roomFor(kind, rows));
    let count = 0;
    while (count < rows && lines.fill()) count += parser.parse(lines, room, count, rows);
    if (count === 0) return;
    yield { from, count, columns: room.map((values) => cut(values, count)) as unknown as TableRows<C>['columns'] };
  }
}

const isInteger = (cell: string): boolean => /^\d+$/.test(cell) && Number(cell) <= MOST_INTEGER;

const isHeader = (line: string, columns: readonly ColumnType[], separator: ' ' | ','): boolean =>
  line.trim() !== '' && !cellsOf(line, separator).some((cell, c) => columns[c] === 'integer' && isInteger(cell));

const cellsOf = (line: string, separator: ' ' | ','): string[] =>
  separator === ',' ? line.split(',').map((cell) => cell.trim()) : line.trim().split(/[ \t]+/);

/**
 * The lines of a table of integers whose last cell is 1. Other lines are not parsed, which is many times faster than to read all.
 * @throws FileError if there is no such file
 */
export function* linesEndingInOne(path: string): Generator<string, void, undefined> {
  using lines = new Lines(path);
  while (lines.fill()) {
    const block = lines.bytes.subarray(lines.at, lines.end);
    if (UNUSUAL_ENDS.some((end) => block.includes(end)))
      yield* block.toString('utf8').split('\n').filter((line) => /(^|[ \t])0*1[ \t]*\r?$/.test(line)); // biome-ignore format: short
    else yield* linesBefore(block, block.includes(RETURN) ? ['1\n', '1\r\n'] : ['1\n']);
    lines.at = lines.end;
  }
}

const UNUSUAL_ENDS = [' \n', '\t\n', ' \r', '\t\r'];

/** Lines of `block` that have one of `ends` and a last cell of value 1. */
function* linesBefore(block: Buffer, ends: readonly string[]): Generator<string, void, undefined> {
  const found = ends.flatMap((end) => placesOf(block, end));
  for (const at of ends.length > 1 ? found.sort((a, b) => a - b) : found) {
    let before = at - 1;
    while (block[before] === ZERO) before--;
    const byte = block[before];
    if (before < 0 || byte === BLANK || byte === TAB || byte === NEWLINE)
      yield block.toString('utf8', block.lastIndexOf(NEWLINE, at) + 1, at + 1);
  }
}

function placesOf(block: Buffer, text: string): number[] {
  const places: number[] = [];
  for (let at = block.indexOf(text); at >= 0; at = block.indexOf(text, at + 1)) places.push(at);
  return places;
}

const roomFor = (kind: ColumnType, rows: number): Values[ColumnType] =>
  kind === 'integer' ? new Int32Array(rows) : kind === 'number' ? new Float64Array(rows) : kind === 'text' ? [] : null;

const cut = (values: Values[ColumnType], count: number): Values[ColumnType] =>
  values === null || Array.isArray(values) || values.length === count ? values : values.slice(0, count);

/** A file by blocks that end where a line ends. */
class Lines extends OpenFile {
  readonly size: number;
  readonly bytes: Buffer;
  /** Where the first line lies that has not been read, and where the last whole line of the block ends. */
  at = 0;
  end = 0;
  /** Lines read so far. */
  read = 0;
  #held = 0;
  #ended = false;

  constructor(path: string) {
    super(path);
    this.size = fstatSync(this.fd).size;
    this.bytes = Buffer.allocUnsafe(Math.min(this.size, BLOCK_BYTES) + 1);
    if (!this.fill()) return;
    const starts = (mark: Buffer): boolean => this.bytes.subarray(0, mark.length).equals(mark);
    if (UTF_16_MARKS.some(starts)) {
      this.close();
      throw new FileError(path, 'is text in UTF-16, wanted UTF-8', 'save it again as UTF-8');
    }
    if (starts(BYTE_ORDER_MARK)) this.at = BYTE_ORDER_MARK.length;
  }

  /** Makes sure that a whole line is there. → false at the end of the file */
  fill(): boolean {
    while (this.at === this.end && !this.#ended) {
      this.bytes.copyWithin(0, this.end, this.#held);
      this.#held -= this.end;
      const got = readSync(this.fd, this.bytes, this.#held, this.bytes.length - 1 - this.#held, null);
      if (got === 0 && this.#held === BLOCK_BYTES)
        throw new FileError(this.path, `line ${this.read + 1} is longer than ${BLOCK_BYTES} bytes`, 'is this a table?');
      this.#held += got;
      if (got === 0) {
        this.#ended = true;
        if (this.#held > 0 && this.bytes[this.#held - 1] !== NEWLINE) this.bytes[this.#held++] = NEWLINE;
      }
      this.at = 0;
      this.end = this.bytes.subarray(0, this.#held).lastIndexOf(NEWLINE) + 1;
    }
    return this.at < this.end;
  }

  firstLine(): string {
    return this.fill() ? this.bytes.toString('utf8', this.at, this.bytes.indexOf(NEWLINE, this.at)) : '';
  }

  skip(): void {
    if (!this.fill()) return;
    this.at = this.bytes.indexOf(NEWLINE, this.at) + 1;
    this.read++;
  }
}

class Parser {
  readonly #path: string;
  readonly #columns: readonly ColumnType[];
  readonly #separator: ' ' | ',';
  readonly #commas: boolean;
  readonly #more: boolean;
  /** Where the number that was read last ends; -1 if there was none. */
  #stop = 0;

  constructor(path: string, columns: readonly ColumnType[], separator: ' ' | ',', more: boolean) {
    this.#path = path;
    this.#columns = columns;
    this.#separator = separator;
    this.#commas = separator === ',';
    this.#more = more;
  }

  /** Reads lines into `room` from row `row` up to `chunk`, as many as the block has. → their number */
  parse(lines: Lines, room: readonly Values[ColumnType][], row: number, chunk: number): number {
    const { bytes, end } = lines;
    const last = this.#columns.length - 1;
    let at = lines.at;
    const first = row;
    while (at < end && row < chunk) {
      const start = at;
      at = afterBlanks(bytes, at);
      if (bytes[at] === NEWLINE || (bytes[at] === RETURN && bytes[at + 1] === NEWLINE)) {
        this.#onlyEmpty(lines, at, row - first);
        at = lines.end;
        break;
      }
      for (let c = 0; c <= last; c++) {
        const values = room[c]!;
        if (values instanceof Int32Array) {
          const from = at;
          let value = 0;
          for (let digit = bytes[at]! - ZERO; digit >= 0 && digit <= 9; digit = bytes[++at]! - ZERO)
            value = value * 10 + digit;
          if (at === from || value > MOST_INTEGER) throw this.#problem(bytes, start, lines.read + row - first + 1);
          values[row] = value;
        } else if (values instanceof Float64Array) {
          values[row] = this.#number(bytes, at);
          at = this.#stop;
        } else {
          const stop = this.#textEnd(bytes, at);
          if (values) values.push(bytes.toString('utf8', at, stop));
          at = stop;
        }
        const next = this.#cellEnds(bytes, at, c === last);
        if (next < 0) throw this.#problem(bytes, start, lines.read + row - first + 1);
        at = next;
      }
      at = bytes.indexOf(NEWLINE, at) + 1;
      row++;
    }
    lines.at = at;
    lines.read += row - first;
    return row - first;
  }

  /** Where the next cell starts, or for the last cell where the rest of the line does. → -1 if the cell does not end at `at` */
  #cellEnds(bytes: Buffer, at: number, last: boolean): number {
    const next = afterBlanks(bytes, at);
    const byte = bytes[next];
    const lineEnds = byte === NEWLINE || (byte === RETURN && bytes[next + 1] === NEWLINE);
    const separated = this.#commas ? byte === COMMA : next > at && !lineEnds;
    if (last) return lineEnds || (this.#more && separated) ? next : -1;
    if (!separated) return -1;
    return this.#commas ? afterBlanks(bytes, next + 1) : next;
  }

  #number(bytes: Buffer, from: number): number {
    let [value, digits, decimals, at] = [0, 0, 0, from];
    const negative = bytes[at] === 0x2d;
    if (negative) at++;
    for (let seen = false; ; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit >= 0 && digit <= 9) {
        value = value * 10 + digit;
        digits++;
        if (seen) decimals++;
      } else if (bytes[at] === POINT && !seen) seen = true;
      else break;
    }
    this.#stop = at;
    const byte = bytes[at]!;
    const whole =
      byte === BLANK || byte === TAB || byte === NEWLINE || byte === RETURN || (this.#commas && byte === COMMA);
    if (digits > 0 && digits <= EXACT_DIGITS && whole) return (negative ? -value : value) / POWERS[decimals]!;
    return this.#unusual(bytes, from);
  }

  /** Numbers with exponents or many digits. */
  #unusual(bytes: Buffer, from: number): number {
    const end = this.#textEnd(bytes, from);
    const text = bytes.toString('latin1', from, Math.min(end, from + 400));
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    this.#stop = Number.isFinite(value) ? end : -1;
    return value;
  }

  #textEnd(bytes: Buffer, from: number): number {
    let at = from;
    for (let byte = bytes[at]; byte !== NEWLINE; byte = bytes[++at])
      if (this.#commas ? byte === COMMA : byte === BLANK || byte === TAB) return at;
    return at > from && bytes[at - 1] === RETURN ? at - 1 : at;
  }

  /** Reads to the end of the file. @throws FileError if anything but empty lines is left. */
  #onlyEmpty(lines: Lines, from: number, done: number): void {
    let line = lines.read + done;
    for (let at = from; ; at = lines.at) {
      for (; at < lines.end; at++) {
        if (lines.bytes[at] === NEWLINE) line++;
        else if (![RETURN, BLANK, TAB].includes(lines.bytes[at]!))
          throw new FileError(this.#path, `line ${line}: is empty, but more lines follow`);
      }
      lines.at = lines.end;
      if (!lines.fill()) return;
    }
  }

  #problem(bytes: Buffer, start: number, line: number): FileError {
    const text = bytes.toString('utf8', start, bytes.indexOf(NEWLINE, start)).replace(/\r$/, '');
    const cells = cellsOf(text, this.#separator);
    const wanted = this.#columns.length;
    if (cells.length < wanted || (cells.length > wanted && !this.#more)) {
      const hint =
        cells.length === 1 ? `columns are separated by ${this.#commas ? 'commas' : 'blanks or tabs'}` : undefined;
      return new FileError(this.#path, `line ${line}: wanted ${wanted} columns, got ${cells.length}`, hint);
    }
    const bad = this.#columns.findIndex((kind, c) => !this.#fits(kind, cells[c]!));
    const cell = cells[bad] ?? text;
    return new FileError(
      this.#path,
      `line ${line}, column ${bad + 1}: wanted ${WORDS[this.#columns[bad] ?? 'text']}, got ${JSON.stringify(cell.slice(0, 40))}`,
    );
  }

  #fits(kind: ColumnType, cell: string): boolean {
    if (kind === 'integer') return isInteger(cell);
    if (kind !== 'number') return true;
    this.#number(Buffer.from(`${cell}\n`), 0);
    return this.#stop >= 0;
  }
}

function afterBlanks(bytes: Buffer, from: number): number {
  let at = from;
  while (bytes[at] === BLANK || bytes[at] === TAB) at++;
  return at;
}
