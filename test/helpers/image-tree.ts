import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encodePgm } from '../../src/data/decode.ts';
import { pattern } from './images.ts';

/** Writes a small image (PGM, whatever the name says) at each path; the picture is made from its position in the list. */
export function writeImages(folder: string, paths: readonly string[], side = 8): void {
  for (const [i, path] of paths.entries()) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), encodePgm(pattern(i, 0, side), side, side));
  }
}
