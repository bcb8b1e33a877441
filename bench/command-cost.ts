import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export type CommandCost = { readonly seconds: number; readonly cpuSeconds: number; readonly peakMb: number };

/** What a command of mixbct costs in a process of its own, on all cores. @throws Error with what it printed if it fails */
export function commandCost(folder: string, words: readonly string[]): CommandCost {
  const cost = join(folder, 'cost.json');
  const start = performance.now();
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      ...['--import', pathToFileURL(resolve(import.meta.dirname, 'ours/cost.js')).href],
      resolve(import.meta.dirname, '../src/cli/main.js'),
      ...words,
    ],
    { encoding: 'utf8', env: { ...process.env, MIXBCT_COST: cost, OMP_NUM_THREADS: `${availableParallelism()}` } },
  );
  if (status !== 0) throw new Error(stderr);
  const seconds = (performance.now() - start) / 1000;
  return { seconds, ...(JSON.parse(readFileSync(cost, 'utf8')) as Omit<CommandCost, 'seconds'>) };
}
