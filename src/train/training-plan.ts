import { canonicalJson, digestOf, fileDigest } from '../artifacts/digest.ts';
import { UserError } from '../base/errors.ts';
import type { Dataset } from '../data/index.ts';
import { checkPrecision } from '../models/mixed-precision.ts';
import type { Schedule } from '../optim/index.ts';
import { digestOfInit, type InitialWeights, openInitialWeights } from '../runs/initial-weights.ts';
import { type Recipe, withoutPlaces } from '../runs/recipe.ts';
import { type DistributedContext, singleProcess } from '../torch/index.ts';
import type { TrainingIdentity } from './checkpoint.ts';
import { batchShare } from './collectives.ts';
import { type EpochPlan, planEpochs } from './epoch-plan.ts';
import type { OldModelInputs } from './old-model-inputs.ts';
import { makeSchedule } from './session.ts';
import type { TrainerHook } from './trainer-hook.ts';

export type TrainOptions = {
  readonly recipe: Recipe;
  readonly dataset: Dataset;
  /** What the method needs of the old model; see `openOldModelInputs`. */
  readonly old: OldModelInputs;
  /** The run's directory. */
  readonly out: string;
  readonly resume?: boolean;
  readonly force?: boolean;
  /** What else the command reads: `force` does not replace it. */
  readonly inputs?: readonly (string | undefined)[];
  /** Decoding threads beside the training thread. */
  readonly workers?: number;
  readonly skipBadImages?: boolean;
  /** Batches with a non-finite loss or gradient that the run may skip before it stops. */
  readonly skipNonFinite?: number;
  /** Steps between two lines of the log. */
  readonly logEvery?: number;
  /** Steps between two checkpoints of an epoch; there is one at its end in any case. */
  readonly saveEvery?: number;
  /** When it fires, the run stops at the next step with a checkpoint. */
  readonly signal?: AbortSignal;
  /** The processes that train together, each with an equal share of every batch. Rank 0 writes. */
  readonly distributed?: DistributedContext | null;
  /** Send gradients while backward computes others. */
  readonly overlap?: boolean;
  /** Called after the log, in this order. */
  readonly hooks?: readonly TrainerHook[];
  /** Digest of what a hook decides by, such as the images of a validation: the run resumes only with the same. */
  readonly validation?: string | undefined;
};

/** What follows from recipe, data and processes before anything is opened. */
export type TrainingPlan = EpochPlan & {
  readonly init: InitialWeights | null;
  readonly identity: TrainingIdentity;
  /** Samples that are trained on. */
  readonly size: number;
  /** Samples that are skipped, because the old model has no embedding of them. */
  readonly withoutOld: number;
  /** b, the samples of a batch that one process has. */
  readonly share: number;
  /** The head's classes. */
  readonly classes: number;
  readonly lrAt: Schedule;
};

/**
 * What a training has to share with a checkpoint to go on from it; `init` is the digest of the weights that it begins from.
 * @throws FileError if a file that the recipe names is not there
 */
export const trainingIdentity = (
  { recipe, dataset, old, validation }: Pick<TrainOptions, 'recipe' | 'dataset' | 'old' | 'validation'>,
  init = recipe.init && digestOfInit(recipe.init),
): TrainingIdentity => ({
  recipe: digestOf(canonicalJson(withoutPlaces(recipe))),
  dataset: dataset.digest,
  old: old.digest,
  ...(recipe.network.file !== undefined && { script: fileDigest(recipe.network.file) }),
  ...(init !== undefined && { init }),
  ...(validation !== undefined && { validation }),
});

/** @throws UserError if recipe, data and processes do not fit together, in every process. */
export async function planTraining({
  recipe,
  dataset,
  old,
  distributed,
  validation,
}: TrainOptions): Promise<TrainingPlan> {
  const { batchSize, epochs } = recipe;
  const size = old.samples?.length ?? dataset.size;
  const withoutOld = dataset.size - size;
  const epochPlan = planEpochs(dataset.path, size, { batchSize, epochs, withoutOld });
  const share = batchShare(recipe, distributed?.group ?? singleProcess);
  const init = await openInitialWeights(recipe);
  const identity = trainingIdentity({ recipe, dataset, old, validation }, init?.digest);
  const { old: oldModel, ...others } = identity;
  distributed?.requireEqual({ ...others, 'old model': oldModel });
  checkPrecision(recipe.precision);
  const classes = classesOfHead(recipe, dataset);
  return {
    ...epochPlan,
    init,
    identity,
    size,
    withoutOld,
    share,
    classes,
    lrAt: makeSchedule(recipe, epochPlan.stepsPerEpoch),
  };
}

/** @throws UserError if the recipe pretends to fewer classes than the data have. */
function classesOfHead({ pretend }: Recipe, dataset: Dataset): number {
  const classes = pretend?.classes ?? dataset.classes;
  if (classes < dataset.classes)
    throw new UserError(`pretend.classes is ${classes}, ${dataset.path} has ${dataset.classes} classes`, {
      hint: 'leave pretend out: classes are counted in the data',
    });
  return classes;
}
