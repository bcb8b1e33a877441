import { statSync } from 'node:fs';
import { extname } from 'node:path';
import { FileError } from '../base/errors.ts';
import { repeatedIn } from '../base/large-map.ts';
import { readTextLines } from '../base/text-file.ts';

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
  const ids = readTextLines(path).map(extname(path) === '.jsonl' ? parseString(path) : plain(path));
  if (count !== undefined && ids.length !== count)
    throw new FileError(path, `holds ${ids.length} ids, wanted ${count}, one for each feature`, 'one id a line');
  requireDistinct(path, ids);
  return ids;
}

/** @throws FileError naming ids that occur twice. */
export function requireDistinct(path: string, ids: readonly string[]): void {
  const doubled = repeatedIn(ids);
  if (doubled.length > 0)
    throw new FileError(path, `names ${doubled.length} ids twice: ${firstFew(doubled)}`, 'an id belongs to one row');
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
