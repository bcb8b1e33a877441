import { UserError } from '../base/errors.ts';
import { countOf } from '../base/progress.ts';

export type EpochPlan = {
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  /** What the user should know before a training that can hardly learn anything; null: nothing. */
  readonly warning: string | null;
};

/**
 * Below these a training runs, but its result says little: so few batches that each step sees a large share of all images, so
 * few steps that a learning rate schedule is over before weights have moved. The quick start has 63 and 378.
 */
const FEWEST_BATCHES = 10;
const FEWEST_STEPS = 100;

/** Steps of a training over full batches; what does not fill one waits for another epoch's order. @throws UserError if none is full */
export function planEpochs(
  path: string,
  images: number,
  {
    batchSize,
    epochs,
    withoutOld,
  }: { readonly batchSize: number; readonly epochs: number; readonly withoutOld: number },
): EpochPlan {
  const stepsPerEpoch = Math.floor(images / batchSize);
  if (stepsPerEpoch === 0)
    throw new UserError(
      `${path}: ${images} images do not fill one batch of ${batchSize}${withoutOld > 0 ? ` (${withoutOld} more have no old embedding)` : ''}`,
      { hint: 'lower batchSize' },
    );
  const totalSteps = stepsPerEpoch * epochs;
  const few = stepsPerEpoch < FEWEST_BATCHES || totalSteps < FEWEST_STEPS;
  const warning = `warning: ${path}: ${images} images make ${countOf(stepsPerEpoch, 'batch', 'batches')} of ${batchSize} an epoch, ${countOf(totalSteps, 'step')} in all. Fewer than ${FEWEST_BATCHES} batches or ${FEWEST_STEPS} steps teach a model little: lower batchSize, raise epochs, or use more data`;
  return { stepsPerEpoch, totalSteps, warning: few ? warning : null };
}
