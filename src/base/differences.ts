/** A value that two trees do not share; a side that lacks it has null. */
export type Difference = { readonly what: string; readonly a: unknown; readonly b: unknown };

/** Leaves by path: `{ a: { b: 1 } }` → `{ 'a.b': 1 }`; lists as text. */
export function leavesOf(prefix: string, value: unknown): Record<string, unknown> {
  if (Array.isArray(value)) return { [prefix]: JSON.stringify(value) };
  if (value === null || typeof value !== 'object') return { [prefix]: value };
  const below = (key: string): string => (prefix === '' ? key : `${prefix}.${key}`);
  return Object.assign({}, ...Object.entries(value).map(([key, child]) => leavesOf(below(key), child)));
}

/** The paths at which two records differ, in the order of the first. */
export function differencesOf(
  a: Readonly<Record<string, unknown>>,
  b: Readonly<Record<string, unknown>>,
): Difference[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((what) => a[what] !== b[what])
    .map((what) => ({ what, a: a[what] ?? null, b: b[what] ?? null }));
}
