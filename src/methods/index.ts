import { independent } from './independent.ts';
import { l2 } from './l2.ts';
import type { Method } from './method.ts';
import { mixbct } from './mixbct.ts';

export type { Method, Need, Running, Setup, Step, Supply, Terms } from './method.ts';
export { defineMethod } from './method.ts';

/** Every method there is. To add one: write its file, and add it here. */
export const methods = { independent, l2, mixbct } as const;
export type MethodName = keyof typeof methods;

/** The method of a recipe, with the names forgotten that only its own file knows. */
export const methodNamed = (name: MethodName): Method => methods[name] as unknown as Method;
