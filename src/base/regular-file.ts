import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
} from 'node:fs';
import { codeOf, FileError } from './errors.ts';

/** Opens without waiting for the other end of a pipe. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** What stands at a path, if anything: a link itself, not what it leads to. */
export const entryAt = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });

/** Whether a folder stands at a path, or behind a link there. A path that is too long or leads in a circle has none. */
export const isFolder = (path: string): boolean => existsSync(`${path}/`);

/**
 * Opens a regular file for reading; the caller closes it. Named pipes, sockets and devices would wait, or never end.
 * @throws FileError if it cannot be opened, or is no regular file
 */
export function openRegularFile(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, FLAGS);
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    if (code === 'ENOENT') throw new FileError(path, 'no such file');
    throw new FileError(path, `cannot be opened (${code})`, 'make it readable, or move it away');
  }
  try {
    const stats = fstatSync(fd);
    if (stats.isFile()) return fd;
    const what = stats.isDirectory() ? 'a folder' : 'a named pipe, socket or device';
    throw new FileError(path, `is ${what}, wanted a file`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Opens a regular file for `use`, and closes it. @throws FileError as `openRegularFile` */
export function withRegularFile<T>(path: string, use: (fd: number) => T): T {
  const fd = openRegularFile(path);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Bytes that `readFileSync` reads at most. */
const MOST_OF_NODE = 2 ** 31 - 1;

/** The bytes of a regular file of any size. @throws FileError as `openRegularFile` */
export const readRegularFile = (path: string): Buffer =>
  withRegularFile(path, (fd) => {
    const { size } = fstatSync(fd);
    return size > MOST_OF_NODE ? readFully(fd, path, Buffer.allocUnsafe(size)) : readFileSync(fd);
  });

/** A regular file that is open for reading until it is closed. */
export class OpenFile implements Disposable {
  readonly path: string;
  protected readonly fd: number;

  /** @throws FileError as `openRegularFile` */
  constructor(path: string) {
    this.path = path;
    this.fd = openRegularFile(path);
  }

  close(): void {
    closeSync(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Bytes read at a time: the system hands out less than 2 GiB. */
const MOST_AT_ONCE = 1 << 30;

/** Fills `target` with the bytes of an open file from `position` on. @throws FileError if it ends before */
export function readFully<T extends Uint8Array>(fd: number, path: string, target: T, position = 0): T {
  for (let done = 0; done < target.length; ) {
    const read = readSync(fd, target, done, Math.min(target.length - done, MOST_AT_ONCE), position + done);
    if (read === 0) throw new FileError(path, `ends at byte ${position + done}, sooner than expected`);
    done += read;
  }
  return target;
}
