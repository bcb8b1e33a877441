import { optionHint, UserError } from '../base/errors.ts';

/** @throws UserError if two models have the same name, by which reports tell them apart. */
export function requireDistinctNames(names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UserError(`two models are called ${twice}`, {
      hint: [
        optionHint('give each a name of its own: --new name=folder'),
        optionHint('give each a name of its own: --model name=folder'),
      ],
    });
}
