import { UserError } from '../base/errors.ts';

/**
 * Reports tell models apart by their names; `option` is how a name is given.
 * @throws UserError if two are called the same.
 */
export function requireDistinctNames(names: readonly string[], option: string): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UserError(`two models are called ${twice}`, {
      hint: `give each a name of its own: ${option} name=folder`,
    });
}
