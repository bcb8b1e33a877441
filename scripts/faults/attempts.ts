// One attempt of a command at its output, whole or cut short, and what it left, against what an undisturbed one left.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { packageRoot } from '../../src/base/version.ts';
import { type Writer, writers } from '../../test/helpers/writers.ts';

const main = join(packageRoot, 'dist/src/cli/main.js');

/** An undisturbed attempt has been made at this output. */
export const WHOLE = 'out-whole';

export type Attempt = { readonly code: number | null; readonly err: string };

/** A command on its way; `kill` ends it with all of its processes at once. */
export type Running = { readonly child: ChildProcess; readonly ended: Promise<Attempt>; kill(): void };

export function start(folder: string, words: readonly string[]): Running {
  // a process group of its own, which ends as a whole
  const child = spawn(process.execPath, [main, ...words], {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, OMP_NUM_THREADS: '1' },
  });
  let err = '';
  child.stderr.on('data', (text) => {
    err += text;
  });
  const ended = new Promise<Attempt>((done) => child.once('close', (code) => done({ code, err })));
  const kill = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // it has ended
    }
  };
  return { child, ended, kill };
}

export const attempt = (folder: string, words: readonly string[]): Promise<Attempt> => start(folder, words).ended;

/** The command that goes on behind what an earlier attempt left. */
export function again(name: string, folder: string, out: string): readonly string[] {
  const { make, again: [begun, fresh] = [] } = writers[name]!;
  const isBegun = ['', '.previous'].some((old) => existsSync(join(folder, `${out}/checkpoint${old}.safetensors`)));
  const more = isBegun ? begun : fresh;
  return more === undefined ? make(out) : [...make(out), more];
}

/** Whether the output is there. */
export const isFinished = (folder: string, out: string, { last }: Writer): boolean =>
  last !== undefined && existsSync(join(folder, out + last));

/** What differs between two runs that make the same: when, where and how long. */
const TOLD = /"(seconds|dataWaitShare|name|path)": .*|.*\.jsonl?:.*/g;

/** Files whose path begins with that of an output, by what follows, and what they hold. */
function filesAt(folder: string, out: string): Map<string, string> {
  const found = new Map<string, string>();
  const prefix = join(folder, out);
  const walk = (path: string): void => {
    if (statSync(path).isDirectory()) for (const name of readdirSync(path)) walk(join(path, name));
    else if (!/(log|events)\.jsonl$/.test(path)) {
      const text = readFileSync(path, 'latin1');
      const anywhere = (): string => text.replaceAll(out, 'OUT').replaceAll(basename(out), 'OUT').replace(TOLD, '');
      const same = /\.(json|html|md)$/.test(path) ? anywhere() : text;
      found.set(path.slice(prefix.length), same);
    }
  };
  for (const name of readdirSync(dirname(prefix)))
    if (name.startsWith(basename(prefix))) walk(join(dirname(prefix), name));
  return found;
}

/** How what stands at `out` differs from an undisturbed attempt; hidden files beside it count, but the lock of a dead process. */
export function differences(folder: string, out: string): string[] {
  const [found, wanted] = [filesAt(folder, out), filesAt(folder, WHOLE)];
  const names = new Set([...found.keys(), ...wanted.keys()]);
  const differing = [...names].filter((file) => found.get(file) !== wanted.get(file));
  const left = leftBeside(folder, out).filter((file) => !file.endsWith('.lock'));
  return [...differing.map((file) => `${out}${file} differs`), ...left.map((file) => `${file} is left`)];
}

/** Hidden files beside an output. */
export const leftBeside = (folder: string, out: string): string[] =>
  readdirSync(dirname(join(folder, out))).filter((file) => file.startsWith('.'));

export function removeOutput(folder: string, out: string): void {
  const [parent, name] = [dirname(join(folder, out)), basename(out)];
  for (const file of readdirSync(parent))
    if (file.replace(/^\./, '').startsWith(name)) rmSync(join(parent, file), { recursive: true });
}

/** What is wrong with how an attempt ended, if it may end with these codes. */
export const wrongEnd = ({ code, err }: Attempt, codes: readonly number[]): string[] => [
  ...(code !== null && codes.includes(code) ? [] : [`exit code ${code}: ${err.slice(-400)}`]),
  ...(/^ {4}at |internal error/m.test(err) ? [`a stack: ${err.slice(-600)}`] : []),
];
