import { createHash } from 'node:crypto';
import { readSync, statSync } from 'node:fs';
import { withRegularFile } from '../base/regular-file.ts';

const WHOLE_BELOW_BYTES = 256 * 2 ** 20;
const SAMPLES = 256;
const SAMPLE_BYTES = 64 * 1024;
const block = Buffer.allocUnsafe(2 ** 20);

/** Whether `contentDigest` reads only samples of these files. */
export const isSampled = (files: readonly string[]): boolean =>
  files.reduce((sum, file) => sum + statSync(file).size, 0) > WHOLE_BELOW_BYTES;

/**
 * A digest of files: of all their bytes, or beyond 256 MB of their sizes and of 256 blocks evenly spaced over them.
 * Any rewriting of records changes it, and it takes a second for a hundred gigabytes.
 */
export function contentDigest(files: readonly string[], names: readonly string[] = []): string {
  const sizes = files.map((file) => statSync(file).size);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const hash = createHash('sha256').update(JSON.stringify([sizes, names]));
  const stride = total <= WHOLE_BELOW_BYTES ? 0 : Math.floor(total / SAMPLES);
  let before = 0;
  for (const [i, file] of files.entries()) {
    withRegularFile(file, (fd) => {
      let at = stride === 0 ? 0 : (stride - (before % stride)) % stride;
      while (at < sizes[i]!) {
        const read = readSync(fd, block, 0, stride === 0 ? block.length : SAMPLE_BYTES, at);
        if (read === 0) break;
        hash.update(block.subarray(0, read));
        at += stride === 0 ? read : stride;
      }
    });
    before += sizes[i]!;
  }
  return hash.digest('hex').slice(0, 16);
}
