import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import type { Together } from '../features/index.ts';
import { dieWithParent, hasNccl, type Joined, join, placeOf, setThreads, useDevice } from '../torch/index.ts';

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

export const force = (): Option => new Option('--force', 'replace what stands at the output').default(false);
export const preset = (): Option =>
  new Option('--preset <name>', 'what the recipe leaves open: repaired, or as the reference code has it').choices([
    'default',
    'reference',
  ]);
export const workers = (): Option =>
  new Option('--workers <n>', 'threads that decode images').argParser(wholeNumber).default(1);
export const skipBad = (): Option =>
  new Option('--skip-bad-images', 'count and list images that cannot be read, instead of stopping').default(false);
export const seed = (): Option =>
  new Option('--seed <n>', 'seed of every random draw').argParser(wholeNumber).default(0);

/** `--threads`: of libtorch. Two processes that each use all cores are slower than one. */
export const threads = (): Option =>
  new Option('--threads <n>', 'threads that compute')
    .argParser(wholeNumber)
    .default(Number(process.env['OMP_NUM_THREADS']) || availableParallelism(), 'OMP_NUM_THREADS, or all cores');
export const useThreads = (count: number): void => setThreads(Math.max(1, count));

export function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('wanted a whole number.');
  return Number(text);
}

export function decimal(text: string): number {
  const number = Number(text);
  if (text.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('wanted a number.');
  return number;
}

/** For options that may be given several times. */
export const several = (text: string, before: readonly string[]): readonly string[] => [...before, text];

/** A signal that the first Ctrl-C, or a cluster's SIGTERM, sets off; the second ends the process at once. */
export function interruptible(): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(1);
    process.stderr.write('\nstopping after this step … (once more to quit at once)\n');
    controller.abort();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return controller.signal;
}

/** Processes as extraction sees them. */
export const togetherOf = (joined: Joined): Together => ({
  rank: joined.place.rank,
  processes: joined.place.processes,
  fromFirst: (body) => joined.fromFirst(body),
  meet: () => joined.group.barrier().wait(),
});

/** Variable by which `mixbct launch` tells a process the id of the one that started it. */
export const LAUNCHER = 'MIXBCT_LAUNCHER';

/** `--device`: where tensors live; each process of a machine has a CUDA device of its own. */
export const device = (): Option =>
  new Option('--device <kind>', 'what computes; of several processes each uses the CUDA device of its local rank')
    .choices(['cpu', 'cuda'])
    .default('cpu');

/** A number of seconds in a variable of the environment, in milliseconds. */
function secondsFrom(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined) return undefined;
  if (!(Number(text) > 0)) throw new UserError(`${name}=${text}: wanted a number of seconds above 0`);
  return Number(text) * 1000;
}

/**
 * Takes the device, and meets the other processes, if the environment speaks of any (docs/cluster.md); null if this one is
 * alone. A process that `mixbct launch` started ends with it.
 */
export function joinOthers(kind: 'cpu' | 'cuda'): Joined | null {
  const launcher = process.env[LAUNCHER];
  if (launcher !== undefined) {
    dieWithParent();
    if (process.ppid !== Number(launcher)) process.exit(1); // it has gone already
  }
  const place = placeOf(process.env);
  useDevice(kind === 'cuda' ? `cuda:${place?.localRank ?? 0}` : 'cpu');
  if (!place) return null;
  const [joinTimeoutMs, timeoutMs] = [secondsFrom('MIXBCT_JOIN_SECONDS'), secondsFrom('MIXBCT_TIMEOUT_SECONDS')];
  const cuda = kind === 'cuda' && hasNccl();
  if (kind === 'cuda' && !cuda)
    throw new UserError('several processes on CUDA devices need an addon with NCCL', {
      hint: 'docs/cluster.md tells what it is built with',
    });
  return join(place, { cuda, ...(joinTimeoutMs && { joinTimeoutMs }), ...(timeoutMs && { timeoutMs }) });
}
