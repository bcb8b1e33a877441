import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { snapshot } from './bad-input.ts';

const main = resolve(import.meta.dirname, '../../src/cli/main.js');
const worker = resolve(import.meta.dirname, 'cli-worker.js');

export type Outcome = { readonly code: number | null; readonly out: string; readonly err: string };

/** A command that has not ended by then never will. */
export const LONGEST_MS = 300_000;

const environment = (): NodeJS.ProcessEnv => ({ ...process.env, NO_COLOR: '1' });

/**
 * Runs the command line in a folder, as `mixbctProcess` does, but all of a test file in one process that stays: libtorch is
 * loaded once. Settings of that process, such as the threads that it computes with, last from one command to the next.
 */
export function mixbct(cwd: string, ...args: readonly string[]): Outcome {
  session ??= startSession();
  writeFileSync(session.requests, `${JSON.stringify({ cwd, words: args, env: environment() })}\n`);
  const answer = readLine(session.answers);
  if (answer === '')
    throw new Error(`mixbct ${args.join(' ')}: its process has ended: ${readFileSync(session.said, 'utf8')}`);
  return JSON.parse(answer);
}

/** Runs the command line in a process of its own: for what its start, its end or its threads do. */
export function mixbctProcess(cwd: string, ...args: readonly string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd,
    encoding: 'utf8',
    env: environment(),
    timeout: LONGEST_MS,
    killSignal: 'SIGKILL',
  });
  return { code: status, out: stdout, err: stderr };
}

/** `mixbct` for many command lines: what each said, and which files it made, changed or removed. */
export const mixbctEach = (
  cwd: string,
  lines: readonly (readonly string[])[],
): readonly (Outcome & { readonly changed: readonly string[] })[] =>
  lines.map((words) => {
    const before = snapshot(cwd);
    const outcome = mixbct(cwd, ...words);
    const after = snapshot(cwd);
    const paths = [...new Set([...before.keys(), ...after.keys()])];
    return { ...outcome, changed: paths.filter((path) => before.get(path) !== after.get(path)) };
  });

/** The process that runs command lines: where it is asked, where it answers, and what it says when it fails. */
type Session = { readonly requests: number; readonly answers: number; readonly said: string };
let session: Session | undefined;

/** Named pipes can be waited for without the event loop, which the caller does not return to. */
function startSession(): Session {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-cli-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string): string => join(folder, name);
  const { status, stderr } = spawnSync('mkfifo', [at('requests'), at('answers')], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mkfifo: ${stderr}`);
  // the shell opens both before Node starts, so that a Node that fails ends them
  spawn('sh', ['-c', 'exec "$0" "$1" 3<requests 4>answers', process.execPath, worker], {
    cwd: folder,
    env: environment(),
    stdio: ['ignore', 'ignore', openSync(at('said'), 'w')],
  }).unref();
  return { requests: openSync(at('requests'), 'w'), answers: openSync(at('answers'), 'r'), said: at('said') };
}

/** Waits for a line from a pipe. → '' at its end */
export function readLine(pipe: number): string {
  const blocks: Buffer[] = [];
  for (;;) {
    const block = Buffer.alloc(1 << 16);
    const length = readSync(pipe, block);
    if (length === 0) return '';
    blocks.push(block.subarray(0, length));
    if (block[length - 1] === NEWLINE) return Buffer.concat(blocks).toString('utf8');
  }
}
const NEWLINE = 0x0a;
