import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { codeOf, FileError } from './errors.ts';

/** Opens without waiting for the other end of a pipe. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** What stands at a path, if anything: a link itself, not what it leads to. */
export const entryAt = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });

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

/** The bytes of a regular file. @throws FileError as `openRegularFile` */
export function readRegularFile(path: string): Buffer {
  const fd = openRegularFile(path);
  try {
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
