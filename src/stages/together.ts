import { z } from 'zod';
import { logLine } from '../base/progress.ts';

/** How a stage says that several processes work on it. */
export const processesOption = z
  .int()
  .min(1)
  .max(1024)
  .optional()
  .describe('processes on this machine that work together, as `mixbct launch --nproc` starts them');

/** A command line: words that stand as they are, options by their name. Without a value an option is left out, with `true` it is a flag. */
export const wordsOf = (
  command: readonly string[],
  options: Readonly<Record<string, string | number | boolean | undefined>>,
): string[] => [
  ...command,
  ...Object.entries(options).flatMap(([name, value]) =>
    value === undefined || value === false ? [] : value === true ? [`--${name}`] : [`--${name}`, String(value)],
  ),
];

/**
 * The option of each of several processes for its share of the threads that were asked for, as `TrialRuns` shares them. If none were, there
 * is none, and the launcher shares the cores.
 */
export async function threadsOfEach(processes: number): Promise<{ readonly threads?: number }> {
  const { areThreadsChosen, threads } = await import('../torch/index.ts');
  return areThreadsChosen() ? { threads: Math.max(1, Math.floor(threads() / processes)) } : {};
}

/**
 * Runs a command line of mixbct as several processes, whose news are the stage's.
 * @throws ProcessFailed if one has failed; Interrupted if the signal has fired
 */
export async function runTogether(processes: number, words: readonly string[], signal?: AbortSignal): Promise<void> {
  const { launchProcesses } = await import('../launch/launch-processes.ts');
  await launchProcesses(words, { nproc: processes, nnodes: 1, nodeRank: 0, say: logLine, ...(signal && { signal }) });
}
