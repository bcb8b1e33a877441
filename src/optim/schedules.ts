/** The learning rate at optimiser step `step` (steps already taken: the first update uses `schedule(0)`). */
export type Schedule = (step: number) => number;

type Span = { readonly base: number; readonly totalSteps: number; readonly warmupSteps?: number };

/**
 * `base·step/warmup` while warming up, then `base·(1 - (step-warmup)/(total-warmup))^power`.
 *
 * The MixBCT paper says "linearly decays"; its code uses power 2 (D-01), which is our default. A negative `warmupSteps` starts
 * part-way down the curve, as in the reference's BCT configurations (D-02).
 */
export function polynomial({
  base,
  totalSteps,
  warmupSteps = 0,
  power = 2,
}: Span & { readonly power?: number }): Schedule {
  return falling({ base, totalSteps, warmupSteps }, (step, steps) => (1 - step / steps) ** power);
}

/** Half a cosine from `base` to 0 after warm-up. */
export const cosine = (span: Span): Schedule =>
  falling(span, (step, steps) => (1 + Math.cos((Math.PI * step) / steps)) / 2);

/** After warm-up `base` times `share` of a step, of the steps that follow warm-up; 0 from the last step on, however few there are. */
function falling(
  { base, totalSteps, warmupSteps = 0 }: Span,
  share: (step: number, steps: number) => number,
): Schedule {
  return (step) => {
    if (step < warmupSteps) return (base * step) / warmupSteps;
    return step < totalSteps ? base * share(step - warmupSteps, totalSteps - warmupSteps) : 0;
  };
}

/** `base`, times `factor` after each of `milestones` (in steps). */
export function stepDecay({
  base,
  milestones,
  factor = 0.1,
  warmupSteps = 0,
}: {
  readonly base: number;
  readonly milestones: readonly number[];
  readonly factor?: number;
  readonly warmupSteps?: number;
}): Schedule {
  return (step) =>
    step < warmupSteps
      ? (base * step) / warmupSteps
      : base * factor ** milestones.filter((milestone) => step >= milestone).length;
}

/** Always `base`, after warm-up. */
export function constant({
  base,
  warmupSteps = 0,
}: {
  readonly base: number;
  readonly warmupSteps?: number;
}): Schedule {
  return (step) => (step < warmupSteps ? (base * step) / warmupSteps : base);
}
