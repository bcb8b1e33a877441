import { STOP_SIGNALS } from '../base/stop-signals.ts';
import type { DistributedContext } from '../torch/index.ts';
import { SharedCommand } from './options.ts';

/** What a command prints for people goes through here, so that `--json` can put an object in its place. */
export type Output = { readonly json: boolean };

/** Prints a result: the object with `--json`, else the text. Standard output holds results only; news go to standard error. */
export function print({ json }: Output, result: unknown, text: string): void {
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : `${text}\n`);
}

/** A subcommand that does something. `example` stands at the end of its help. */
export const command = (name: string, summary: string, example: string): SharedCommand =>
  group(name, summary, example).option('--json', 'print the result as JSON', false);

/** A subcommand that only has subcommands. */
export function group(name: string, summary: string, example: string): SharedCommand {
  return new SharedCommand(name)
    .summary(summary)
    .description(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`)
    .addHelpText('after', `\nExample:\n  ${example.split('\n').join('\n  ')}`)
    .showHelpAfterError('(add --help for the options)');
}

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
