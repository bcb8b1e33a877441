import { join } from 'node:path';
import { readRegularFile } from '../base/regular-file.ts';

/** Name of the manifest that every artefact directory holds. It is written last: a directory without it is unfinished. */
export const MANIFEST = 'manifest.json';

/** The manifest at `path` as it stands; null if there is none that can be read. */
export function manifestAt(path: string): Readonly<Record<string, unknown>> | null {
  try {
    const manifest = JSON.parse(readRegularFile(join(path, MANIFEST)).toString('utf8'));
    return typeof manifest === 'object' ? manifest : null;
  } catch {
    return null;
  }
}

/** `kind` of the manifest at `path`, or null. */
export function kindAt(path: string): string | null {
  const kind = manifestAt(path)?.['kind'];
  return typeof kind === 'string' ? kind : null;
}
