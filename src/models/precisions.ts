import { optionHint, UserError } from '../base/errors.ts';

/** What a backbone computes in. Weights, the last layers, heads, losses and optimisers keep float32 under all of them. */
export const precisions = ['float32', 'bf16', 'fp16'] as const;
export type Precision = (typeof precisions)[number];

/** What embedding can be asked for; `auto`: bf16 where it was measured to be faster on this machine, else float32. */
export const precisionChoices = [...precisions, 'auto'] as const;
export type PrecisionChoice = (typeof precisionChoices)[number];

/** @throws UserError if each of several parties would choose a precision of its own. */
export function requireNamed(precision: PrecisionChoice, who: string): void {
  if (precision !== 'auto') return;
  throw new UserError(`precision auto: ${who} might each choose another one`, {
    hint: optionHint('name one: --precision float32 or bf16'),
  });
}
