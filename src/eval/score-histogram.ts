import type { ScoreHistogram } from './evaluation.ts';

/** Steps of [-1, 1]. */
const STEPS = 200;

/**
 * Counts genuine and impostor scores in steps of 0.01, from the lowest step with a score to the highest. A score on an edge belongs
 * to the step above. Pairs without a score are not counted.
 */
export function scoreHistogram(genuine: Float32Array, impostor: Float32Array): ScoreHistogram {
  const [genuines, impostors] = [counts(genuine), counts(impostor)];
  const used = (i: number): boolean => genuines[i]! > 0 || impostors[i]! > 0;
  const steps = [...genuines.keys()].filter(used);
  const [first, last] = [steps[0] ?? 0, steps.at(-1) ?? 0];
  return {
    from: (2 * first) / STEPS - 1,
    step: 2 / STEPS,
    genuine: genuines.slice(first, last + 1),
    impostor: impostors.slice(first, last + 1),
  };
}

function counts(scores: Float32Array): number[] {
  const found = new Array<number>(STEPS).fill(0);
  for (const score of scores) if (score >= -1) found[Math.min(STEPS - 1, Math.floor(((score + 1) * STEPS) / 2))]!++;
  return found;
}
