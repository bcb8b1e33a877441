import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { Command } from 'commander';
import { packageRoot } from '../../src/base/version.ts';
import { commandNamed, hasOption } from '../../src/cli/find-command.ts';
import { type Literal, literalsOf } from './literals.ts';

/** Files with words that look like options of mixbct and are those of another program, or variables of styles. */
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  'src/data/fetch-packages.ts': ['npm install'],
  'src/report/curve-sections.ts': ['CSS'],
  'src/report/page-style.ts': ['CSS'],
  'src/report/map-section.ts': ['CSS'],
  'src/report/page/script.ts': ['CSS'],
  'src/watch/watch-style.ts': ['CSS'],
  'src/watch/client/colours.ts': ['CSS'],
  'src/base/page-theme.ts': ['CSS'],
  'src/watch/client/charts.ts': ['CSS'],
};

/** Source files by their path from the package's root. */
export type Sources = ReadonlyMap<string, string>;

export function sourceFiles(): Map<string, string> {
  const names = readdirSync(join(packageRoot, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => join('src', name));
  return new Map(names.map((name) => [name, readFileSync(join(packageRoot, name), 'utf8')]));
}

export function leaves(root: Command): Command[] {
  return root.commands.flatMap((sub) => [...(sub.commands.length > 0 ? leaves(sub) : [sub])]);
}

/**
 * Every place in the sources where a string names an option that the commands which can show it do not have:
 *
 * - after `mixbct COMMAND …`, an option that COMMAND does not have;
 * - inside `optionHint(…)`, which only commands with the option show, one that no command has;
 * - in the file of a command, one that none of the file's commands has;
 * - anywhere else, one that some command lacks whose code imports the file, however indirectly.
 */
export function wrongOptions(root: Command, sources: Sources): string[] {
  const all = leaves(root);
  const definedIn = new Map<string, Command[]>();
  for (const [file, source] of sources)
    if (file.startsWith('src/cli/')) {
      const names = Array.from(
        source.matchAll(/\b(?:(?:derivedC|c)ommand|group)\(\s*'([\w-]+)'/g),
        ([, name]) => name!,
      );
      for (const name of names) {
        // several have one name: a subcommand stands in the file of its group
        const named = all.filter((one) => one.name() === name);
        const command = named.find(({ parent }) => names.includes(parent!.name())) ?? named.find(({ parent }) => parent === root) ?? named[0]; // biome-ignore format: short
        if (command) definedIn.set(file, [...(definedIn.get(file) ?? []), command]);
      }
    }
  const missing = all.filter((command) => ![...definedIn.values()].flat().includes(command));
  if (missing.length > 0) throw new Error(`no file defines ${missing.map((one) => one.name()).join(', ')}`);
  const reachedBy = reach(sources, definedIn);
  const wrong: string[] = [];
  for (const [file, source] of sources) {
    if (file in FOREIGN) continue;
    for (const { text, before, line } of literals(source)) {
      const complain = (option: string, whose: string): void =>
        void wrong.push(`${file}:${line}: ${option} is no option of ${whose}: ${JSON.stringify(text.slice(0, 120))}`);
      const loose = text.replace(/\bmixbct [a-z][^\n`]*/g, (words) => {
        for (const part of words.split(' -- ')) {
          const command = commandNamed(root, part.replace(/^mixbct /, '').split(/\s+/));
          for (const option of optionsIn(part)) if (!has(command, option)) complain(option, `mixbct ${command.name()}`);
        }
        return '';
      });
      if (/[oO]ption\(\s*$/.test(before)) continue; // this is where it is defined
      const shownBy = insideCallOf('optionHint', before) ? null : definedIn.get(file);
      for (const option of optionsIn(loose)) {
        if (shownBy || shownBy === null) {
          if (!(shownBy ?? all).some((command) => has(command, option)))
            complain(option, shownBy ? 'a command of this file' : 'any command');
          continue;
        }
        const lacking = [...(reachedBy.get(file) ?? [])].find((command) => !has(command, option));
        if (lacking) complain(option, `mixbct ${lacking.name()}, which runs this code (optionHint?)`);
        else if (!all.some((command) => has(command, option))) complain(option, 'any command');
      }
    }
  }
  return wrong;
}

const known = new Map<string, Literal[]>();
/** `literalsOf`, once for each text. */
function literals(source: string): Literal[] {
  const found = known.get(source) ?? literalsOf(source);
  known.set(source, found);
  return found;
}

/** Whether code ends among the arguments of a call. */
function insideCallOf(name: string, code: string): boolean {
  const at = code.lastIndexOf(`${name}(`);
  const after = code.slice(at + name.length);
  return at >= 0 && after.split('(').length > after.split(')').length;
}

/** `--old-${}` stands for every option that begins so. */
/** `var(--x)` is a colour of a style sheet. */
const optionsIn = (text: string): string[] => text.match(/(?<![\w-]|var\()--[a-z][a-z0-9-]*/g) ?? [];
const has = (command: Command, option: string): boolean =>
  option.endsWith('-')
    ? command.options.some(({ long }) => long?.startsWith(option))
    : hasOption(command, option) || hasOption(command, option.replace(/^--/, '--no-'));

/** The commands that import a file, directly or through others. */
function reach(sources: Sources, definedIn: ReadonlyMap<string, readonly Command[]>): Map<string, Set<Command>> {
  const importsOf = (file: string): string[] =>
    [...sources.get(file)!.matchAll(/^(?:import|export) (?!type\b)[^;'"]*?'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'/gm)]
      .map(([, fixed, lazy]) => normalize(join(dirname(file), (fixed ?? lazy)!)))
      .filter((name) => sources.has(name));
  const reached = new Map<string, Set<Command>>();
  const visit = (file: string, commands: readonly Command[]): void => {
    const known = reached.get(file) ?? new Set();
    reached.set(file, known);
    const fresh = commands.filter((command) => !known.has(command));
    if (fresh.length === 0) return;
    for (const command of fresh) known.add(command);
    for (const name of importsOf(file)) visit(name, fresh);
  };
  for (const [file, commands] of definedIn) visit(file, commands);
  return reached;
}
