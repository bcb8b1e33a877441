import { advbct } from './advbct.ts';
import { bct } from './bct.ts';
import { independent } from './independent.ts';
import { l2 } from './l2.ts';
import type { Method } from './method.ts';
import { mixbct } from './mixbct.ts';
import { nccl } from './nccl.ts';
import { unibct } from './unibct.ts';

export type {
  Boundaries,
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
export { defineMethod } from './method.ts';

/** All methods. To add one, write its file and add it here. */
export const methods = { independent, mixbct, l2, bct, unibct, nccl, advbct } as const;
export type MethodName = keyof typeof methods;

/** The method of a recipe, with its type parameters widened. */
export const methodNamed = (name: MethodName): Method => methods[name] as unknown as Method;
