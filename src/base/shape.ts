/**
 * A schema of JSON by example: `''`, `0` and `false` stand for any text, number or flag, a list of one example for a list of such
 * values, a mapping for one that has at least these keys. For commands that take less time than loading zod.
 */
export type Shape =
  | string
  | number
  | boolean
  | readonly [Shape]
  | { readonly [key: string]: Shape }
  | Choice
  | Optional
  | Nullable;

/** One of some texts. */
export class Choice {
  readonly texts: readonly string[];
  constructor(...texts: readonly string[]) {
    this.texts = texts;
  }
}

/** A key that may be missing. */
export class Optional {
  readonly of: Shape;
  constructor(of: Shape) {
    this.of = of;
  }
}

export class Nullable {
  readonly of: Shape;
  constructor(of: Shape) {
    this.of = of;
  }
}

export const isMapping = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** A mapping to look keys up in: the value, or an empty one if it is none. */
export const mappingOf = (value: unknown): Readonly<Record<string, unknown>> => (isMapping(value) ? value : {});

/** The first difference between a value and a shape, for a message; null if there is none. */
export function shapeMismatch(value: unknown, shape: Shape, path = ''): string | null {
  if (shape instanceof Optional) return value === undefined ? null : shapeMismatch(value, shape.of, path);
  if (shape instanceof Nullable) return value === null ? null : shapeMismatch(value, shape.of, path);
  const wanted = (what: string): string => `"${path}" is damaged (wanted ${what})`;
  if (shape instanceof Choice)
    return shape.texts.includes(value as string) ? null : wanted(`one of ${shape.texts.join(', ')}`);
  if (typeof shape !== 'object') {
    const names = { string: 'text', number: 'a number', boolean: 'true or false' } as const;
    return typeof value === typeof shape ? null : wanted(names[typeof shape as keyof typeof names]);
  }
  const at = (key: string | number): string => (path === '' ? `${key}` : `${path}.${key}`);
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) return wanted('a list');
    for (const [i, item] of value.entries()) {
      const found = shapeMismatch(item, shape[0], at(i));
      if (found) return found;
    }
    return null;
  }
  if (!isMapping(value)) return wanted('a mapping');
  for (const [key, child] of Object.entries(shape as Readonly<Record<string, Shape>>)) {
    const found = shapeMismatch(value[key], child, at(key));
    if (found) return found;
  }
  return null;
}
