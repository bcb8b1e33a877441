import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { canonicalJson, fileDigest } from '../artifacts/digest.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { logLine } from '../base/progress.ts';
import { readYaml } from '../base/yaml.ts';
import type { Dataset } from '../data/dataset.ts';
import { datasetReference, defineStage, reference } from '../experiment/stage.ts';
import { methodTitle } from '../methods/method.ts';
import type { Recipe } from '../runs/recipe.ts';
import type { RunManifest } from '../runs/run-artifact.ts';
import type { OldModelPaths } from '../train/old-model-inputs.ts';
import type { TrainOptions } from '../train/training-plan.ts';
import type { ValidationPaths } from './open-validation.ts';
import { processesOption, runTogether, wordsOf } from './together.ts';

export type TrainModelOptions = Omit<TrainOptions, 'dataset' | 'old' | 'resume' | 'validation'> & {
  /** Folder, or prefix of a .rec and .idx. */
  readonly dataset: string;
  /** Folders of what the old model left behind. */
  readonly old?: OldModelPaths;
  /** What the recipe's validation measures on. */
  readonly validate?: ValidationPaths;
  /** auto: an interrupted run continues, and a finished one of this recipe, data and old model is taken as it is. */
  readonly resume?: boolean | 'auto';
};

/** A run's manifest, and what in the dataset's folder is no image of it. */
export type TrainedModel = RunManifest & { readonly skippedFiles?: Dataset['skippedFiles'] };

/** Trains a model as a recipe says; with `processes`, so many train it as `mixbct launch` starts them. @throws UserError if recipe, data and what the old model left do not fit together. */
export async function trainModel({
  dataset: path,
  old: paths = {},
  validate = {},
  resume = false,
  force = false,
  processes = 1,
  ...options
}: TrainModelOptions & { readonly processes?: number }): Promise<TrainedModel> {
  const { recipe, out, distributed } = options;
  const [{ openInputDataset }, { openOldModelInputs }, { train }, { openValidation }] = await Promise.all([
    import('../data/input-dataset.ts'),
    import('../train/old-model-inputs.ts'),
    import('../train/train.ts'),
    import('./open-validation.ts'),
  ]);
  using dataset = openInputDataset(path, { report: !distributed || distributed.group.rank === 0 });
  using old = openOldModelInputs(recipe, paths, dataset);
  await using validation = openValidation({ ...options, paths: validate, training: dataset });
  const hooks = [...(options.hooks ?? []), ...(validation ? [validation.hook] : [])];
  const inputs = [
    ...(options.inputs ?? []),
    ...Object.values(paths),
    ...Object.values(validate),
    recipe.init?.from,
    recipe.network.file,
  ];
  const parts = { ...options, dataset, old, inputs, hooks, validation: validation?.digest };
  const told = dataset.skippedFiles && { skippedFiles: dataset.skippedFiles };
  const trained = (how: Pick<TrainOptions, 'resume' | 'force'>): Promise<RunManifest> =>
    processes > 1
      ? trainTogether(processes, { ...options, ...how, dataset: path, old: paths, validate })
      : train({ ...parts, ...how });
  if (resume !== 'auto') return { ...(await trained({ resume, force })), ...told };
  const [{ hasCheckpoint }, { readRunManifest }, { digestOfInit }, { withoutPlaces }] = await Promise.all([
    import('../runs/run-artifact.ts'),
    import('../runs/load-model.ts'),
    import('../runs/initial-weights.ts'),
    import('../runs/recipe.ts'),
  ]);
  const finished = existsSync(join(out, MANIFEST));
  if (finished) {
    const made = readRunManifest(out);
    const same =
      made.dataset?.digest === dataset.digest &&
      made.old === old.digest &&
      made.validation?.digest === validation?.digest &&
      made.init?.digest === (recipe.init && digestOfInit(recipe.init)) &&
      made.script === (recipe.network.file === undefined ? undefined : fileDigest(recipe.network.file));
    if (same && canonicalJson(withoutPlaces(made.recipe)) === canonicalJson(withoutPlaces(recipe))) {
      const { removeRunLeftovers } = await import('../runs/run-output.ts');
      removeRunLeftovers(out);
      logLine(`${out}: the model is finished already`);
      return made;
    }
  }
  const begun = !finished && hasCheckpoint(out);
  return { ...(await trained({ resume: begun, force: force && !begun })), ...told };
}

/** Has several processes train what `trainModel` would. */
async function trainTogether(
  processes: number,
  { recipe, out, dataset, old = {}, validate = {}, ...options }: TrainModelOptions,
) {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-recipe-'));
  try {
    const file = join(folder, 'recipe.json');
    writeFileSync(file, JSON.stringify(recipe));
    const oldOptions = Object.fromEntries(Object.entries(old).map(([part, at]) => [`old-${part}`, at]));
    const words = wordsOf(['train', file], {
      ...{ data: dataset, out, ...oldOptions },
      ...{ 'validate-on': validate.on, 'validate-features': validate.features },
      ...{ workers: options.workers, resume: options.resume === true, force: options.force },
    });
    await runTogether(processes, words, options.signal);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const { readRunManifest } = await import('../runs/load-model.ts');
  return readRunManifest(out);
}

export const trainStage = defineStage({
  kind: 'train',
  summary: 'train a model by a recipe',
  inputs: {
    on: datasetReference,
    old: z
      .strictObject({
        features: reference.optional(),
        credible: reference.optional(),
        prototypes: reference.optional(),
        boundaries: reference.optional(),
      })
      .default({}),
    validate: z
      .strictObject({ on: datasetReference, features: reference.optional() })
      .optional()
      .describe('held-out images for the recipe’s validation, and the old model’s features of them'),
    init: reference.optional().describe('what the recipe begins from, as its init.from'),
  },
  options: {
    recipe: z
      .union([z.string(), z.record(z.string(), z.unknown())])
      .describe('a recipe, or the path of one beside this file; its seed is the experiment’s'),
    processes: processesOption,
  },
  complete: async (stage, { id, file, seed, preset }) => {
    const { parseRecipe } = await import('../runs/load-recipe.ts');
    const { recipe } = stage;
    const path = typeof recipe === 'string' ? resolve(dirname(file), recipe) : null;
    const raw = (path === null ? recipe : readYaml(path)) as Readonly<Record<string, unknown>>;
    const init = stage.init === undefined ? {} : { init: { ...(raw['init'] as object), from: stage.init } };
    return {
      ...stage,
      recipe: parseRecipe({ name: id, preset, ...raw, ...init, seed }, `${file}: stage ${id}`, {
        folder: dirname(path ?? file),
      }),
    };
  },
  describe: ({ on, recipe }) => `train on ${on}, method ${methodTitle((recipe as Recipe).method)}`,
  run: ({ on, old, validate, init, recipe, processes }, { resume, out, force, workers, signal }) => {
    const parsed = recipe as Recipe;
    return trainModel({
      recipe: init === undefined ? parsed : { ...parsed, init: { ...parsed.init!, from: init } },
      ...{ dataset: on, old, out, force, workers, signal },
      ...(validate && { validate }),
      ...(processes !== undefined && { processes }),
      resume: resume && 'auto',
    });
  },
});
