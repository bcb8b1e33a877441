import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';

export type Holder = ChildProcessByStdio<Writable, Readable, null>;

/** A process that holds the locks of outputs, or has been refused. → with what it said */
export async function holderOf(t: TestContext, ...outputs: readonly string[]): Promise<[Holder, string]> {
  const script = resolve(import.meta.dirname, 'lock-holder.js');
  const child = spawn(process.execPath, [script, ...outputs], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [said] = await once(child.stdout, 'data');
  return [child, String(said).trim()];
}

/** Ends a process as a power failure would. */
export async function killed(child: Holder): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
