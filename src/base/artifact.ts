import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { FileError, messageOf, UserError } from './errors.ts';

/** Name of the manifest that every artefact directory holds. It is written last: a directory without it is unfinished. */
export const MANIFEST = 'manifest.json';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** SHA-256 of `parts`, as 16 hexadecimal digits: long enough to name an artefact, short enough to read. */
export function digestOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 16);
}

const block = Buffer.allocUnsafe(1 << 20);

/** `digestOf` for a file of any size. */
export function fileDigest(path: string): string {
  const hash = createHash('sha256');
  const fd = openSync(path, 'r');
  try {
    for (let read = readSync(fd, block); read > 0; read = readSync(fd, block)) hash.update(block.subarray(0, read));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex').slice(0, 16);
}

/** JSON with sorted keys: equal values give equal text, so that it can be hashed. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) =>
    v && typeof v === 'object' && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}

/** Reads a JSON file. @throws FileError if it is missing or no JSON. */
export function readJson(path: string, hint?: string): unknown {
  if (!existsSync(path)) throw new FileError(path, 'no such file', hint);
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new FileError(path, `not valid JSON (${messageOf(error)})`, hint);
  }
}

/** Writes a file so that readers see the old one or the whole new one, never a part. */
export function writeAtomic(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${randomBytes(4).toString('hex')}.part`;
  try {
    writeFileSync(temporary, data);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

export const writeJson = (path: string, value: unknown): void =>
  writeAtomic(path, `${JSON.stringify(value, null, 2)}\n`);

/** For what takes long to make: an attempt that failed or was killed leaves its folder to the next one with the same key. */
export type Resume = {
  /** Digest of all that decides what is made. Folders of other keys are removed. */
  readonly key: string;
  /** Whether what a failed attempt left in its folder is worth keeping. */
  readonly worth: (directory: string) => boolean;
};

/**
 * Makes one artefact directory: `make` fills a temporary neighbour, whose manifest is written last and which is then
 * renamed to `path`. If `make` throws, nothing remains (but what `resume` keeps) and what stood at `path` is untouched.
 *
 * @throws UserError if `path` exists and `force` is not set.
 */
export async function writeArtifact<M extends object>(
  path: string,
  { force = false, resume }: { readonly force?: boolean; readonly resume?: Resume },
  make: (directory: string) => Promise<M> | M,
): Promise<M> {
  const target = resolve(path);
  refuseExisting(target, force);
  const key = resume?.key ?? randomBytes(4).toString('hex');
  const temporary = join(dirname(target), `.${basename(target)}.${key}.part`);
  mkdirSync(temporary, { recursive: true });
  if (resume)
    for (const left of readdirSync(dirname(target)))
      if (left !== basename(temporary) && left.replace(/\.[0-9a-f]{16}\.part$/, '') === `.${basename(target)}`)
        rmSync(join(dirname(target), left), { recursive: true, force: true });
  try {
    const manifest = await make(temporary);
    writeJson(join(temporary, MANIFEST), manifest);
    rmSync(target, { recursive: true, force: true });
    renameSync(temporary, target);
    return manifest;
  } catch (error) {
    if (!resume?.worth(temporary)) rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** @throws UserError if something stands at `path` and `force` is not set. */
export function refuseExisting(path: string, force: boolean): void {
  if (existsSync(path) && !force)
    throw new UserError(`${path} exists already`, { hint: 'choose another --out, or pass --force to replace it' });
}
