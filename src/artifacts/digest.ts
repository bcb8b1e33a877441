import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { withRegularFile } from '../base/regular-file.ts';

/** SHA-256 of `parts`, as 16 hexadecimal digits: long enough to name an artefact, short enough to read. */
export function digestOf(...parts: readonly (string | Uint8Array)[]): string {
  const digest = new RunningDigest();
  for (const part of parts) digest.update(part).endPart();
  return digest.end();
}

/** `digestOf` for parts that come in pieces. */
export class RunningDigest {
  readonly #hash = createHash('sha256');

  update(piece: string | Uint8Array): this {
    this.#hash.update(piece);
    return this;
  }

  endPart(): this {
    return this.update('\0');
  }

  end(): string {
    return this.#hash.digest('hex').slice(0, 16);
  }
}

const block = Buffer.allocUnsafe(1 << 20);

/** `digestOf` for a file of any size. */
export function fileDigest(path: string): string {
  const digest = new RunningDigest();
  withRegularFile(path, (fd) => {
    for (let read = readSync(fd, block); read > 0; read = readSync(fd, block)) digest.update(block.subarray(0, read));
  });
  return digest.end();
}

/** JSON with sorted keys: equal values give equal text, so that it can be hashed. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) =>
    v && typeof v === 'object' && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}
