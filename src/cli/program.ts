import { Command } from 'commander';
import { nearestName } from '../base/suggestion.ts';
import { version } from '../base/version.ts';
import { compareCommand } from './compare.ts';
import { dataCommand } from './data.ts';
import { averageCommand, boundariesCommand, denoiseCommand, importFeaturesCommand } from './derive.ts';
import { doctorCommand } from './doctor.ts';
import { evaluateCommand } from './evaluate-commands.ts';
import { exportCommand } from './export.ts';
import { extractCommand } from './extract.ts';
import { importModelCommand } from './import-model.ts';
import { infoCommand } from './info.ts';
import { launchCommand } from './launch.ts';
import { recipesCommand } from './recipes.ts';
import { reportCommand } from './report.ts';
import { quickstartCommand, runCommand } from './run.ts';
import { schemaCommand } from './schema.ts';
import { trainCommand } from './train.ts';

/** Every command with its options. What a command needs to run is loaded by its action, so that this is made in no time. */
export function program(): Command {
  const root = new Command('mixbct')
    .description('Backward-compatible training: new embedding models whose queries work on the old gallery.')
    .version(version)
    .showHelpAfterError('(add --help for the commands)')
    .addHelpText('after', '\nStart with:\n  mixbct quickstart');
  for (const sub of [
    quickstartCommand(),
    runCommand(),
    dataCommand(),
    trainCommand(),
    launchCommand(),
    importModelCommand(),
    exportCommand(),
    extractCommand(),
    denoiseCommand(),
    averageCommand(),
    boundariesCommand(),
    importFeaturesCommand(),
    evaluateCommand(),
    reportCommand(),
    infoCommand(),
    compareCommand(),
    recipesCommand(),
    schemaCommand(),
    doctorCommand(),
  ])
    root.addCommand(sub);
  throwing(root);
  return root;
}

/** Commander throws instead of leaving, so that usage errors get the exit code of every other misuse. */
function throwing(command: Command): void {
  command.exitOverride();
  command.commands.forEach(throwing);
}

/** Whether a command has a long option such as `--force`. */
export const hasOption = (command: Command, option: string): boolean =>
  command.options.some(({ long }) => long === option) || option === '--help';

/** The command that `words` name, and how many of them do; the root if the first names none. */
export function commandNamed(root: Command, words: readonly string[]): { command: Command; depth: number } {
  let [command, depth] = [root, 0];
  for (const word of words) {
    const sub = command.commands.find((one) => one.name() === word);
    if (!sub) break;
    [command, depth] = [sub, depth + 1];
  }
  const byDefault = command.commands.find((one) => one.name() === defaultOf(command));
  return { command: byDefault ?? command, depth };
}

/** Where `words` name a command that does not exist: the command before it, and the word. */
function unknownCommand(root: Command, words: readonly string[]): { group: Command; word: string } | null {
  let group = root;
  for (const word of words[0] === 'help' ? words.slice(1) : words) {
    if (group.commands.length === 0 || word.startsWith('-') || word === 'help') return null;
    const sub = group.commands.find((one) => one.name() === word);
    if (!sub) return { group, word };
    group = sub;
  }
  return null;
}

/**
 * Refuses the name of a command that does not exist, which commander lets pass when `--help` follows it.
 * @throws CommanderError after the message has been shown.
 */
export function refuseUnknownCommand(root: Command, words: readonly string[]): void {
  const unknown = unknownCommand(root, words);
  if (!unknown) return;
  const { group, word } = unknown;
  const name = nearestName(
    word,
    group.commands.map((one) => one.name()),
  );
  const shown = word.length > 60 ? `${word.slice(0, 60)}…` : word;
  group.error(`error: unknown command '${shown}'${name === undefined ? '' : `\n(Did you mean ${name}?)`}`, {
    code: 'commander.unknownCommand',
    exitCode: 2,
  });
}

/** The subcommand that runs if none is named: commander keeps its name to itself. */
const defaultOf = (command: Command): string | undefined =>
  (command as unknown as { readonly _defaultCommandName?: string })._defaultCommandName;
