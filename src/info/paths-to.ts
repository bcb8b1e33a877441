import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { kindAt, MANIFEST } from '../artifacts/manifest.ts';
import { isFolder } from '../base/regular-file.ts';

/** What a path is wanted to. */
export type WantedPaths = {
  /** Kinds of artefacts. */
  readonly kinds?: readonly string[];
  /** Endings of files. */
  readonly endings?: readonly string[];
  /** Prefixes of record sets, and folders of images. */
  readonly datasets?: boolean;
};

/** A folder with more names is none that somebody looks for a run in. */
const MOST_NAMES = 5000;
/** Names that no line of a terminal can hold. */
const UNPRINTABLE = /\p{Cc}/u;

/** Paths that begin with `typed` and are, or lead to, what is wanted. Folders that lead on end with a slash. */
export function pathsTo(typed: string, { kinds = [], endings = [], datasets = false }: WantedPaths): string[] {
  const parent = typed.slice(0, typed.lastIndexOf('/') + 1);
  const begun = typed.slice(parent.length);
  const names = namesIn(parent || '.').filter(
    (name) => name.startsWith(begun) && (begun !== '' || !name.startsWith('.')) && !UNPRINTABLE.test(name),
  );
  if (names.length > MOST_NAMES) return [];
  return names.flatMap((name) => {
    const path = `${parent}${name}`;
    if (!existsSync(path)) return []; // a link to nothing, or to itself
    if (!isFolder(path)) {
      if (datasets && name.endsWith('.rec')) return path.slice(0, -'.rec'.length);
      return endings.some((ending) => name.endsWith(ending)) ? path : [];
    }
    const kind = kindAt(path);
    if (kind !== null && kinds.includes(kind)) return path;
    return kind === null || namesIn(path).some((child) => existsSync(join(path, child, MANIFEST))) ? `${path}/` : [];
  });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // none, no folder, or another user's
  }
}
