import type { Estimate } from '../eval/index.ts';
import type { Limits } from './options.ts';
import { type Acceptable, type PlanOption, ways } from './plan-artifact.ts';

/** Whether an option is among the ways to accept. */
export const isAccepted = (
  { way, dropIn }: Pick<PlanOption, 'way' | 'dropIn'>,
  accept: readonly Acceptable[],
): boolean => accept.includes(way) || (way === 'deploy' && dropIn === 'drop-in' && accept.includes('drop-in'));

/**
 * Chooses one option. Ways are gone through from the cheapest to the dearest, keep first. Of each way the proven and accepted
 * option with the largest gain takes the place of what was chosen before if the interval of its gain lies above the other's,
 * by more than `minGain`. What is undecided is never chosen.
 */
export function chooseOption(options: readonly PlanOption[], { minGain, accept }: Limits): PlanOption {
  let chosen = options.find(({ way }) => way === 'keep')!;
  for (const wanted of ways.slice(1)) {
    const best = options
      .filter((option) => option.way === wanted && option.standing === 'proven' && isAccepted(option, accept))
      .reduce<PlanOption | null>((a, b) => (a && a.gain.value >= b.gain.value ? a : b), null);
    if (best && paysOver(best, chosen, minGain)) chosen = best;
  }
  return chosen;
}

/** Whether the gain of a dearer option is shown to be larger than that of a cheaper one. */
const paysOver = (dearer: PlanOption, cheaper: PlanOption, minGain: number): boolean =>
  dearer.gain.low > cheaper.gain.high + minGain;

/** A whole number of identities is not rounded up by the last bit of a quotient. */
const ROUNDING = 1e-9;

/**
 * The identities that would show that a difference is above `bound` if it stays as it was measured; null: none would. The width
 * of intervals falls with the root of their number.
 */
export function identitiesToDecide({ value, low }: Estimate, bound: number, identities: number): number | null {
  if (!(value > bound)) return null;
  return Math.ceil(identities * Math.max(1, ((value - low) / (value - bound)) ** 2) - ROUNDING);
}
