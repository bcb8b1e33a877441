import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import { type NumberRange, numberIn } from '../base/number-range.ts';
import { pixelMappings } from '../data/pixels.ts';
import { MAX_ZERO_SHARE, OPERATING_FAR, SAMPLE_SIZES } from '../eval/defaults.ts';
import { precisionChoices } from '../models/precisions.ts';

/** In place of a default: the option must be given. */
export const REQUIRED = Symbol('required');
/** A default, with what the help says of it if that is not the value itself. */
type Fallback<T> = T | readonly [value: T, told: string] | typeof REQUIRED | undefined;

/** Threads and processes that may be asked for: what a machine of any size has a use for, and no more than it can start. */
export const mostThreads = (): number => Math.max(16, 4 * availableParallelism());

/** An option that takes some of its choices. */
export class ListOption extends Option {}

/** A command whose options are declared by a chain, each on a line. Values are checked before anything is read or started. */
export class SharedCommand extends Command {
  /** Options that several commands have. */
  shared(...names: readonly (keyof typeof sharedOptions)[]): this {
    for (const name of names) sharedOptions[name](this);
    return this;
  }

  /** A number within a range. */
  numberOption(flags: string, about: string, range: NumberRange, fallback?: Fallback<number>): this {
    return this.add(
      new Option(flags, about).argParser((text) => numberIn(nameIn(flags), text, range)),
      fallback,
    );
  }

  /** A whole number within a range. */
  wholeOption(flags: string, about: string, range: NumberRange, fallback?: Fallback<number>): this {
    return this.numberOption(flags, about, { ...range, whole: true }, fallback);
  }

  /** One number for all channels of a picture, or three with commas between them. */
  perChannelOption(flags: string, about: string, range: NumberRange): this {
    return this.option(flags, about, (text) => {
      const parts = text.split(',');
      if (parts.length !== 1 && parts.length !== 3)
        throw wrong(flags, text, 'one number, or three with commas between them');
      const numbers = parts.map((part) => numberIn(nameIn(flags), part, range));
      return numbers.length === 3 ? numbers : [...numbers, ...numbers, ...numbers];
    });
  }

  /** One of some words. */
  choiceOption(flags: string, about: string, choices: readonly string[], fallback?: Fallback<string>): this {
    return this.add(new Option(flags, about).choices(choices), fallback);
  }

  /** Some of some words, with commas between them. */
  listOption(flags: string, about: string, choices: readonly string[], fallback?: readonly string[]): this {
    const read = (text: string): readonly string[] => {
      const names = text.split(',');
      if (names.every((name) => choices.includes(name))) return names;
      throw wrong(flags, text, `${choices.join(', ')} or ${choices.slice(0, 2).join(',')}`);
    };
    return this.add(new ListOption(flags, about).choices(choices).argParser(read), fallback && [fallback]);
  }

  /** An option that may be given several times. → all that was given */
  repeatedOption(flags: string, about: string): this {
    const append = (text: string, before: readonly string[]): readonly string[] => [...before, text];
    return this.option(flags, `${about}; may be repeated`, append, []);
  }

  seedOption(fallback: number): this {
    return this.wholeOption('--seed <n>', 'seed of every random draw', { least: 0 }, fallback);
  }

  batchSizeOption(fallback: number): this {
    return this.wholeOption('--batch-size <n>', 'images at a time', { least: 1, most: 8192 }, fallback);
  }

  private add(option: Option, fallback: Fallback<unknown>): this {
    if (fallback === REQUIRED) option.makeOptionMandatory();
    else if (fallback !== undefined) option.default(...([fallback].flat() as [value: unknown, told?: string]));
    return this.addOption(option);
  }
}

const nameIn = (flags: string): string => flags.split(' ')[0]!;
const wrong = (flags: string, text: string, wanted: string): UserError =>
  new UserError(`${nameIn(flags)} ${text.slice(0, 40)}: wanted ${wanted}`);

const PIXELS =
  'train: as in training, (x - 127.5) / 127.5 unless a model declares another; ijb: / 128, as the published numbers were made';
const PRESET = 'values of settings that the recipe does not name: repaired, or those of the reference code';
const ZEROS = "share of a model's embeddings that may be zeros; more are an error";
const RESUME = 'continue an interrupted attempt, or start; the command does so without this option, too';
const FAR = 'FAR that the old system runs at';
const MEMORY = 'memory that it may take (default: a quarter of the machine)';
/** How much of a labelled set is compared. */
const MOST_DRAWN = { least: 1, most: 1_000_000_000 };
const ifMore = (what: string): string => `${what}; if there are more, a random draw`;
const PRECISION = 'what the backbone computes in; auto: bf16 where that is faster on this machine';
const DEVICE = 'device that computes; each of several processes uses the CUDA device of its local rank';

/** Options of several commands, each declared once. */
const sharedOptions = {
  data: (to) => to.requiredOption('--data <dataset>', 'folder, or prefix of a .rec and .idx'),
  force: (to) => to.option('--force', 'replace what stands at the output', false),
  preset: (to) => to.choiceOption('--preset <name>', PRESET, ['default', 'reference']),
  folder: (to) =>
    to.addOption(new Option('--folder <path>', 'folder for data sets').env('MIXBCT_DATA').default('data')),
  figures: (to) => to.option('--figures', 'write each curve of the report as an SVG and a PNG file, too', false),
  pictures: (to) => to.option('--no-pictures', 'an HTML report without images of the data and names of classes'),
  pixels: (to) => to.choiceOption('--pixels <map>', PIXELS, Object.keys(pixelMappings), 'train'),
  precision: (to) => to.choiceOption('--precision <which>', PRECISION, precisionChoices, 'float32'),
  workers: (to) => to.wholeOption('--workers <n>', 'threads that decode images', { least: 0, most: mostThreads() }, 1),
  skipBadImages: (to) => to.option('--skip-bad-images', 'count and list unreadable images, instead of stopping', false),
  seed: (to) => to.seedOption(0),
  space: (to) =>
    to.choiceOption('--space <which>', 'own, or old: through the projection of the recipe', ['own', 'old'], 'own'),
  resamples: (to) => to.wholeOption('--resamples <n>', 'bootstrap resamples', { least: 1, most: 100_000 }, 500),
  far: (to) => to.numberOption('--far <share>', FAR, { above: 0, below: 1 }, OPERATING_FAR),
  maxZeroShare: (to) => to.numberOption('--max-zero-share <share>', ZEROS, { least: 0, most: 1 }, MAX_ZERO_SHARE),
  genuines: (to) =>
    to.wholeOption('--genuines <n>', ifMore('genuine pairs to compare'), MOST_DRAWN, SAMPLE_SIZES.genuines),
  impostors: (to) =>
    to.wholeOption('--impostors <n>', ifMore('impostor pairs to compare'), MOST_DRAWN, SAMPLE_SIZES.impostors),
  probes: (to) => to.wholeOption('--probes <n>', ifMore('probes to search with'), MOST_DRAWN, SAMPLE_SIZES.probes),
  memory: (to) => to.numberOption('--memory <GB>', MEMORY, { above: 0, most: 1e6 }),
  /** Of libtorch. Two processes that each use all cores are slower than one. */
  threads: (to) =>
    to.wholeOption('--threads <n>', 'threads that compute', { least: 1, most: mostThreads() }, [
      threadsByDefault(),
      'OMP_NUM_THREADS, or all cores',
    ]),
  /** Of commands that go on by themselves: the same words start and continue them, as they do a training. */
  resume: (to) => to.option('--resume', RESUME, false),
  /** Where tensors live; each process of a machine has a CUDA device of its own. */
  device: (to) => to.choiceOption('--device <kind>', DEVICE, ['cpu', 'cuda'], 'cpu'),
} as const satisfies Readonly<Record<string, (to: SharedCommand) => SharedCommand>>;

function threadsByDefault(): number {
  const wish = Number(process.env['OMP_NUM_THREADS']);
  return Number.isInteger(wish) && wish >= 1 && wish <= mostThreads() ? wish : availableParallelism();
}
