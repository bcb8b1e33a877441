import { Command } from 'commander';
import { nearestName } from '../base/suggestion.ts';
import { version } from '../base/version.ts';
import { followNames } from './find-command.ts';

/** Every command, in the order of the help: what defines it is loaded when it is asked for. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  quickstart: async () => (await import('./run.ts')).quickstartCommand(),
  run: async () => (await import('./run.ts')).runCommand(),
  tune: async () => (await import('./tune.ts')).tuneCommand(),
  data: async () => (await import('./data.ts')).dataCommand(),
  train: async () => (await import('./train.ts')).trainCommand(),
  launch: async () => (await import('./launch.ts')).launchCommand(),
  'import-model': async () => (await import('./import-model.ts')).importModelCommand(),
  export: async () => (await import('./export.ts')).exportCommand(),
  extract: async () => (await import('./extract.ts')).extractCommand(),
  embed: async () => (await import('./embed.ts')).embedCommand(),
  features: async () => (await import('./embed.ts')).featuresCommand(),
  denoise: async () => (await import('./derive.ts')).denoiseCommand(),
  average: async () => (await import('./derive.ts')).averageCommand(),
  boundaries: async () => (await import('./derive.ts')).boundariesCommand(),
  'import-features': async () => (await import('./derive.ts')).importFeaturesCommand(),
  adapt: async () => (await import('./adapt.ts')).adaptCommand(),
  backfill: async () => (await import('./backfill.ts')).backfillCommand(),
  store: async () => (await import('./store.ts')).storeCommand(),
  search: async () => (await import('./search.ts')).searchCommand(),
  migrate: async () => (await import('./migrate.ts')).migrateCommand(),
  evaluate: async () => (await import('./evaluate-commands.ts')).evaluateCommand(),
  thresholds: async () => (await import('./thresholds.ts')).thresholdsCommand(),
  plan: async () => (await import('./plan.ts')).planCommand(),
  report: async () => (await import('./report.ts')).reportCommand(),
  runs: async () => (await import('./runs.ts')).runsCommand(),
  watch: async () => (await import('./watch.ts')).watchCommand(),
  log: async () => (await import('./log.ts')).logCommand(),
  info: async () => (await import('./info.ts')).infoCommand(),
  compare: async () => (await import('./compare.ts')).compareCommand(),
  recipes: async () => (await import('./recipes.ts')).recipesCommand(),
  schema: async () => (await import('./schema.ts')).schemaCommand(),
  setup: async () => (await import('./setup.ts')).setupCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
  completion: async () => (await import('./completion.ts')).completionCommand(commandLine),
};

/** What completion knows of the commands. */
export const commandLine = { names: Object.keys(commands), program };

/**
 * The command line with the commands that `words` name; with all of them if the first word names none, as for help and
 * suggestions. What a command needs to run is loaded by its action.
 */
export async function program(words: readonly string[] = []): Promise<Command> {
  const root = new Command('mixbct')
    .description('Backward-compatible training: new embedding models whose queries work on the old gallery.')
    .version(version)
    .showHelpAfterError('(add --help for the commands)')
    .addHelpText('after', '\nStart with:\n  mixbct quickstart');
  const known = root.options.some(({ long }) => long === words[0]) ? [] : Object.keys(commands); // the version needs none
  const named = known.includes(words[0] ?? '') ? known.filter((name) => words.includes(name)) : known;
  for (const sub of await Promise.all(named.map((name) => commands[name]!()))) root.addCommand(sub);
  throwing(root);
  return root;
}

/** Commander throws instead of leaving, so that usage errors get the exit code of every other misuse. */
function throwing(command: Command): void {
  command.exitOverride();
  command.commands.forEach(throwing);
}

/**
 * Refuses the name of a command that does not exist, which commander lets pass when `--help` follows it.
 * @throws CommanderError after the message has been shown.
 */
export function refuseUnknownCommand(root: Command, words: readonly string[]): void {
  const named = words[0] === 'help' ? words.slice(1) : words;
  const { command, depth } = followNames(root, named);
  const word = named[depth];
  if (word === undefined || command.commands.length === 0 || word.startsWith('-') || word === 'help') return;
  const names = command.commands.map((one) => one.name());
  const name = nearestName(word, names);
  const shown = word.length > 60 ? `${word.slice(0, 60)}…` : word;
  command.error(`error: unknown command '${shown}'${name === undefined ? '' : `\n(Did you mean ${name}?)`}`, {
    code: 'commander.unknownCommand',
    exitCode: 2,
  });
}
