import type { Argument, Command, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import { quoteForShell, splitShellWords } from '../base/shell-words.ts';
import { shippedFiles } from '../base/version.ts';
import { artifactKinds } from '../info/kinds.ts';
import { pathsTo, type WantedPaths } from '../info/paths-to.ts';
import { launchedCommands } from '../launch/launched-commands.ts';
import { commandNamed, followNames } from './find-command.ts';
import { ListOption } from './options.ts';

/** What may stand at the end of a line: these words, whole; or the name of any file, which the shell knows itself. */
export type Completion = { readonly kind: 'words' | 'files'; readonly found: readonly string[] };

/** The names of all commands, and the command line with those that words name. */
export type CommandLine = {
  readonly names: readonly string[];
  readonly program: (words: readonly string[]) => Promise<Command>;
};

/**
 * What the last word of a command line can become, as its shell inserts it. zsh and fish put quotes around it themselves.
 * @param line begins with the name of the program, or with variables before it
 * @param breaks of bash: characters behind which it inserts, COMP_WORDBREAKS
 */
export async function completeLine(line: string, all: CommandLine, breaks?: string): Promise<Completion> {
  const { words, last } = splitShellWords(line, breaks);
  const start = words.findIndex((word) => !/^\w+=/.test(word));
  const { kind, found } = await completeWords(words.slice(start + 1), last.text, all);
  const whole = [...new Set(found)].filter((one) => one.startsWith(last.text)).sort();
  if (breaks === undefined) return { kind, found: whole };
  return { kind, found: whole.flatMap((one) => quoteForShell(one.slice(last.kept), last.quote) ?? []) };
}

const NOTHING: Completion = { kind: 'words', found: [] };
const words = (found: readonly string[]): Completion => ({ kind: 'words', found });

async function completeWords(line: readonly string[], typed: string, all: CommandLine): Promise<Completion> {
  const launched = line[0] === 'launch' ? line.indexOf('--') + 1 : 0;
  const before = line[0] === 'help' ? line.slice(1) : line.slice(launched);
  if (launched > 0 && before.length === 0) return words(launchedCommands.map((name) => name.split(' ')[0]!));
  if (before.length === 0 && !typed.startsWith('-')) return words(all.names); // quickly, as they all need not be loaded
  const root = await all.program(before);
  const { command: named, depth } = followNames(root, before);
  const subcommands = named.commands.map((one) => one.name());
  if (line[0] === 'help') return words(subcommands);
  const command = commandNamed(root, before);
  const { given, pending } = readWords(command, before.slice(depth));
  if (pending) return await valuesOf(pending, typed, command, given);
  const [, long, value] = /^(--[^=]+)=(.*)$/s.exec(typed) ?? [];
  const option = command.options.find((one) => one.long === long && takesValue(one));
  if (option) {
    const { kind, found } = await valuesOf(option, value!, command, given);
    return { kind, found: found.map((one) => `${long}=${one}`) };
  }
  if (typed.startsWith('-')) return words([...command.options.flatMap((one) => one.long ?? []), '--help']);
  const { registeredArguments: wanted } = command;
  const argument = wanted[given.length] ?? (wanted.at(-1)?.variadic ? wanted.at(-1) : undefined);
  const { kind, found } = argument ? await valuesOf(argument, typed, command, given) : NOTHING;
  return { kind, found: [...(given.length === 0 ? subcommands : []), ...found] };
}

const takesValue = (option: Option): boolean => option.required || option.optional;

/** The arguments among the words of a command, and the option whose value comes next. */
function readWords(command: Command, before: readonly string[]) {
  const given: string[] = [];
  let pending: Option | undefined;
  for (const word of before) {
    if (word.startsWith('-'))
      pending = command.options.find((one) => (one.long === word || one.short === word) && takesValue(one));
    else if (!pending) given.push(word);
    else if (!pending.variadic) pending = undefined;
  }
  return { given, pending };
}

const kinds = (...names: readonly string[]): WantedPaths => ({ kinds: names });
/** What arguments and values of options are paths to, by the names that the help has for them. */
const PATHS: Readonly<Record<string, WantedPaths>> = {
  ...{ run: kinds('run'), evaluation: kinds('evaluation'), evaluations: kinds('evaluation') },
  ...{ features: kinds('features'), set: kinds('features'), credible: kinds('credible') },
  ...{ prototypes: kinds('prototypes'), boundaries: kinds('boundaries'), adapter: kinds('adapter') },
  ...{ simulation: kinds('backfill'), shards: kinds('embedding-shard'), dataset: { datasets: true } },
  ...{ a: kinds('run', 'evaluation'), b: kinds('run', 'evaluation'), paths: kinds('run') },
  ...{ path: kinds(...artifactKinds), folder: kinds(...artifactKinds) },
  ...{ recipe: { endings: ['.yaml'] }, experiment: { endings: ['.yaml'] } },
};
/** Of what is no artefact the shell knows as much. */
const FILES = new Set(['file', 'images', 'prefix']);

async function valuesOf(
  of: Option | Argument,
  typed: string,
  command: Command,
  given: readonly string[],
): Promise<Completion> {
  const option = 'flags' in of ? of.attributeName() : '';
  if (of.argChoices) {
    const kept = of instanceof ListOption ? typed.slice(0, typed.lastIndexOf(',') + 1) : '';
    return words(of.argChoices.map((choice) => `${kept}${choice}`));
  }
  if (option === 'set') return words(await settingsOf(command, given, typed));
  if (option === 'only' || option === 'stage') return words(await stagesOf(given));
  const [, names, name = ''] =
    /[<[]?(\[?name=\]?)?([\w-]+)(?:\.\.\.)?[>\]]?$/.exec('flags' in of ? of.flags : of.name()) ?? [];
  if (name === 'name' && command.name() === 'recipes') return words(await recipeNames());
  const wanted = Object.hasOwn(PATHS, name) ? PATHS[name] : undefined;
  if (!wanted) return FILES.has(name) ? { kind: 'files', found: [] } : NOTHING;
  const at = names ? typed.indexOf('=') + 1 : 0;
  const found = pathsTo(typed.slice(at), wanted).map((path) => `${typed.slice(0, at)}${path}`);
  const more = name === 'experiment' ? shippedFiles('experiments') : name === 'recipe' ? await recipeNames(typed) : [];
  const both = [...found, ...more.filter((one) => one.startsWith(typed))];
  return both.length > 0 ? words(both) : { kind: 'files', found: [] };
}

/** Recipes that come with mixbct: the files, and the published names where a word has been begun. */
async function recipeNames(typed = ' '): Promise<readonly string[]> {
  const { namedRecipes } = await import('../runs/named-recipes.ts');
  return [...shippedFiles('recipes'), ...(typed === '' ? [] : namedRecipes.map(({ name }) => name))];
}

/** What `--set` takes: paths up to their next part, or the values of a setting that has few. */
async function settingsOf(command: Command, [file = '']: readonly string[], typed: string): Promise<readonly string[]> {
  const { experimentSettings, recipeSettings } = await import('../info/setting-names.ts');
  const settings = command.name() === 'train' ? await recipeSettings() : await orNone(() => experimentSettings(file));
  if (typed.includes('=')) {
    const key = typed.slice(0, typed.indexOf('='));
    return (settings?.get(key) ?? []).map((value) => `${key}=${value}`);
  }
  return [...(settings?.keys() ?? [])]
    .filter((key) => key.startsWith(typed))
    .map((key) => {
      const dot = key.indexOf('.', typed.length);
      return dot < 0 ? `${key}=` : key.slice(0, dot + 1);
    });
}

const stagesOf = async ([file = '']: readonly string[]): Promise<readonly string[]> =>
  (await orNone(async () => (await import('../info/setting-names.ts')).stageNames(file))) ?? [];

/** An experiment that is not there, or is damaged, has no names. */
async function orNone<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof UserError) return null;
    throw error;
  }
}
