import { readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { lockOutput } from '../artifacts/output-lock.ts';
import { logLine } from '../base/progress.ts';

/** Path of the feature set that one of several processes writes beside the whole one. */
export const partPath = (out: string, rank: number, processes: number): string =>
  `${out}.part-${rank + 1}-of-${processes}`;

const PART = /^\.part-\d+-of-(\d+)/;

/**
 * Removes the parts that attempts with another number of processes left beside `out`, and reports it: they cannot be resumed.
 * The caller holds the lock of `out`.
 */
export function removeOtherParts(out: string, processes: number): void {
  const [folder, name] = [dirname(resolve(out)), basename(resolve(out))];
  const counts = new Set<string>();
  for (const entry of readdirSync(folder)) {
    const shown = entry.startsWith('.') ? entry.slice(1) : entry; // unfinished parts and their locks are hidden
    const [part, count] = (shown.startsWith(name) && PART.exec(shown.slice(name.length))) || [];
    const rest = shown.slice(name.length + (part?.length ?? 0));
    if (!part || Number(count) === processes || !/^(\.[0-9a-f]{16}\.part|\.lock)?$/.test(rest)) continue;
    using _ = lockOutput(join(folder, name + part)); // and removes that of a process that was killed
    if (rest !== '.lock') rmSync(join(folder, entry), { recursive: true, force: true });
    counts.add(count!);
  }
  if (counts.size > 0)
    logLine(`${out}: removed parts that attempts by other numbers of processes (${[...counts].join(', ')}) had left`);
}
