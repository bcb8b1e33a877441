import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { canonicalJson, fileDigest } from '../artifacts/digest.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { UserError } from '../base/errors.ts';
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
import { processesOption, runTogether, threadsOfEach, wordsOf } from './together.ts';

export type TrainModelOptions = Omit<TrainOptions, 'dataset' | 'old' | 'resume' | 'validation'> & {
  /** Folder, or prefix of a .rec and .idx. */
  readonly dataset: string;
  /** Folders of what the old model left behind. */
  readonly old?: OldModelPaths;
  /** What the recipe's validation measures on. */
  readonly validate?: ValidationPaths;
  /**
   * auto: an interrupted run continues, and a finished one of this recipe, data and old model is taken as it is. With `force`, an
   * interrupted one of another training begins anew.
   */
  readonly resume?: boolean | 'auto';
  /** With auto and `force`: an interrupted run whose checkpoints are damaged begins anew, too. Default: as `force`. */
  readonly restart?: boolean;
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
  restart = force,
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
  const goesOn = begun && !(force && (await mustBeginAnew(parts, restart)));
  return { ...(await trained({ resume: goesOn, force: force && !goesOn })), ...told };
}

/** Whether an interrupted run cannot go on as this training; one that is damaged may only be replaced with `restart`. Logs why. */
async function mustBeginAnew(training: TrainOptions, restart: boolean): Promise<boolean> {
  const [{ CheckpointStore }, { trainingIdentity }, { runFiles }] = await Promise.all([
    import('../train/checkpoint-store.ts'),
    import('../train/training-plan.ts'),
    import('../runs/run-artifact.ts'),
  ]);
  const found = new CheckpointStore(runFiles(training.out)).belongsTo(trainingIdentity(training));
  if (found === 'same' || (found === 'damaged' && !restart)) return false;
  const why = found === 'another' ? 'its checkpoint is of another training' : 'none of its checkpoints is intact';
  logLine(`${training.out}: ${why}; the training begins anew`);
  return true;
}

/** Has several processes train what `trainModel` would. @throws UserError if there are hooks, which are called in this process alone */
async function trainTogether(
  processes: number,
  { recipe, out, dataset, old = {}, validate = {}, ...options }: TrainModelOptions,
) {
  if (options.hooks && options.hooks.length > 0)
    throw new UserError(`${out}: hooks of this process cannot be called by ${processes} processes`, {
      hint: 'leave out hooks, or processes',
    });
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-recipe-'));
  try {
    const file = join(folder, 'recipe.json');
    writeFileSync(file, JSON.stringify(recipe));
    const oldOptions = Object.fromEntries(Object.entries(old).map(([part, at]) => [`old-${part}`, at]));
    const words = wordsOf(['train', file], {
      ...{ data: dataset, out, ...oldOptions },
      ...{ 'validate-on': validate.on, 'validate-features': validate.features },
      ...{ workers: options.workers, resume: options.resume === true, force: options.force },
      ...{ 'skip-bad-images': options.skipBadImages, 'skip-non-finite': options.skipNonFinite },
      ...{ 'save-every': options.saveEvery, 'log-every': options.logEvery, 'no-overlap': options.overlap === false },
      ...(await threadsOfEach(processes)),
    });
    await runTogether(processes, words, options.signal);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const { readRunManifest } = await import('../runs/load-model.ts');
  return readRunManifest(out);
}

/** The recipe with what a stage begins from, if it names that: its place, or the reference that stands for it. */
const beginningFrom = (init: string | undefined, recipe: Recipe): Recipe =>
  init === undefined ? recipe : { ...recipe, init: { ...recipe.init!, from: init } };

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
  files: ['recipe.network.file', 'recipe.init.from'],
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
    const parsed = parseRecipe({ name: id, preset, ...raw, ...init, seed }, `${file}: stage ${id}`, {
      folder: dirname(path ?? file),
    });
    return { ...stage, recipe: beginningFrom(stage.init, parsed) };
  },
  describe: ({ on, recipe }) => `train on ${on}, method ${methodTitle((recipe as Recipe).method)}`,
  run: ({ on, old, validate, init, recipe, processes }, { resume, restart, out, force, workers, signal }) =>
    trainModel({
      recipe: beginningFrom(init, recipe as Recipe),
      ...{ dataset: on, old, out, force, restart, workers, signal },
      ...(validate && { validate }),
      ...(processes !== undefined && { processes }),
      resume: resume && 'auto',
    }),
});
