import { UserError } from './errors.ts';
import { didYouMean } from './suggestion.ts';

/** The names of the options `T` of a function, each with whether a caller must give it: by type, none may be left out. */
export type OptionNames<T> = {
  readonly [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? 'optional' : 'required';
};

/**
 * Checks what a program without types gives a function of the library.
 * @throws UserError naming an option that the function does not have, with the nearest that it has, or one that is missing
 */
export function requireOptions<T extends object>(call: string, given: T, known: OptionNames<T>): T {
  const names = Object.keys(known) as (keyof T & string)[];
  if (typeof given !== 'object' || given === null)
    throw new UserError(`${call}: wanted an object of options: ${names.join(', ')}`);
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(known, name));
  if (unknown !== undefined)
    throw new UserError(`${call} has no option ${unknown}${didYouMean(unknown, names)}`, {
      hint: `its options: ${names.join(', ')}`,
    });
  const missing = names.find((name) => known[name] === 'required' && given[name] === undefined);
  if (missing !== undefined) throw new UserError(`${call}: the option ${missing} is missing`);
  return given;
}
