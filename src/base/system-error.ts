import { codeOf, type Hint, UserError } from './errors.ts';

/** What the system's codes mean to whom it happens, and what to do. */
const MEANINGS: Readonly<Record<string, readonly [what: string, hint?: string]>> = {
  EACCES: ['permission denied', 'change the permissions of it or of the folders above it, or choose another place'],
  EPERM: ['not permitted', 'change the permissions of it or of the folders above it, or choose another place'],
  EROFS: ['its file system is read-only', 'choose another place'],
  ENOENT: ['no such file or folder'],
  ENOTDIR: ['a part of this path is a file, wanted a folder', 'check the path'],
  EISDIR: ['is a folder, wanted a file', 'check the path'],
  ENOTEMPTY: ['the folder is not empty', 'another process may write there: try again, or choose another place'],
  EEXIST: ['exists already'],
  ENAMETOOLONG: ['the name is longer than the file system takes', 'choose a shorter one'],
  ELOOP: ['its links lead in a circle', 'remove one of them'],
  EMFILE: ['too many files are open in this process', 'raise the limit: ulimit -n 65536'],
  ENFILE: ['too many files are open on this machine', 'end other programs'],
  EBUSY: ['is in use'],
  ETXTBSY: ['is a program that runs'],
  EXDEV: ['lies on another file system'],
  ENXIO: ['is a device or pipe that nothing answers on'],
  ENODEV: ['its file system cannot do this', 'choose another place'],
  ENOTSUP: ['its file system cannot do this', 'choose another place'],
  EINVAL: ['its file system cannot do this', 'choose another place'],
  EIO: ['the disk failed to read or write it', 'check the disk (dmesg), copy what can be read'],
  ESTALE: ['its network file system has lost it', 'mount it again'],
  ETIMEDOUT: ['timed out'],
  EAGAIN: [
    'the system has no room for another thread or process',
    'ask for fewer workers, or raise the limit: ulimit -u',
  ],
  ENOMEM: ['the machine has no memory left for it', 'end other programs, or ask for less'],
  ERR_FS_FILE_TOO_LARGE: ['is larger than 2 GiB, which is read at once'],
  ERR_STRING_TOO_LONG: ['is longer than a text may be'],
  ERR_WORKER_OUT_OF_MEMORY: ['a worker ran out of memory', 'ask for fewer workers, or smaller batches'],
  ERR_WORKER_INIT_FAILED: ['a worker could not be started', 'ask for fewer workers'],
};

/** What libtorch and V8 say when memory ends. */
const NO_MEMORY =
  /not enough memory|bad_alloc|out of memory|allocation failed|Invalid (typed )?array (buffer )?length/i;
const LESS = 'choose a smaller batch, network or set, or a machine with more memory';

/** A failed system call as a `UserError` that names the path and what to do; anything else as it is. */
export function asSystemError(error: unknown): unknown {
  if (error instanceof UserError || !(error instanceof Error)) return error;
  const { path, dest, syscall } = error as NodeJS.ErrnoException & { readonly dest?: string };
  const code = codeOf(error) ?? '';
  const meaning = Object.hasOwn(MEANINGS, code) ? MEANINGS[code] : undefined;
  if (meaning) {
    const [what, hint] = meaning;
    const where = path === undefined ? (syscall ?? 'a system call') : dest === undefined ? path : `${path} → ${dest}`;
    return told(`${shortened(where)}: ${what} (${code})`, hint, error);
  }
  if (NO_MEMORY.test(error.message)) return told(`out of memory: ${error.message.split('\n')[0]}`, LESS, error);
  return error;
}

const told = (problem: string, hint: Hint | undefined, cause: unknown): UserError =>
  new UserError(problem, { hint, cause });

/** Paths may have thousands of characters. */
const LONGEST = 300;
const shortened = (path: string): string =>
  path.length > LONGEST ? `${path.slice(0, LONGEST / 2)}…${path.slice(-LONGEST / 3)}` : path;
