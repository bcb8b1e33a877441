import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, linkSync, mkdirSync, openSync, readdirSync, realpathSync, renameSync, rmSync } from 'node:fs'; // biome-ignore format: short
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { codeOf, UserError } from '../base/errors.ts';
import { entryAt } from '../base/regular-file.ts';
import { sleepSync } from '../base/sleep.ts';
import { toDiskFullError, writeAll } from './durable-write.ts';
import { bootId, machineId, pidNamespace, processStatus, readTextOrNull } from './process-identity.ts';

/** The process that holds a lock. */
export type LockHolder = {
  readonly host: string;
  /** Id of the installed system, where it has one: host names repeat. */
  readonly machine: string;
  /** Start of the machine, and its process namespace: ids mean nothing elsewhere. */
  readonly boot: string;
  readonly namespace: string;
  readonly pid: number;
  /** When the process started, in ticks since the machine did: tells it from a later one with the same id. */
  readonly start: string;
  readonly since: string;
  readonly command: string;
  /** Tells two locks of one process apart. */
  readonly nonce: string;
};

/** Its fields of text. Checked by hand: every command comes here, and loading zod takes longer than most of them. */
const TEXTS = ['host', 'machine', 'boot', 'namespace', 'start', 'since', 'command', 'nonce'] as const;

/** Length at which a lock cuts the command line. */
const LONGEST_COMMAND = 300;
/** Retries of reading a lock that is being written, and the pause between them: only where a file system cannot link. */
const [LOOKS, LOOK_MS] = [5, 20];

/** This process as the holder of a lock. */
export const thisProcess = (): LockHolder => ({
  host: hostname(),
  machine: machineId(),
  boot: bootId(),
  namespace: pidNamespace(),
  pid: process.pid,
  start: processStatus(process.pid)?.start ?? '',
  since: new Date().toISOString(),
  command: ['mixbct', ...process.argv.slice(2)].join(' ').slice(0, LONGEST_COMMAND),
  nonce: randomBytes(8).toString('hex'),
});

/** Whether a holder is alive; `unknown` on other machines and in other containers. */
export function holderState(holder: LockHolder): 'alive' | 'dead' | 'unknown' {
  if (holder.host !== hostname() || holder.machine !== machineId()) return 'unknown';
  if (holder.boot !== bootId()) return 'dead'; // the machine has started anew since
  if (holder.namespace !== pidNamespace()) return 'unknown';
  const found = processStatus(holder.pid);
  if (!found) return 'dead';
  return found.start === holder.start && !'ZX'.includes(found.state) ? 'alive' : 'dead';
}

/** The lock of an output stands beside it; beside what a link points to, so that both are one output. */
function lockPath(output: string): string {
  const path = existsSync(output) ? realpathSync(output) : resolve(output);
  return join(dirname(path), `.${basename(path)}.lock`);
}

/** Locks that this process holds. */
const held = new Map<string, string>();
process.on('exit', () => {
  for (const [path, text] of held) release(path, text);
});

/** The right to write one output. */
export type OutputLock = Disposable;

/**
 * Takes the lock of an output: one process at a time writes it. The lock of a process that has ended is taken over.
 * @throws UserError naming the process that holds it.
 */
export function lockOutput(output: string): OutputLock {
  const path = lockPath(output);
  mkdirSync(dirname(path), { recursive: true });
  const text = `${JSON.stringify(thisProcess())}\n`;
  try {
    acquire(path, text, output);
  } catch (error) {
    throw toDiskFullError(output, error);
  }
  held.set(path, text);
  removeDeadLocks(path);
  return { [Symbol.dispose]: () => release(path, text) };
}

/** The locks of several outputs, or none of them. */
export function lockOutputs(outputs: readonly string[]): OutputLock {
  const locks: OutputLock[] = [];
  const dispose = (): void => {
    for (const lock of locks.splice(0)) lock[Symbol.dispose]();
  };
  try {
    for (const output of outputs) locks.push(lockOutput(output));
  } catch (error) {
    dispose();
    throw error;
  }
  return { [Symbol.dispose]: dispose };
}

/** The process that holds the lock of an output, if it is alive as far as that shows from here; reads only. */
export function outputWriter(output: string): LockHolder | null {
  const holder = holderOf(readTextOrNull(lockPath(output)) ?? '');
  return holder && holderState(holder) !== 'dead' ? holder : null;
}

function release(path: string, text: string): void {
  held.delete(path);
  if (readTextOrNull(path) === text) rmSync(path, { force: true });
}

/**
 * Taking over a dead holder's lock needs a second lock, `.takeover`. Its holder reads the first lock again before it replaces it,
 * so that none replaces a lock that another process has just taken.
 */
function acquire(path: string, text: string, output: string): void {
  for (let looks = 0; ; ) {
    if (create(path, text)) return;
    const found = readTextOrNull(path);
    if (found === null && !entryAt(path)) continue; // released between both calls
    const holder = holderOf(found ?? '');
    if (!holder && ++looks < LOOKS) {
      sleepSync(LOOK_MS);
      continue;
    }
    if (found === null) throw unreadable(path, output);
    if (holder && holderState(holder) !== 'dead') throw refusal(path, holder, output);
    const takeover = `${path}.takeover`;
    acquire(takeover, text, output);
    try {
      if (readTextOrNull(path) !== found) continue;
      const own = temporary(path);
      writeText(own, text);
      renameSync(own, path);
      return;
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error; // removed as unreadable before it was whole: `removeDeadLocks`
    } finally {
      release(takeover, text);
    }
  }
}

/**
 * Removes `.takeover` locks and temporary files that killed processes left while they took the lock at `path`. The caller holds
 * it. A living process whose file is removed before it is whole reads the lock again, and is refused.
 */
function removeDeadLocks(path: string): void {
  const name = basename(path);
  for (const entry of readdirSync(dirname(path))) {
    if (!entry.startsWith(`${name}.`) || !/^(\.takeover)*(\.[0-9a-f]{16})?$/.test(entry.slice(name.length))) continue;
    const found = join(dirname(path), entry);
    const holder = holderOf(readTextOrNull(found) ?? '');
    if (!holder || holderState(holder) === 'dead') rmSync(found, { force: true });
  }
}

const temporary = (path: string): string => `${path}.${randomBytes(8).toString('hex')}`;

/** Creates a lock with its content in one step: a hard link, which fails if the lock exists. → whether it was free */
function create(path: string, text: string): boolean {
  if (existsSync(path)) return false;
  const own = temporary(path);
  try {
    writeText(own, text);
    linkSync(own, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    const linked = (error as NodeJS.ErrnoException).syscall === 'link'; // in /proc, no file can be made, either
    if (linked && codeOf(error) === 'ENOENT' && entryAt(dirname(path))) return false; // removed as unreadable: `removeDeadLocks`
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(codeOf(error) ?? '')) throw error;
    return createWithoutLink(path, text);
  } finally {
    rmSync(own, { force: true });
  }
}

/** For file systems without hard links. */
function createWithoutLink(path: string, text: string): boolean {
  try {
    writeText(path, text);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Writes a file that must not exist. */
function writeText(path: string, text: string): void {
  const fd = openSync(path, 'wx');
  try {
    writeAll(fd, Buffer.from(text));
  } finally {
    closeSync(fd);
  }
}

function holderOf(text: string): LockHolder | null {
  try {
    const holder = JSON.parse(text) as LockHolder | null;
    const whole = Number.isInteger(holder?.pid) && TEXTS.every((field) => typeof holder?.[field] === 'string');
    return whole ? holder : null;
  } catch {
    return null;
  }
}

/** For a lock that cannot be read: a folder, a dangling link, or a file that only another user may read. */
function unreadable(path: string, output: string): UserError {
  return new UserError(`${output}: its lock ${path} cannot be read, so whether a process writes it is not known`, {
    hint: `if none does, remove ${path}`,
  });
}

function refusal(path: string, holder: LockHolder, output: string): UserError {
  const { pid, host, since, command } = holder;
  const elsewhere = holderState(holder) === 'unknown';
  const where = host === hostname() ? `the container of ${host} that it was started in` : host;
  const hint = elsewhere
    ? `check on ${where} whether it still runs, which cannot be seen from here: ps -fp ${pid}; if it has ended, remove the file ${path} and repeat`
    : 'wait until it has ended, or choose another output';
  return new UserError(
    `${output}: process ${pid}${elsewhere ? ` on ${host}` : ''} is writing it since ${since} (${command})`,
    { hint },
  );
}
