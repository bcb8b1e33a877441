import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { STOP_SIGNALS } from '../base/stop-signals.ts';
import { MAX_ZERO_SHARE } from '../eval/zero-share.ts';
import type { DistributedContext } from '../torch/index.ts';
import { mostThreads, numberOption, wholeOption } from './numbers.ts';

/** What a command prints for people goes through here, so that `--json` can put an object in its place. */
export type Output = { readonly json: boolean };

/** Prints a result: the object with `--json`, else the text. Standard output holds results only; news go to standard error. */
export function print({ json }: Output, result: unknown, text: string): void {
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : `${text}\n`);
}

/** A subcommand that does something. `example` stands at the end of its help. */
export const command = (name: string, summary: string, example: string): Command =>
  group(name, summary, example).option('--json', 'print the result as JSON', false);

/** A subcommand that only has subcommands. */
export function group(name: string, summary: string, example: string): Command {
  return new Command(name)
    .summary(summary)
    .description(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`)
    .addHelpText('after', `\nExample:\n  ${example.split('\n').join('\n  ')}`)
    .showHelpAfterError('(add --help for the options)');
}

export const forceOption = (): Option => new Option('--force', 'replace what stands at the output').default(false);
export const presetOption = (): Option =>
  new Option('--preset <name>', 'what the recipe leaves open: repaired, or as the reference code has it').choices([
    'default',
    'reference',
  ]);
export const workersOption = (): Option =>
  wholeOption('--workers <n>', 'threads that decode images', { least: 0, most: mostThreads() }, 1);
export const skipBadOption = (): Option =>
  new Option('--skip-bad-images', 'count and list images that cannot be read, instead of stopping').default(false);
export const seedOption = (fallback = 0): Option =>
  wholeOption('--seed <n>', 'seed of every random draw', { least: 0 }, fallback);
export const batchSizeOption = (fallback: number): Option =>
  wholeOption('--batch-size <n>', 'images at a time', { least: 1, most: 8192 }, fallback);
export const resamplesOption = (): Option =>
  wholeOption('--resamples <n>', 'bootstrap resamples', { least: 1, most: 100_000 }, 500);
export const maxZeroShareOption = (): Option =>
  numberOption(
    '--max-zero-share <share>',
    "share of a model's embeddings that may be zeros; more are an error",
    { least: 0, most: 1 },
    MAX_ZERO_SHARE,
  );

/** `--threads`: of libtorch. Two processes that each use all cores are slower than one. */
export const threadsOption = (): Option =>
  wholeOption('--threads <n>', 'threads that compute', { least: 1, most: mostThreads() }).default(
    threadsByDefault(),
    'OMP_NUM_THREADS, or all cores',
  );

function threadsByDefault(): number {
  const wish = Number(process.env['OMP_NUM_THREADS']);
  return Number.isInteger(wish) && wish >= 1 && wish <= mostThreads() ? wish : availableParallelism();
}

/** `--resume` of commands that go on by themselves: the same words start and continue them, as they do a training. */
export const resumeOption = (): Option =>
  new Option(
    '--resume',
    'go on from what an interrupted attempt has kept, or start if there is nothing; the same without this option',
  ).default(false);

/** For options that may be given several times. */
export const several = (text: string, before: readonly string[]): readonly string[] => [...before, text];

/** A signal that the first Ctrl-C, a cluster's SIGTERM or the end of a session (SIGHUP) sets off; the second ends the process. */
export function interruptible(): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(1);
    process.stderr.write('\nstopping after this step … (once more to quit at once)\n');
    controller.abort();
  };
  for (const name of STOP_SIGNALS) process.on(name, stop);
  return controller.signal;
}

/** `--device`: where tensors live; each process of a machine has a CUDA device of its own. */
export const deviceOption = (): Option =>
  new Option('--device <kind>', 'what computes; of several processes each uses the CUDA device of its local rank')
    .choices(['cpu', 'cuda'])
    .default('cpu');

/** What a command says of the missing rows of a feature set, if it has any. */
export const missingOf = ({ missing }: { readonly missing: readonly unknown[] }): string =>
  missing.length > 0 ? `, ${missing.length} of them missing` : '';

/** Sets the threads that libtorch computes with. */
export async function useThreads(count: number): Promise<void> {
  const { setThreads } = await import('../torch/index.ts');
  setThreads(count);
}

/**
 * Computes on a device, with the other processes that `mixbct launch` or the environment tell of. → what it made; nothing in
 * the processes that have nothing to print
 */
export async function asLaunched<T>(
  { threads, device }: { readonly threads: number; readonly device: 'cpu' | 'cuda' },
  work: (joined: DistributedContext | null) => Promise<T>,
): Promise<T | undefined> {
  const { joinLaunchedGroup } = await import('../launch/join-launched-group.ts');
  await useThreads(threads);
  const joined = joinLaunchedGroup(device);
  const made = await work(joined);
  joined?.leave();
  return joined && joined.group.rank > 0 ? undefined : made;
}
