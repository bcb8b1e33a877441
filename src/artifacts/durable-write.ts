import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { codeOf, UserError } from '../base/errors.ts';
import { removeStaleTemporaries, temporaryPath } from './process-identity.ts';

/** Bytes handed to the system at a time: it takes less than 2 GiB. */
const MOST_AT_ONCE = 1 << 30;

/** Disk full, or quota used up. `code` is the system's. */
export class DiskFullError extends UserError {
  readonly path: string;
  readonly code: string;
  constructor(path: string, code: string, cause?: unknown) {
    const what = code === 'EDQUOT' ? 'the disk quota is used up' : 'the disk is full';
    const free = freeBytes(dirname(resolve(path)));
    const left = free === null ? '' : `, ${formatBytes(free)} left`;
    super(`${path}: ${what} (${folderOf(path)}${left})`, { hint: FREE_SOMETHING, cause });
    this.path = path;
    this.code = code;
  }
}

const FREE_SOMETHING = 'free some space there (checkpoints, features, old runs), or choose another folder; then repeat';

export const isDiskFull = (error: unknown): boolean => ['ENOSPC', 'EDQUOT'].includes(codeOf(error) ?? '');

const isTemporary = (path: string): boolean =>
  resolve(path)
    .split(sep)
    .some((name) => name.endsWith('.part'));

/** A full disk as a `DiskFullError` that names what was written, not a temporary file of it; any other error as it is. */
export function toDiskFullError(path: string, error: unknown): unknown {
  if (!isDiskFull(error) || (error instanceof DiskFullError && !isTemporary(error.path))) return error;
  return new DiskFullError(path, codeOf(error)!, error);
}

/** The nearest folder above `path` that exists. */
function folderOf(path: string): string {
  let folder = dirname(resolve(path));
  while (!existsSync(folder)) folder = dirname(folder);
  return folder;
}

/** Bytes that may be written below `folder`; null if its file system does not tell. */
function freeBytes(folder: string): number | null {
  try {
    const { bavail, bsize, blocks } = statfsSync(folderOf(join(folder, 'x')));
    return blocks > 0 ? bavail * bsize : null;
  } catch {
    return null;
  }
}

/** `4.1 GB`, `12 bytes`. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${unit === 0 ? bytes : (bytes / 1000 ** unit).toFixed(1)} ${units[unit]}`;
}

/** @throws UserError if the disk of `path` has less than `bytes` left: `need 4.1 GB, have 2.0 GB in /data`. */
export function requireDiskSpace(path: string, bytes: number): void {
  const free = freeBytes(dirname(resolve(path)));
  if (free === null || free >= bytes) return;
  throw new UserError(`${path}: need ${formatBytes(bytes)}, have ${formatBytes(free)} in ${folderOf(path)}`, {
    hint: FREE_SOMETHING,
  });
}

/** Writes all of `bytes` at `position`, or where the file stands: one call to the system may write less than it is given. */
export function writeAll(fd: number, bytes: Uint8Array, position?: number): void {
  for (let done = 0; done < bytes.length; ) {
    const at = position === undefined ? null : position + done;
    const written = writeSync(fd, bytes, done, Math.min(bytes.length - done, MOST_AT_ONCE), at);
    if (written === 0) throw Object.assign(new Error('ENOSPC: nothing was written'), { code: 'ENOSPC' });
    done += written;
  }
}

/** Calls `fsync` for a file or folder, so that it survives a power failure. */
export function fsyncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error; // some file systems cannot sync folders
  } finally {
    closeSync(fd);
  }
}

/** `fsyncPath` for all files and folders below and with `folder`. */
export function fsyncTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) fsyncTree(path);
    else if (entry.isFile()) fsyncPath(path);
  }
  fsyncPath(folder);
}

/**
 * Writes a file by chunks and syncs it. On failure the file is removed.
 * @throws DiskFullError; an Error if the file is not as long as what was written.
 */
export function writeFileDurably(path: string, chunks: Iterable<Uint8Array>): void {
  try {
    const fd = openSync(path, 'w');
    try {
      let bytes = 0;
      for (const chunk of chunks) {
        writeAll(fd, chunk);
        bytes += chunk.length;
      }
      fsyncSync(fd);
      requireFileSize(path, fd, bytes);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    rmSync(path, { force: true });
    throw toDiskFullError(path, error);
  }
}

/** @throws Error if an open file is not `bytes` long: what was written has not arrived. */
export function requireFileSize(path: string, fd: number, bytes: number): void {
  const { size } = fstatSync(fd);
  if (size !== bytes) throw new Error(`${path}: ${bytes} bytes were written, ${size} are there`);
}

/** Renames a finished file and syncs its folder. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to);
  fsyncPath(dirname(resolve(to)));
}

/** What a file is written from: one piece, or chunks. */
export type FileContent = string | Uint8Array | Iterable<Uint8Array>;

/**
 * Files that are replaced together. Each is written and synced under a temporary name; `replace` renames all of them in a row.
 * Until then, what stood there is untouched.
 */
export class StagedFiles implements Disposable {
  readonly #staged: { readonly path: string; readonly temporary: string }[] = [];

  /** @throws DiskFullError */
  write(path: string, data: FileContent): void {
    mkdirSync(dirname(path), { recursive: true });
    const temporary = temporaryPath(path);
    removeStaleTemporaries(path);
    this.#staged.push({ path, temporary });
    const whole = typeof data === 'string' ? Buffer.from(data) : data;
    try {
      writeFileDurably(temporary, whole instanceof Uint8Array ? [whole] : whole);
    } catch (error) {
      throw toDiskFullError(path, error);
    }
  }

  /** Renames the files, the last one written first: what describes the others is replaced before them. @throws DiskFullError */
  replace(): void {
    for (let file = this.#staged.at(-1); file; file = this.#staged.at(-1)) {
      try {
        renameDurably(file.temporary, file.path);
      } catch (error) {
        throw toDiskFullError(file.path, error);
      }
      this.#staged.pop();
    }
  }

  /** Removes what has not been renamed. */
  [Symbol.dispose](): void {
    for (const { temporary } of this.#staged) rmSync(temporary, { force: true });
  }
}

/** Writes a file so that readers see the old one or the whole new one, never a part. @throws DiskFullError */
export function writeAtomic(path: string, data: FileContent): void {
  using file = new StagedFiles();
  file.write(path, data);
  file.replace();
}
