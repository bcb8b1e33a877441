import { createRequire } from 'node:module';
import { FileError, messageOf, UserError } from './errors.ts';
import { readTextFile } from './text-file.ts';

/** Loaded with the first document: commands that read none start without it. */
let yaml: typeof import('yaml') | undefined;

/** Levels of lists and mappings in each other: no document that people write has more, and checking one must end. */
const MOST_LEVELS = 64;
/** Values that a document may stand for, for each character of it: aliases may repeat parts. */
const [VALUES_PER_CHARACTER, AND_VALUES] = [4, 1000];
/** Keys that mean something to JavaScript's objects: no setting is called so. */
const RESERVED = new Set(['__proto__', 'constructor', 'prototype']);

/** Parses a YAML file. @throws FileError with line and column, or what else is wrong with it. */
export const readYaml = (path: string): unknown =>
  parseYaml(readTextFile(path), (problem) => new FileError(path, problem));

/** Parses YAML. @throws UserError, or what `problem` makes, of text that is no YAML or stands for more than a tree of its size. */
export function parseYaml(text: string, problem: (what: string) => UserError = (what) => new UserError(what)): unknown {
  let value: unknown;
  try {
    yaml ??= createRequire(import.meta.url)('yaml') as typeof import('yaml');
    const document = yaml.parseDocument(text, { prettyErrors: true, merge: true, logLevel: 'silent' });
    const [error] = document.errors;
    if (error) throw problem(`not valid YAML: ${error.message}`);
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (error instanceof RangeError) throw problem(`nests deeper than ${MOST_LEVELS} levels`);
    throw problem(`not valid YAML: ${messageOf(error)}`);
  }
  const what = notATree(value, VALUES_PER_CHARACTER * text.length + AND_VALUES);
  if (what) throw problem(what);
  return value;
}

/** What keeps a value from being checked as a tree of settings; null if nothing does. */
function notATree(value: unknown, mostValues: number): string | null {
  let values = 0;
  const visit = (node: unknown, above: readonly object[]): string | null => {
    if (++values > mostValues) return 'its aliases stand for more values than a document of its size has';
    if (node === null || typeof node !== 'object') return null;
    if (above.includes(node)) return 'an alias in it stands for what it is a part of';
    if (above.length >= MOST_LEVELS) return `nests deeper than ${MOST_LEVELS} levels`;
    for (const [key, child] of Object.entries(node)) {
      if (RESERVED.has(key)) return `has a key called ${key}`;
      const found = visit(child, [...above, node]);
      if (found) return found;
    }
    return null;
  };
  return visit(value, []);
}

/** Whether a key may be set in a tree of settings. */
export const isSettingKey = (key: string): boolean => key !== '' && !RESERVED.has(key);

/** Strings that YAML reads as themselves. */
const PLAIN = /^(?!(?:true|false|null|yes|no|on|off|y|n|~)$)[a-z_][\w.+/-]*(?: [\w.+/-]+)*$/i;

/** YAML of a tree of mappings, lists and values, without the time that loading a library for it takes. */
export function yamlOf(value: unknown, indent = ''): string {
  const child = (key: string, at: unknown): string =>
    at !== null && typeof at === 'object' && Object.keys(at).length > 0
      ? `${key}\n${yamlOf(at, `${indent}  `)}`
      : `${key} ${scalar(at)}\n`;
  if (Array.isArray(value)) return value.map((at) => `${indent}- ${scalar(at)}\n`).join('');
  return Object.entries(value as object)
    .map(([key, at]) => child(`${indent}${key}:`, at))
    .join('');
}

/** Nested lists and mappings in lists, and empty ones, in the form of JSON, which is YAML as well. */
const scalar = (value: unknown): string =>
  typeof value === 'string' && PLAIN.test(value) ? value : JSON.stringify(value);
