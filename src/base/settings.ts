import { z } from 'zod';
import { UserError } from './errors.ts';
import { didYouMean } from './suggestion.ts';
import { isSettingKey, parseYaml } from './yaml.ts';

/**
 * A copy of `raw` with settings such as `method.ratio=0.5` applied; values are YAML. What stands at several places of `raw`, such
 * as a YAML alias, is changed at the named one only. @throws UserError naming the setting.
 */
export function applySettings(raw: unknown, settings: readonly string[]): unknown {
  if (settings.length === 0) return copyOfTree(raw ?? {});
  const result = copyOfTree(isTree(raw) ? raw : {}) as Record<string, unknown>;
  for (const setting of settings) {
    const shown = setting.length > 80 ? `${setting.slice(0, 80)}…` : setting;
    const at = setting.indexOf('=');
    const keys = setting.slice(0, Math.max(at, 0)).split('.');
    if (at < 1 || !keys.every(isSettingKey) || keys.length > MOST_KEYS)
      throw new UserError(`setting ${shown}: wanted path=value, for example method.ratio=0.5`);
    const value = parseYaml(setting.slice(at + 1), (what) => new UserError(`setting ${shown}: its value is ${what}`));
    let node = result;
    for (const key of keys.slice(0, -1)) {
      const child = Object.hasOwn(node, key) ? node[key] : undefined;
      node[key] = isTree(child) ? child : {};
      node = node[key] as Record<string, unknown>;
    }
    node[keys.at(-1)!] = value;
  }
  return result;
}

/** Parts of a setting's path: more than any schema has. */
const MOST_KEYS = 16;

const isTree = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === 'object';

/** A copy in which nothing is shared between two places. */
function copyOfTree(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyOfTree);
  return isTree(value) ? Object.fromEntries(Object.entries(value).map(([key, at]) => [key, copyOfTree(at)])) : value;
}

/** All problems of a failed check, a line each; an unknown key comes with the nearest known one. */
export function describeIssues(error: z.ZodError, schema: z.ZodType): string {
  const lines = error.issues.map((issue) => {
    const { path, message } = issue;
    const where = path.length > 0 ? path.join('.') : 'top level';
    if (issue.code !== 'unrecognized_keys') return `${where}: ${inPlainWords(message)}`;
    const known = knownKeys(schema);
    return issue.keys.map((key) => `${[...path, key].join('.')}: no such key${meant(key, known)}`).join('\n  ');
  });
  return `${lines.length === 1 ? 'one problem' : `${lines.length} problems`}\n  ${lines.join('\n  ')}`;
}

/** A message of zod, in the words of YAML. */
const inPlainWords = (message: string): string =>
  message
    .replace(/^Invalid input: /, '')
    .replace(/\b(?:object|record)\b/, 'mapping')
    .replace(/^expected (.*), received undefined$/, 'is missing, expected $1');

/** What an unknown key was meant to be: the same key at its only other place, or the nearest name. */
function meant(key: string, known: ReadonlyMap<string, ReadonlySet<string>>): string {
  const places = known.get(key);
  if (!places) return didYouMean(key, [...known.keys()]);
  const [place] = places;
  if (places.size > 1 || place!.includes(ANY)) return ' here';
  return ` here; did you mean ${place === key ? `${key} at the top level` : place}?`;
}

/** In place of a name that the schema leaves open, such as that of a stage, or of a position in a list. */
const ANY = '*';

/** Every property name that occurs in a schema, with its places such as `network.width`. */
function knownKeys(schema: z.ZodType): ReadonlyMap<string, ReadonlySet<string>> {
  const known = new Map<string, Set<string>>();
  const visit = (node: unknown, at: readonly string[]): void => {
    if (Array.isArray(node)) for (const one of node) visit(one, at);
    else if (node !== null && typeof node === 'object')
      for (const [key, value] of Object.entries(node)) {
        if (key !== 'properties') visit(value, key === 'items' || key === 'additionalProperties' ? [...at, ANY] : at);
        else
          for (const [name, child] of Object.entries(value as object)) {
            known.set(name, (known.get(name) ?? new Set()).add([...at, name].join('.')));
            visit(child, [...at, name]);
          }
      }
  };
  visit(z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' }), []);
  return known;
}
