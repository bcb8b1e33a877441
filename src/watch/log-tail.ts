import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

/** Links are not followed: what they lead to may lie outside of the run. A pipe is not waited for. */
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
/** Bytes read of a file in one call of `read`. */
const MOST_AT_ONCE = 1 << 24;

/** What a call of `read` found. */
export type TailChange = {
  /** The file is another one than before, or none any more: what was read of it no longer counts. */
  readonly replaced: boolean;
  /** Whole lines that are new. */
  readonly lines: readonly string[];
};

/** Reads the lines that are appended to a file. A run that resumes replaces its log: then it is read from its beginning. */
export class LogTail {
  readonly #path: string;
  /** Inode and time of birth of the file that was read; empty before the first. */
  #file = '';
  #position = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  read(): TailChange {
    let fd: number;
    try {
      fd = openSync(this.#path, FLAGS);
    } catch {
      return { replaced: this.#forget(''), lines: [] }; // not there yet, or no longer, or a link
    }
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile()) return { replaced: this.#forget(''), lines: [] };
      const file = `${stats.dev}:${stats.ino}:${stats.birthtimeMs}`;
      const replaced = (file !== this.#file || stats.size < this.#position) && this.#forget(file);
      return { replaced, lines: this.#readNew(fd, stats.size) };
    } finally {
      closeSync(fd);
    }
  }

  #readNew(fd: number, size: number): string[] {
    const wanted = Math.min(size - this.#position, MOST_AT_ONCE);
    if (wanted <= 0) return [];
    const bytes = Buffer.alloc(wanted);
    const read = readSync(fd, bytes, 0, wanted, this.#position);
    this.#position += read;
    const all = Buffer.concat([this.#rest, bytes.subarray(0, read)]);
    const end = all.lastIndexOf(0x0a) + 1; // the last line may not be whole yet
    this.#rest = all.subarray(end);
    return end === 0 ? [] : all.toString('utf8', 0, end - 1).split('\n');
  }

  /** Begins anew with another file. → whether anything had been read of the one before */
  #forget(file: string): boolean {
    const had = this.#file !== '' && this.#position > 0;
    this.#file = file;
    this.#position = 0;
    this.#rest = Buffer.alloc(0);
    return had;
  }
}
