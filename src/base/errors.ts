/** A problem the user can fix: bad input, a missing file, a wrong option. The command line prints it without a stack and exits 2. */
export class UserError extends Error {
  override readonly name = 'UserError';
  constructor(message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(options.hint ? `${message}\n  hint: ${options.hint}` : message, { cause: options.cause });
  }
}

/** A file that is not what it should be: names the file, what was wanted and what came. */
export class FileError extends UserError {
  readonly path: string;
  constructor(path: string, problem: string, hint?: string) {
    super(`${path}: ${problem}`, hint === undefined ? {} : { hint });
    this.path = path;
  }
}

/** The message of anything that was thrown. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** The error code (`ENOENT`, …) of a failed system call, if it was one. */
export const codeOf = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined;
