import { availableParallelism } from 'node:os';
import { Option } from 'commander';
import { UserError } from '../base/errors.ts';

/** What numbers an option takes. Bounds are included, but for `above` and `below`. */
export type Range = {
  readonly whole?: boolean;
  readonly least?: number;
  readonly most?: number;
  readonly above?: number;
  readonly below?: number;
  /** What the number is, for messages: `a share`, `a whole number of pixels`. */
  readonly called?: string;
};

/** Threads and processes that may be asked for: what a machine of any size has a use for, and no more than it can start. */
export const mostThreads = (): number => Math.max(16, 4 * availableParallelism());

/** An option that takes a whole number. Its range is told when another one is given, before anything is read or started. */
export const wholeOption = (flags: string, about: string, range: Omit<Range, 'whole'>, fallback?: number): Option =>
  numberOption(flags, about, { ...range, whole: true }, fallback);

/** An option that takes a number within a range. */
export function numberOption(flags: string, about: string, range: Range, fallback?: number): Option {
  const name = flags.split(' ')[0]!;
  const option = new Option(flags, about).argParser((text) => numberIn(name, text, range));
  return fallback === undefined ? option : option.default(fallback);
}

/** @throws UserError naming option, value and range. */
export function numberIn(name: string, text: string, range: Range): number {
  const number = Number(text);
  const { whole = false, least = -Infinity, most = Infinity, above = -Infinity, below = Infinity } = range;
  const written = whole ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  const fits = number >= least && number <= most && number > above && number < below;
  if (written.test(text) && Number.isFinite(number) && fits && (!whole || Number.isSafeInteger(number))) return number;
  const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  throw new UserError(`${name} ${shown}: wanted ${rangeText(range)}`);
}

function rangeText({ whole = false, least, most, above, below, called }: Range): string {
  const what = called ?? (whole ? 'a whole number' : 'a number');
  if (least !== undefined && most !== undefined) return `${what} from ${least} to ${most}`;
  if (above !== undefined && below !== undefined) return `${what} between ${above} and ${below}`;
  if (above !== undefined) return `${what} above ${above}${most === undefined ? '' : `, at most ${most}`}`;
  return least === undefined ? what : `${what}, at least ${least}`;
}
