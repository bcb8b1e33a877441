import type { OptionName } from './option-name.ts';

/** A way out that names an option: only commands that have every option in `text` show it. Make one with `optionHint`. */
export class OptionHint {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }

  /** The options that the text names, such as `--force`. */
  get options(): readonly string[] {
    return this.text.match(OPTION) ?? [];
  }
}

/**
 * `optionHint('pass --force to replace it')`: library code does not know which command runs it, the command line does. The text
 * names options of mixbct only, by type. `more` are options that it ends with.
 */
export const optionHint = <Text extends string>(text: Checked<Text>, more: readonly OptionName[] = []): OptionHint =>
  new OptionHint([text, more.join(' and ')].join(' ').trimEnd());

/** The text, or what is wrong with it. */
type Checked<Text extends string> = string extends Text
  ? 'wanted a literal, so that its options can be checked'
  : [UnknownOption<Text>] extends [never]
    ? Text
    : `no command has ${UnknownOption<Text>}`;
/** The options in a text that no command has. */
type UnknownOption<Text extends string> = Text extends `${string}--${infer Rest}`
  ? Exclude<`--${WithoutMark<FirstWord<Rest>>}`, OptionName> | UnknownOption<Rest>
  : never;
type FirstWord<Text extends string> = Text extends `${infer Word} ${string}` ? Word : Text;
type WithoutMark<Word extends string> = Word extends `${infer Bare},`
  ? Bare
  : Word extends `${infer Bare}:`
    ? Bare
    : Word;

/** A long option as messages name one. */
const OPTION = /(?<![\w-])--[a-z][a-z0-9-]*/g;

/** What to do about an error: one way, or several of which each would do. */
export type Hint = string | OptionHint | readonly (string | OptionHint)[];

/** A problem the user can fix: bad input, a missing file, a wrong option. The command line prints it without a stack and exits 2. */
export class UserError extends Error {
  override readonly name = 'UserError';
  /** The message without the hint. */
  readonly problem: string;
  readonly #hints: readonly (string | OptionHint)[];

  constructor(problem: string, options: { readonly hint?: Hint | undefined; readonly cause?: unknown } = {}) {
    const hints = [options.hint ?? []].flat().filter((hint) => hint !== '');
    super(withHints(problem, hints), { cause: options.cause });
    this.problem = problem;
    this.#hints = hints;
  }

  /** The message as a command shows it that has just the options for which `has` holds. */
  messageFor(has: (option: string) => boolean): string {
    return withHints(
      this.problem,
      this.#hints.filter((hint) => typeof hint === 'string' || hint.options.every(has)),
    );
  }
}

function withHints(problem: string, hints: readonly (string | OptionHint)[]): string {
  const texts = hints.map((hint) => (typeof hint === 'string' ? hint : hint.text));
  return texts.length > 0 ? `${problem}\n  hint: ${texts.join(', or ')}` : problem;
}

/** A file that is not what it should be: names the file, what was wanted and what came. */
export class FileError extends UserError {
  readonly path: string;
  constructor(path: string, problem: string, hint?: Hint) {
    super(`${path}: ${problem}`, { hint });
    this.path = path;
  }
}

/** Numbers of a model are NaN or infinite: its training has diverged. */
export class NonFiniteError extends UserError {}

/** Thrown after an interrupted run has written its checkpoint. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** Another process of the run has gone, or was not heard of in time: what failed here is not the cause. */
export class PeerLost extends Error {
  override readonly name = 'PeerLost';
}

/** What a process ends with when not it but another one of its run failed. */
export const PEER_LOST = 3;

/** One of the processes failed; the launcher ends with the same code. */
export class ProcessFailed extends Error {
  override readonly name = 'ProcessFailed';
  readonly code: number;
  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

/** The message of anything that was thrown. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** The error code (`ENOENT`, …) of a failed system call, if it was one. */
export const codeOf = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined;
