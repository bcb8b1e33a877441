import { FileError, messageOf } from './errors.ts';
import { readRegularFile } from './regular-file.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The text of a file in UTF-8, without a byte order mark.
 * @throws FileError if it cannot be read, or is in another encoding: says which, as far as that shows.
 */
export function readTextFile(path: string): string {
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
    return utf8.decode(bytes); // drops a byte order mark
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
    const newline = bytes.indexOf(0x0a, from);
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
