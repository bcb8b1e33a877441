import { codeOf, messageOf, UserError } from './errors.ts';

/**
 * Loads a package that mixbct does not install. `purpose` says what needs it, as the subject of a sentence.
 * @throws UserError that tells how to install it.
 */
export async function optionalPackage<T extends object>(
  name: string,
  load: () => Promise<T>,
  { purpose, install }: { readonly purpose: string; readonly install: string },
): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const missing = codeOf(error) === 'ERR_MODULE_NOT_FOUND';
    const how = missing ? 'is not installed' : `does not load (${messageOf(error).split('\n', 1)[0]})`;
    throw new UserError(`${purpose} needs the package ${name}, which ${how}`, { hint: install });
  }
}
