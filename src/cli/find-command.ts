import type { Command } from 'commander';

/** Whether a command has a long option such as `--force`. */
export const hasOption = (command: Command, option: string): boolean =>
  command.options.some(({ long }) => long === option) || option === '--help';

/** Follows `words` from command to subcommand. → how many of them name one, and the last of these */
export function followNames(
  root: Command,
  words: readonly string[],
): { readonly command: Command; readonly depth: number } {
  const next = root.commands.find((one) => one.name() === words[0]);
  if (!next) return { command: root, depth: 0 };
  const { command, depth } = followNames(next, words.slice(1));
  return { command, depth: depth + 1 };
}

/** The command that `words` name; the root if the first names none. */
export function commandNamed(root: Command, words: readonly string[]): Command {
  const { command } = followNames(root, words);
  return command.commands.find((one) => one.name() === defaultOf(command)) ?? command;
}

/** The subcommand that runs if none is named: commander keeps its name to itself. */
const defaultOf = (command: Command): string | undefined =>
  (command as unknown as { readonly _defaultCommandName?: string })._defaultCommandName;
