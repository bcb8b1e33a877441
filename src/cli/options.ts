import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import { type NumberRange, numberIn } from '../base/number-range.ts';
import { MAX_ZERO_SHARE } from '../eval/defaults.ts';

/** Threads and processes that may be asked for: what a machine of any size has a use for, and no more than it can start. */
export const mostThreads = (): number => Math.max(16, 4 * availableParallelism());

/** An option that takes a whole number. A number outside of its range is refused with that range, before anything is read or started. */
export const wholeOption = (
  flags: string,
  about: string,
  range: Omit<NumberRange, 'whole'>,
  fallback?: number,
): Option => numberOption(flags, about, { ...range, whole: true }, fallback);

/** An option that takes a number within a range. */
export function numberOption(flags: string, about: string, range: NumberRange, fallback?: number): Option {
  const name = flags.split(' ')[0]!;
  const option = new Option(flags, about).argParser((text) => numberIn(name, text, range));
  return fallback === undefined ? option : option.default(fallback);
}

/** An option that takes one number for all channels of a picture, or three with commas between them. */
export function perChannelOption(flags: string, about: string, range: NumberRange): Option {
  const name = flags.split(' ')[0]!;
  return new Option(flags, about).argParser((text) => {
    const parts = text.split(',');
    if (parts.length !== 1 && parts.length !== 3)
      throw new UserError(`${name} ${text.slice(0, 40)}: wanted one number, or three with commas between them`);
    const numbers = parts.map((part) => numberIn(name, part, range));
    return numbers.length === 3 ? numbers : [...numbers, ...numbers, ...numbers];
  });
}

/** Options of several commands, each declared once; `SharedCommand.shared` adds them. */
const sharedOptions = {
  force: () => new Option('--force', 'replace what stands at the output').default(false),
  preset: () =>
    new Option(
      '--preset <name>',
      'values of settings that the recipe does not name: repaired, or those of the reference code',
    ).choices(['default', 'reference']),
  folder: () => new Option('--folder <path>', 'folder for data sets').env('MIXBCT_DATA').default('data'),
  workers: () => wholeOption('--workers <n>', 'threads that decode images', { least: 0, most: mostThreads() }, 1),
  skipBadImages: () =>
    new Option('--skip-bad-images', 'count and list unreadable images, instead of stopping').default(false),
  seed: () => seedOption(0),
  space: () =>
    new Option('--space <which>', 'own, or old: through the projection of the recipe')
      .choices(['own', 'old'])
      .default('own'),
  resamples: () => wholeOption('--resamples <n>', 'bootstrap resamples', { least: 1, most: 100_000 }, 500),
  maxZeroShare: () =>
    numberOption(
      '--max-zero-share <share>',
      "share of a model's embeddings that may be zeros; more are an error",
      { least: 0, most: 1 },
      MAX_ZERO_SHARE,
    ),
  /** Of libtorch. Two processes that each use all cores are slower than one. */
  threads: () =>
    wholeOption('--threads <n>', 'threads that compute', { least: 1, most: mostThreads() }).default(
      threadsByDefault(),
      'OMP_NUM_THREADS, or all cores',
    ),
  /** Of commands that go on by themselves: the same words start and continue them, as they do a training. */
  resume: () =>
    new Option(
      '--resume',
      'continue an interrupted attempt, or start; the command does so without this option, too',
    ).default(false),
  /** Where tensors live; each process of a machine has a CUDA device of its own. */
  device: () =>
    new Option(
      '--device <kind>',
      'device that computes; each of several processes uses the CUDA device of its local rank',
    )
      .choices(['cpu', 'cuda'])
      .default('cpu'),
} as const;

function threadsByDefault(): number {
  const wish = Number(process.env['OMP_NUM_THREADS']);
  return Number.isInteger(wish) && wish >= 1 && wish <= mostThreads() ? wish : availableParallelism();
}

export const seedOption = (fallback: number): Option =>
  wholeOption('--seed <n>', 'seed of every random draw', { least: 0 }, fallback);
export const batchSizeOption = (fallback: number): Option =>
  wholeOption('--batch-size <n>', 'images at a time', { least: 1, most: 8192 }, fallback);

/** For options that may be given several times. */
export const appendValue = (text: string, before: readonly string[]): readonly string[] => [...before, text];

/** A command that takes options which others have too. */
export class SharedCommand extends Command {
  shared(...names: readonly (keyof typeof sharedOptions)[]): this {
    for (const name of names) this.addOption(sharedOptions[name]());
    return this;
  }
}
