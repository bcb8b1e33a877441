import { lockOutput } from '../artifacts/output-lock.ts';

/** Claims the migration of the gallery at a real path until it is disposed. @throws UserError if another process has it */
export function claimMigration(path: string): AsyncDisposable {
  const lock = lockOutput(`${path}.migration`);
  return { [Symbol.asyncDispose]: async () => lock[Symbol.dispose]() };
}
