import { parse } from 'yaml';
import { z } from 'zod';
import { UserError } from '../base/errors.ts';

/** A copy of `raw` with settings such as `method.ratio=0.5` applied; values are YAML. */
export function applySettings(raw: unknown, settings: readonly string[]): unknown {
  const result = structuredClone(raw ?? {}) as Record<string, unknown>;
  for (const setting of settings) {
    const at = setting.indexOf('=');
    if (at < 1) throw new UserError(`setting ${setting}: wanted path=value, for example method.ratio=0.5`);
    const keys = setting.slice(0, at).split('.');
    let node = result;
    for (const key of keys.slice(0, -1)) {
      const child = node[key];
      node[key] = child !== null && typeof child === 'object' ? child : {};
      node = node[key] as Record<string, unknown>;
    }
    node[keys.at(-1)!] = parse(setting.slice(at + 1));
  }
  return result;
}

/** All problems of a failed check, a line each; an unknown key comes with the nearest known one. */
export function describeIssues(error: z.ZodError, schema: z.ZodType): string {
  const lines = flatten(error.issues).map(({ path, message, keys }) => {
    const where = path.length > 0 ? path.join('.') : 'top level';
    if (!keys) return `${where}: ${message}`;
    const known = knownKeys(schema);
    return keys.map((key) => `${[...path, key].join('.')}: no such key${suggestion(key, known)}`).join('\n  ');
  });
  return `${lines.length === 1 ? 'one problem' : `${lines.length} problems`}\n  ${lines.join('\n  ')}`;
}

type Flat = { readonly path: readonly PropertyKey[]; readonly message: string; readonly keys?: readonly string[] };

function flatten(issues: readonly z.core.$ZodIssue[]): Flat[] {
  return issues.map((issue) =>
    issue.code === 'unrecognized_keys'
      ? { path: issue.path, message: issue.message, keys: issue.keys }
      : { path: issue.path, message: issue.message.replace(/^Invalid input: /, '') },
  );
}

/** Every property name that occurs in a schema, to guess what was meant. */
function knownKeys(schema: z.ZodType): string[] {
  const names = new Set<string>();
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(visit);
    else if (node !== null && typeof node === 'object')
      for (const [key, value] of Object.entries(node)) {
        if (key === 'properties' && value) for (const name of Object.keys(value)) names.add(name);
        visit(value);
      }
  };
  visit(z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' }));
  return [...names];
}

/** `; did you mean …?` for the nearest of `known`, or nothing if none is near. */
export function suggestion(word: string, known: readonly string[]): string {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best && best.distance <= Math.max(2, Math.floor(word.length / 3)) ? `; did you mean ${best.name}?` : '';
}

/** Least number of inserted, deleted or changed characters. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
