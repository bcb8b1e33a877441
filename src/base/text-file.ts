import { FileError, messageOf } from './errors.ts';
import { readRegularFile } from './regular-file.ts';

const NEWLINE = 0x0a;
const utf8 = new TextDecoder('utf-8', { fatal: true });

const utf8WithMark = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes decoded at a time: a string of V8 ends at 2²⁹ characters. */
const BLOCK = 1 << 26;

/**
 * The text of a file in UTF-8, without a byte order mark.
 * @throws FileError if it cannot be read, or is in another encoding: says which, as far as that shows.
 */
export const readTextFile = (path: string): string => decodeFile(path, (bytes) => utf8.decode(bytes)); // drops a byte order mark

/** The lines of such a file of any size. @throws FileError as `readTextFile` */
export const readTextLines = (path: string): string[] => decodeFile(path, decodeLines);

/**
 * The lines of a text in UTF-8, without a byte order mark; the end of the last one begins no other. `block`: bytes decoded at a time.
 * @throws TypeError if it is in another encoding
 */
export function decodeLines(bytes: Uint8Array, block = BLOCK): string[] {
  const lines: string[] = [];
  for (let from = 0; from < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, from + block - 1);
    const end = newline < 0 ? bytes.length : newline + 1;
    const some = (from === 0 ? utf8 : utf8WithMark).decode(bytes.subarray(from, end)).split('\n');
    if (some.at(-1) === '') some.pop();
    for (const line of some) lines.push(line);
    from = end;
  }
  return lines;
}

function decodeFile<T>(path: string, decode: (bytes: Buffer) => T): T {
  let bytes: Buffer;
  try {
    bytes = readRegularFile(path);
  } catch (error) {
    const problem = error instanceof FileError ? error.problem.slice(`${path}: `.length) : messageOf(error);
    throw new FileError(path, `cannot be read (${problem})`);
  }
  const wide = wideEncoding(bytes);
  if (wide) throw new FileError(path, `is in ${wide}, wanted UTF-8`, `iconv -f ${wide} -t UTF-8 FILE > NEW`);
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof TypeError)
      throw new FileError(
        path,
        `is not in UTF-8 (line ${lineOfFirstError(bytes)})`,
        'save it as UTF-8; if it is in Latin-1: iconv -f LATIN1 -t UTF-8 FILE > NEW',
      );
    throw new FileError(path, `cannot be read (${messageOf(error)})`);
  }
}

/** UTF-16 or UTF-32, by the byte order mark, or by the zeros between the first characters. */
function wideEncoding(bytes: Uint8Array): 'UTF-16' | 'UTF-32' | null {
  const [a, b, c, d] = bytes;
  if (a === 0xff && b === 0xfe) return c === 0 && d === 0 && bytes.length >= 4 ? 'UTF-32' : 'UTF-16';
  if (a === 0xfe && b === 0xff) return 'UTF-16';
  if (bytes.length < 4) return null;
  return (a === 0 && b !== 0 && c === 0 && d !== 0) || (a !== 0 && b === 0 && c !== 0 && d === 0) ? 'UTF-16' : null;
}

function lineOfFirstError(bytes: Buffer): number {
  let line = 1;
  for (let from = 0; from < bytes.length; line++) {
    const newline = bytes.indexOf(NEWLINE, from);
    const end = newline < 0 ? bytes.length : newline + 1;
    try {
      utf8.decode(bytes.subarray(from, end));
    } catch {
      return line;
    }
    from = end;
  }
  return line;
}
