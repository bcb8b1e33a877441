import { statSync } from 'node:fs';
import { FileError, UserError } from '../base/errors.ts';
import { fileDigest } from './digest.ts';

/** Environment variable: files of more gigabytes are opened without checking their digest. Unset: all are checked. */
const LIMIT = 'MIXBCT_VERIFY_GB';
/** A file that changed more recently may change again within the resolution of its time stamp. */
const SETTLED_MS = 1000;

/** Digests by the file's identity, size and times of change. */
const cache = new Map<string, string>();

/** `fileDigest`, cached: an unchanged file is read once for each process. */
export function cachedFileDigest(path: string): string {
  const { dev, ino, size, mtimeNs, ctimeNs, mtimeMs } = statSync(path, { bigint: true });
  const key = [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  const known = cache.get(key);
  if (known !== undefined) return known;
  const digest = fileDigest(path);
  if (Date.now() - Number(mtimeMs) > SETTLED_MS) cache.set(key, digest);
  return digest;
}

/** Whether the digest of a file of this size is to be checked. @throws UserError if the limit is no number. */
export function isDigestChecked(bytes: number): boolean {
  const text = process.env[LIMIT] ?? '';
  if (text === '') return true;
  const limit = Number(text);
  if (!(limit >= 0))
    throw new UserError(`${LIMIT}=${text}: wanted a number of gigabytes`, {
      hint: 'the digest of a larger file is not checked when it is opened; 0 checks none',
    });
  return bytes <= limit * 1e9;
}

/** @throws FileError if a file is missing or has another digest than `wanted`. Files above the limit pass. */
export function requireDigest(path: string, wanted: string, hint: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) throw new FileError(path, 'no such file', hint);
  if (!isDigestChecked(size)) return;
  const digest = cachedFileDigest(path);
  if (digest !== wanted) throw digestMismatch(path, digest, wanted, hint);
}

export const digestMismatch = (path: string, digest: string, wanted: string, hint: string): FileError =>
  new FileError(path, `was changed or damaged since it was made (digest ${digest}, its manifest says ${wanted})`, hint);
