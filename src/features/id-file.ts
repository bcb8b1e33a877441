import { readFileSync, statSync } from 'node:fs';
import { extname } from 'node:path';
import { FileError, messageOf } from '../base/errors.ts';
import { LargeMap } from '../base/large-map.ts';

/** Ids that a message names. */
const NAMED = 3;

/** The first of a list, for a message: "a, b, c, …". */
export const firstFew = (ids: readonly string[]): string =>
  `${ids.slice(0, NAMED).join(', ')}${ids.length > NAMED ? ', …' : ''}`;

/**
 * Ids of `count` rows, or of any number of them, from a text file: one a line, or in a `.jsonl` one JSON string a line.
 * @throws FileError if there are more or fewer, one is empty, or some occur twice.
 */
export function readIdFile(path: string, count?: number): string[] {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new FileError(path, 'no such file, wanted ids');
  const lines = readText(path).split('\n');
  if (lines.at(-1) === '') lines.pop(); // what follows the last line's end
  const ids = lines.map(extname(path) === '.jsonl' ? parseString(path) : plain(path));
  if (count !== undefined && ids.length !== count)
    throw new FileError(path, `holds ${ids.length} ids, wanted ${count}, one for each feature`, 'one id a line');
  requireDistinct(path, ids);
  return ids;
}

/** @throws FileError naming ids that occur twice. */
export function requireDistinct(path: string, ids: readonly string[]): void {
  const seen = new LargeMap<string, true>();
  const doubled = ids.filter((id) => {
    if (seen.has(id)) return true;
    seen.set(id, true);
    return false;
  });
  if (doubled.length > 0)
    throw new FileError(path, `names ${doubled.length} ids twice: ${firstFew(doubled)}`, 'an id belongs to one row');
}

function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path)); // drops a byte order mark
  } catch (error) {
    throw new FileError(path, `is no UTF-8 text (${messageOf(error)})`, 'wanted one id a line');
  }
}

const plain =
  (path: string) =>
  (line: string, i: number): string => {
    const id = line.replace(/\r$/, '');
    if (id === '') throw new FileError(path, `line ${i + 1} is empty, wanted an id`);
    return id;
  };

const parseString =
  (path: string) =>
  (line: string, i: number): string => {
    try {
      const id: unknown = JSON.parse(line);
      if (typeof id === 'string') return id;
    } catch {}
    throw new FileError(
      path,
      `line ${i + 1} is no JSON string`,
      'a .jsonl holds one JSON string a line, a .txt plain ids',
    );
  };
