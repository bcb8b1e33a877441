import { FileError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { readRegularFile } from '../base/regular-file.ts';
import { writeAtomic } from './durable-write.ts';

/** Ids of the images of a dataset or of the rows of a feature set, by position. */
export interface IdList {
  readonly size: number;
  /** The id at position `i`. @throws FileError if the line holds none. */
  at(i: number): string;
}

const HINT = 'import the data set again, or restore the file';
const NEWLINE = 0x0a;
/** Ids that are turned into bytes at once. */
const CHUNK = 4096;

/** Ids as one JSON string a line, so that any file name fits. In chunks */
export function* idLines(ids: Iterable<string>): Iterable<Uint8Array> {
  let lines: string[] = [];
  for (const id of ids) {
    if (lines.push(`${JSON.stringify(id)}\n`) < CHUNK) continue;
    yield Buffer.from(lines.join(''));
    lines = [];
  }
  yield Buffer.from(lines.join(''));
}

/** Writes the lines of ids. @throws DiskFullError */
export const writeIds = (path: string, ids: Iterable<string>): void => writeAtomic(path, idLines(ids));

/**
 * The ids that `writeIds` wrote. The file is read at the first use; from then on its bytes and 8 more for each id stay in memory.
 * @throws FileError, at the first use, if the file does not hold `count` lines
 */
export function readIds(path: string, count: number): IdList {
  let lines: { readonly bytes: Buffer; readonly ends: Float64Array } | undefined;
  return {
    size: count,
    at: (i) => {
      lines ??= readLines(path, count);
      const { bytes, ends } = lines;
      return parseId(path, bytes.toString('utf8', i === 0 ? 0 : ends[i - 1]! + 1, ends[i]), i);
    },
  };
}

function parseId(path: string, line: string, i: number): string {
  try {
    const id: unknown = JSON.parse(line);
    if (typeof id === 'string') return id;
  } catch {}
  throw new FileError(path, `line ${i + 1} is no JSON string`, HINT);
}

function readLines(path: string, count: number): { readonly bytes: Buffer; readonly ends: Float64Array } {
  const bytes = readRegularFile(path);
  const ends = new Float64Array(count);
  let found = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) {
    if (found < count) ends[found] = at;
    found++;
  }
  if (bytes.length > 0 && bytes.at(-1) !== NEWLINE) throw new FileError(path, `line ${found + 1} is cut short`, HINT);
  if (found !== count) throw new FileError(path, `holds ${formatCount(found, 'id')}, wanted ${count}`, HINT);
  return { bytes, ends };
}
