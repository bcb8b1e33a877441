import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const main = resolve(import.meta.dirname, '../../src/cli/main.js');

export type Outcome = { readonly code: number | null; readonly out: string; readonly err: string };

/** A command that has not ended by then never will. */
const LONGEST_MS = 300_000;

/** Runs the command line in a folder. */
export function mixbct(cwd: string, ...args: readonly string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
    timeout: LONGEST_MS,
    killSignal: 'SIGKILL',
  });
  return { code: status, out: stdout, err: stderr };
}

/** `mixbct` for many command lines, in one process: what each said, and which files it made, changed or removed. */
export function mixbctEach(
  cwd: string,
  lines: readonly (readonly string[])[],
): readonly (Outcome & { readonly changed: readonly string[] })[] {
  const { stdout, stderr } = spawnSync(process.execPath, [resolve(import.meta.dirname, 'cli-worker.js')], {
    cwd,
    encoding: 'utf8',
    input: JSON.stringify(lines),
    env: { ...process.env, NO_COLOR: '1' },
    maxBuffer: 1 << 26,
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}
