import { UserError } from '../base/errors.ts';
import { STOP_SIGNALS } from '../base/stop-signals.ts';
import { SharedCommand } from './options.ts';

/** What a command has made: the object that `--json` prints, the text for people, and what is wrong with it, if anything. */
type Result = readonly [made: unknown, text: string, problem?: string | false];
/** Gets the arguments of the command, then its options. → nothing if nothing is to be printed */
type Work = (...args: Parameters<Parameters<SharedCommand['action']>[0]>) => Promise<Result | undefined>;

type Output = { readonly json: boolean };

/** Prints a result: the object with `--json`, else the text. Standard output holds results only; news go to standard error. */
export function print({ json }: Output, made: unknown, text: string): void {
  process.stdout.write(`${json ? JSON.stringify(made, null, 2) : text}\n`);
}

/** Chain: `example`, arguments and options, then the work by `prints`, `computes` or `computesTogether`. */
export class ResultCommand extends SharedCommand {
  /** Command lines to copy, at the end of the help. */
  example(...lines: readonly string[]): this {
    return this.addHelpText('after', `\nExample:\n  ${lines.join('\n  ')}`);
  }

  /** Does `work` and prints the result. */
  prints(work: Work): this {
    return this.action(async (...args) => {
      const result = await work(...args);
      if (!result) return;
      const [made, text, problem] = result;
      print(this.opts<Output>(), made, text);
      if (problem) throw new UserError(problem);
    });
  }

  /** `prints` for work of libtorch, by `--threads` and on `--device`. */
  computes(work: Work): this {
    return this.prints(async (...args) => {
      const { setDefaultDevice } = await import('../torch/index.ts');
      const { threads, device } = this.opts();
      await useThreads(threads);
      if (device) setDefaultDevice(device);
      return await work(...args);
    });
  }

  /**
   * `computes` with the other processes that `mixbct launch` or the environment tell of: `work` gets them as `distributed`
   * among its options. Only the first process prints.
   */
  computesTogether(work: Work): this {
    return this.prints(async (...args) => {
      const { joinLaunchedGroup } = await import('../launch/join-launched-group.ts');
      const options = this.opts();
      await useThreads(options['threads']);
      const distributed = joinLaunchedGroup(options['device']);
      const result = await work(...args.slice(0, -2), { ...options, distributed });
      distributed?.leave();
      return distributed && distributed.group.rank > 0 ? undefined : result;
    });
  }
}

/** A subcommand that does something. */
export const command = (name: string, summary: string): ResultCommand =>
  group(name, summary).option('--json', 'print the result as JSON', false);

/** A subcommand that only has subcommands, or has no result of its own. */
export const group = (name: string, summary: string): ResultCommand =>
  new ResultCommand(name)
    .summary(summary)
    .description(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`)
    .showHelpAfterError('(add --help for the options)');

/** A signal that the first Ctrl-C, a cluster's SIGTERM or the end of a session (SIGHUP) sets off; the second ends the process. */
export function interruptible(news = '\nstopping after this step … (once more to quit at once)\n'): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(1);
    process.stderr.write(news);
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
