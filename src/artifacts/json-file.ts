import { existsSync } from 'node:fs';
import { FileError, type Hint, messageOf } from '../base/errors.ts';
import { readTextFile } from '../base/text-file.ts';
import { writeAtomic } from './durable-write.ts';

/** Levels of lists and mappings in each other: what goes through a document by calling itself must end. */
const MOST_LEVELS = 500;

function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs))
    if (token === '[' || token === '{') {
      if (++depth > MOST_LEVELS) return true;
    } else if (token === ']' || token === '}') depth--;
  return false;
}

/** Reads a JSON file. @throws FileError if it is missing, no regular file or no JSON. */
export function readJson(path: string, hint?: Hint): unknown {
  if (!existsSync(path)) throw new FileError(path, 'no such file', hint);
  const text = readTextFile(path);
  if (nestsTooDeep(text)) throw new FileError(path, `nests deeper than ${MOST_LEVELS} levels`, hint);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FileError(path, `not valid JSON (${messageOf(error)})`, hint);
  }
}

/** What `writeJson` writes. */
export const jsonText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

export const writeJson = (path: string, value: unknown): void => writeAtomic(path, jsonText(value));
