import type { z } from 'zod';
import { UserError } from '../base/errors.ts';
import { advbct } from './advbct.ts';
import { bct } from './bct.ts';
import { bt2 } from './bt2.ts';
import { compose } from './compose.ts';
import { hoc } from './hoc.ts';
import { independent } from './independent.ts';
import { joint } from './joint.ts';
import { l2 } from './l2.ts';
import { lce } from './lce.ts';
import { COMPOSE, type ConfiguredMethod, type Method, type OldModelInput, partsOf } from './method.ts';
import { mixbct } from './mixbct.ts';
import { nccl } from './nccl.ts';
import { ndpp } from './ndpp.ts';
import { pairs } from './pairs.ts';
import { ract } from './ract.ts';
import { unibct } from './unibct.ts';

export { compositionProblem } from './compose.ts';
export type {
  Boundaries,
  ConfiguredMethod,
  EpochStart,
  LossTerms,
  Method,
  MethodInstance,
  MethodSetup,
  OldModelBatch,
  OldModelConstants,
  OldModelInput,
  OldRows,
  TrainingStep,
} from './method.ts';
export { COMPOSE, defineMethod, methodTitle, partsOf } from './method.ts';

/** All methods. To add one, write its file and add it here; a program that uses mixbct registers its own. */
export const methods = {
  independent,
  mixbct,
  l2,
  bct,
  unibct,
  nccl,
  advbct,
  lce,
  ract,
  bt2,
  hoc,
  pairs,
  joint,
  ndpp,
} as const;
export type MethodName = keyof typeof methods;

/** Methods that recipes may name now, with their type parameters widened: ours, and those that were registered. */
const known = new Map(Object.entries(methods) as unknown as [string, Method][]);
const listeners: (() => void)[] = [];

export const knownMethods = (): readonly Method[] => [...known.values()];

/** Calls `react` after a method has been registered. */
export const whenRegistered = (react: () => void): void => void listeners.push(react);

/**
 * Makes a method of one's own known to recipes by its name, in this process. A run that was trained by it can be embedded and
 * evaluated without it. @throws UserError if the name is taken.
 */
export function registerMethod<N extends OldModelInput, W extends OldModelInput, S extends z.ZodObject>(
  method: Method<N, W, S>,
): void {
  if (known.has(method.name) || method.name === COMPOSE)
    throw new UserError(`there is a method called ${method.name} already`);
  known.set(method.name, method as unknown as Method);
  for (const react of listeners) react();
}

/** The method of a recipe. */
export function methodNamed(name: string): Method {
  const method = known.get(name);
  if (!method)
    throw new UserError(`no method called ${name} is known here`, {
      hint: 'a program registers its own: registerMethod',
    });
  return method;
}

/** A recipe's `method` section without its options' types. */
export type MethodSection =
  | { readonly kind: MethodName }
  | { readonly kind: typeof COMPOSE; readonly of: readonly { readonly kind: MethodName }[] };

/** The methods of a recipe's `method` section with their options, as one. */
export function configureMethod(section: MethodSection): ConfiguredMethod {
  const parts = partsOf(section).map(({ kind, ...options }): ConfiguredMethod => {
    const method = methodNamed(kind);
    const { name, needs, wants = [], projects, replacesRows = false } = method;
    return { name, needs, wants, projects, replacesRows, start: (setup) => method.start(options, setup) };
  });
  return section.kind === COMPOSE ? compose(parts) : parts[0]!;
}
