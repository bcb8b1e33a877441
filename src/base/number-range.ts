import { UserError } from './errors.ts';

/** Which numbers are wanted. Bounds are included, but for `above` and `below`. */
export type NumberRange = {
  readonly whole?: boolean;
  readonly least?: number;
  readonly most?: number;
  readonly above?: number;
  readonly below?: number;
  /** What the number is, for messages: `a share`, `a whole number of pixels`. */
  readonly called?: string;
};

/** @throws UserError naming option, value and range. */
export function numberIn(name: string, text: string, range: NumberRange): number {
  const number = Number(text);
  const { whole = false, least = -Infinity, most = Infinity, above = -Infinity, below = Infinity } = range;
  const written = whole ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  const fits = number >= least && number <= most && number > above && number < below;
  if (written.test(text) && Number.isFinite(number) && fits && (!whole || Number.isSafeInteger(number))) return number;
  const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  throw new UserError(`${name} ${shown}: wanted ${rangeText(range)}`);
}

function rangeText({ whole = false, least, most, above, below, called }: NumberRange): string {
  const what = called ?? (whole ? 'a whole number' : 'a number');
  if (least !== undefined && most !== undefined) return `${what} from ${least} to ${most}`;
  if (above !== undefined && below !== undefined) return `${what} between ${above} and ${below}`;
  if (above !== undefined) return `${what} above ${above}${most === undefined ? '' : `, at most ${most}`}`;
  return least === undefined ? what : `${what}, at least ${least}`;
}
