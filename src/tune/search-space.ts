import { canonicalJson } from '../artifacts/digest.ts';
import { UserError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { Method } from '../methods/index.ts';
import type { MethodOptions, Searched } from './searched.ts';

/** Every point of a search space: one setting of each axis, the last axis fastest. */
export const pointsOf = (axes: NonNullable<Method['search']>): MethodOptions[] =>
  axes.reduce<MethodOptions[]>(
    (points, axis) => points.flatMap((point) => axis.map((setting) => ({ ...point, ...setting }))),
    [{}],
  );

/**
 * The options that are tried: those of the experiment first, then points of the method's search space, drawn without replacement.
 * Options that are no axis stay as in the experiment.
 * @throws UserError if the method declares no search space, or one with fewer points than there are trials
 */
export function drawTrials(
  { name, options, search }: Omit<Searched, 'section' | 'bare'>,
  own: MethodOptions,
  { trials, rng }: { readonly trials: number; readonly rng: Rng },
): MethodOptions[] {
  if (!search) throw new UserError(`${name} declares no search space, so it cannot be tuned`);
  const first = options.parse(own);
  const others = pointsOf(search)
    .map((point) => options.parse({ ...first, ...point }))
    .filter((point) => canonicalJson(point) !== canonicalJson(first));
  if (others.length + 1 < trials)
    throw new UserError(`${name} has ${others.length + 1} settings to try, and every method gets ${trials} trials`, {
      hint: `ask for at most ${others.length + 1} trials`,
    });
  const drawn = rng.sample(
    others.map((_, i) => i),
    trials - 1,
  );
  return [first, ...drawn.map((i) => others[i]!)];
}
