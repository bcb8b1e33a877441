import { digestOf } from '../artifacts/digest.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { classKeysOf } from '../data/class-keys.ts';
import { referenceTo } from '../data/dataset-reference.ts';
import { type Dataset, requireSameDataset } from '../data/index.ts';
import { openInputDataset } from '../data/input-dataset.ts';
import { evaluationRng } from '../eval/labelled-set-protocol.ts';
import { quickTest } from '../eval/quick-metrics.ts';
import { unitEmbeddings } from '../eval/scores.ts';
import { relateTrainingData } from '../eval/training-data.ts';
import { FeatureSet } from '../features/index.ts';
import type { Recipe } from '../runs/recipe.ts';
import { Validation, type ValidationOptions } from '../train/validation.ts';

/** Places of what a training validates on. */
export type ValidationPaths = {
  /** Held-out images. */
  readonly on?: string | undefined;
  /** Features that the old model made of them. */
  readonly features?: string | undefined;
};

export type OpenValidationOptions = Pick<ValidationOptions, 'workers' | 'skipBadImages' | 'distributed'> & {
  readonly recipe: Recipe;
  readonly paths: ValidationPaths;
  /** What is trained on. */
  readonly training: Dataset;
};

/** A training's validation. A run resumes only with the same `digest`. */
export type OpenedValidation = AsyncDisposable & { readonly hook: Validation; readonly digest: string };

/**
 * Opens what a recipe validates on; null if it does not. New → new is measured, and new → old if there are features of the old model.
 * @throws UserError if data are missing or too many, do not fit the model, or hold classes that are trained on
 */
export function openValidation(options: OpenValidationOptions): OpenedValidation | null {
  const { recipe, paths, training, distributed } = options;
  const { validation, network, projection } = recipe;
  if (!validation) {
    const given = paths.on ?? paths.features;
    if (given === undefined) return null;
    throw new UserError(`${given}: the recipe does not validate`, {
      hint: ['give the recipe a validation: { every: 1 }', optionHint('pass --set validation.every=1')],
    });
  }
  if (paths.on === undefined)
    throw new UserError('the recipe validates, and held-out images to validate on are missing', {
      hint: ['give the stage a validate: { on: … }', optionHint('pass --validate-on, images of classes that are not trained on')], // biome-ignore format: short
    });
  const crosses = paths.features !== undefined;
  const gallery = validation.gallery ?? (crosses ? 'old' : 'new');
  if (gallery === 'old' && !crosses)
    throw new UserError('the recipe validates on the old gallery, and the old model’s features of the held-out images are missing', {
      hint: ['make them with mixbct extract', optionHint('pass --validate-features')],
    }); // biome-ignore format: short
  const report = !distributed || distributed.group.rank === 0;
  const dataset = openInputDataset(paths.on, { report });
  try {
    requireHeldOut(dataset, training);
    const old = crosses ? oldGallery(paths.features!, dataset, projection?.dim ?? network.embeddingDim) : null;
    // of a small set the same pairs and searches as `mixbct evaluate` with its default seed
    const test = quickTest({ labels: dataset.labels(), families: dataset.families() }, evaluationRng(0));
    const named = (pair: string, metrics: Readonly<Record<string, number>>) =>
      Object.entries(metrics).map(([name, value]) => [`new → ${pair} ${name}`, value] as const);
    const digest = digestOf(dataset.digest, old?.digest ?? 'none');
    const hook = new Validation({
      ...options,
      validation,
      dataset,
      digest,
      decides: `new → ${gallery} ${validation.metric}`,
      measure: ({ own, inOldSpace }) => {
        const unit = (rows: Float32Array, dim: number) => unitEmbeddings(rows, dim, 'the model in training');
        const queries = unit(own, network.embeddingDim);
        return Object.fromEntries([
          ...named('new', test(queries, queries)),
          ...(old ? named('old', test(inOldSpace === own ? queries : unit(inOldSpace, old.rows.dim), old.rows)) : []),
        ]);
      },
    });
    return {
      hook,
      digest,
      [Symbol.asyncDispose]: async () => {
        await hook[Symbol.asyncDispose]();
        dataset.close();
      },
    };
  } catch (error) {
    dataset.close();
    throw error;
  }
}

/** @throws UserError if a class of the held-out images is trained on */
function requireHeldOut(dataset: Dataset, training: Dataset): void {
  const known = (one: Dataset) => ({ dataset: referenceTo(one), classKeys: classKeysOf(one), labels: one.labels() });
  const { relation, sharedClasses = 0 } = relateTrainingData(known(training), known(dataset));
  if (relation === 'same' || relation === 'overlapping')
    throw new UserError(
      `${dataset.path}: ${sharedClasses} of its classes are in ${training.path}, which is trained on: a validation on them says nothing`,
      { hint: 'hold classes out before: mixbct data split SET --hold-out 100' },
    );
}

/** The old model's embeddings of the held-out images. @throws UserError if they are of other images, or of another dimension */
function oldGallery(path: string, dataset: Dataset, dim: number) {
  using features = FeatureSet.open(path);
  requireSameDataset(features.info, dataset, path);
  if (features.info.dim !== dim)
    throw new FileError(path, `has ${features.info.dim} dimensions, the model ${dim} in the old space`);
  return { rows: unitEmbeddings(features.all(), dim, path), digest: features.digest };
}
