import { UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import type { Recipe } from '../runs/recipe.ts';

export type EpochPlan = {
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  /** A warning if the training is too short to learn much; otherwise null. */
  readonly warning: string | null;
};

/**
 * Trainings below these limits run, but learn little: each step sees a large share of the images, or the learning rate schedule
 * ends before weights have moved. The quick start has 63 batches and 378 steps.
 */
const FEWEST_BATCHES = 10;
const FEWEST_STEPS = 100;

/** Counts the steps of a training. An epoch drops its last batch if that is not full. @throws UserError if no batch is full */
export function planEpochs(
  path: string,
  images: number,
  { batchSize, epochs, withoutOld }: Pick<Recipe, 'batchSize' | 'epochs'> & { readonly withoutOld: number },
): EpochPlan {
  const stepsPerEpoch = Math.floor(images / batchSize);
  if (stepsPerEpoch === 0)
    throw new UserError(
      `${path}: ${images} images do not fill one batch of ${batchSize}${withoutOld > 0 ? ` (${withoutOld} more have no old embedding)` : ''}`,
      { hint: 'lower batchSize' },
    );
  const totalSteps = stepsPerEpoch * epochs;
  const few = stepsPerEpoch < FEWEST_BATCHES || totalSteps < FEWEST_STEPS;
  const warning = `warning: ${path}: ${images} images make ${formatCount(stepsPerEpoch, 'batch', 'batches')} of ${batchSize} an epoch, ${formatCount(totalSteps, 'step')} in all. Fewer than ${FEWEST_BATCHES} batches or ${FEWEST_STEPS} steps teach a model little: lower batchSize, raise epochs, or use more data`;
  return { stepsPerEpoch, totalSteps, warning: few ? warning : null };
}
