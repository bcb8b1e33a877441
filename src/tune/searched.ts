import { UserError } from '../base/errors.ts';
import {
  COMPOSE,
  compositionProblem,
  type Method,
  type MethodSection,
  methodNamed,
  methodTitle,
  partsOf,
} from '../methods/index.ts';

/** Options of a method, complete. */
export type MethodOptions = Readonly<Record<string, unknown>>;

/** What is tuned: a method, or several composed. A composition is named by its parts, `pairs+joint`, and its options by theirs, `joint.weight`. */
export type Searched = {
  readonly name: string;
  readonly options: { parse(options: MethodOptions): MethodOptions };
  readonly search?: Method['search'];
  /** A recipe's `method` with these options. */
  section(options: MethodOptions): MethodSection;
  /** A recipe's `method` without options: the recipe's preset gives them. */
  readonly bare: MethodSection;
};

const TOGETHER = '+';

/** Of a recipe's section: what `searched` calls it. */
export const nameOf = (section: MethodSection): string => methodTitle(section).replaceAll(' ', '');

/** Whether two names are of one method: the parts of a composition have no order. */
export const isSameMethod = (one: string, other: string): boolean => sortedParts(one) === sortedParts(other);

const sortedParts = (name: string): string => name.split(TOGETHER).sort().join(TOGETHER);

/** Of a recipe's section: its options, named as `searched` names them. */
export function optionsOf(section: MethodSection): MethodOptions {
  const parts = partsOf(section);
  const named = (kind: string, name: string): string => (section.kind === COMPOSE ? `${kind}.${name}` : name);
  return Object.fromEntries(
    parts.flatMap(({ kind, ...options }) =>
      Object.entries(options).map(([name, value]) => [named(kind, name), value] as const),
    ),
  );
}

/** A method by its name, or a composition by those of its parts. @throws UserError if one is unknown, or they do not go together. */
export function searched(name: string): Searched {
  const kinds = name.split(TOGETHER);
  const parts = kinds.map(methodNamed);
  if (parts.length === 1) {
    const { options, search } = parts[0]!;
    const section = (given: MethodOptions) => ({ kind: name, ...given }) as MethodSection;
    const parse = (given: MethodOptions): MethodOptions => options.parse(given) as MethodOptions;
    return { name, options: { parse }, search, section, bare: section({}) };
  }
  const problem = compositionProblem(parts.map(({ name, replacesRows = false }) => ({ name, replacesRows })));
  if (problem !== undefined) throw new UserError(`${name}: ${problem}`);
  const section = (given: MethodOptions): MethodSection => {
    const of = parts.map(({ name: kind, options }) => ({
      kind,
      ...(options.parse(under(kind, given)) as MethodOptions),
    }));
    return { kind: COMPOSE, of } as unknown as MethodSection;
  };
  const search = parts.flatMap(({ name: kind, search: axes = [] }) =>
    axes.map((axis) => axis.map((setting) => prefixed(kind, setting))),
  );
  return {
    name,
    options: { parse: (given) => optionsOf(section(given)) },
    search: search.length > 0 ? search : undefined,
    section,
    bare: { kind: COMPOSE, of: kinds.map((kind) => ({ kind })) } as MethodSection,
  };
}

const prefixed = (kind: string, options: object): MethodOptions =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [`${kind}.${name}`, value]));

const under = (kind: string, options: MethodOptions): MethodOptions =>
  Object.fromEntries(
    Object.entries(options).flatMap(([name, value]) =>
      name.startsWith(`${kind}.`) ? [[name.slice(kind.length + 1), value]] : [],
    ),
  );
