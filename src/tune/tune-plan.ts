import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MANIFEST } from '../artifacts/manifest.ts';
import { UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { didYouMean } from '../base/suggestion.ts';
import type { Experiment } from '../experiment/load.ts';
import type { Stage } from '../experiment/stage.ts';
import { type ConfiguredMethod, configureMethod, type MethodSection } from '../methods/index.ts';
import { parseRecipe } from '../runs/load-recipe.ts';
import type { Recipe } from '../runs/recipe.ts';
import { scope } from '../torch/index.ts';
import { type OldModelPaths, pathsNeeded } from '../train/old-model-inputs.ts';
import { methodSetup } from '../train/session.ts';
import { epochsForFirstRound, roundsOf } from './halving.ts';
import { isSameMethod, type MethodOptions, nameOf, optionsOf, searched } from './searched.ts';

/** Stages that tuning adds to the experiment begin so. */
export const PREFIX = 'tune';

type TrainStage = {
  readonly on: string;
  readonly old: OldModelPaths;
  readonly recipe: Recipe;
  readonly init?: string;
};

/** What is tuned: the recipe that all trials share, and the methods with their options in the experiment. */
export type TunePlan = {
  readonly stage: string;
  readonly recipe: Recipe;
  readonly methods: readonly PlannedMethod[];
  /** Methods that no stage of the experiment has: their trial 0 has the defaults. */
  readonly withoutStage: readonly string[];
  /** The experiment with the stages that prepare validation classes, old features and the oracle. */
  readonly prepared: Experiment;
};

/** A method with its options in the experiment, the recipe of its trials, and what they get of the old model. */
export type PlannedMethod = {
  readonly method: string;
  readonly own: MethodOptions;
  readonly recipe: Recipe;
  readonly inputs: readonly (keyof OldModelPaths)[];
};

const isTrainStage = (stage: Stage): boolean =>
  stage.do === 'train' && Object.values(stage['old'] as OldModelPaths).some((path) => path !== undefined);
const trainStage = (stage: Stage): TrainStage => stage as unknown as TrainStage;

/**
 * Plans the tuning of an experiment's methods, or of others. Validation classes are drawn from the training classes of the new
 * models, so that no trial is trained on them and the experiment's own evaluation never uses them.
 * @throws UserError if the experiment has no stage to tune, its old features come from no `extract` stage, a method cannot be trained
 * by the recipe, the recipe begins from a model that may have seen validation classes, or its warm-up is longer than the first round
 */
export function planTuning(
  experiment: Experiment,
  {
    stage: wanted,
    methods: names,
    validation,
  }: { readonly stage?: string | undefined; readonly methods: readonly string[]; readonly validation: number },
): TunePlan {
  const { stages } = experiment;
  const taken = Object.keys(stages).find((id) => id.startsWith(PREFIX));
  if (taken !== undefined)
    throw new UserError(`stage ${taken}: names that begin with ${PREFIX} are those of the stages that tuning adds`);
  const trained = Object.entries(stages).filter(([, stage]) => isTrainStage(stage));
  const id = wanted ?? trained[0]?.[0];
  if (id === undefined)
    throw new UserError('the experiment trains no model with an old one, so there is nothing to tune');
  const base = trained.find(([name]) => name === id)?.[1];
  if (!base)
    throw new UserError(
      `${id}: no stage that trains with an old model${didYouMean(
        id,
        trained.map(([name]) => name),
      )}`,
    );
  const chosen = trainStage(base);
  const recipe = withoutValidation(chosen.recipe);
  requireNewWeights(id, chosen);
  requireShortWarmUp(id, recipe);
  const sameData = trained.map(([, stage]) => trainStage(stage)).filter(({ on }) => on === chosen.on);
  const inExperiment = [...new Set(sameData.map(methodNameOf))];
  const stageOf = (method: string): TrainStage | undefined =>
    [chosen, ...sameData].find((stage) => methodNameOf(stage) === method) ??
    [chosen, ...sameData].find((stage) => isSameMethod(methodNameOf(stage), method));
  const wantedMethods = names.length > 0 ? names : inExperiment;
  const tuned = wantedMethods.map((method) => planned(method, recipe, stageOf(method)));
  return {
    stage: id,
    recipe,
    methods: tuned,
    withoutStage: wantedMethods.filter((method) => !stageOf(method)),
    prepared: {
      ...experiment,
      stages: {
        ...stages,
        ...preparation(experiment, {
          ...{
            stage: { ...chosen, recipe },
            credible: [chosen, ...sameData].find(({ old }) => old.credible)?.old.credible,
          },
          ...{ inputs: new Set(tuned.flatMap(({ inputs }) => inputs)), classes: validation },
        }),
      },
    },
  };
}

const methodNameOf = ({ recipe }: TrainStage): string => nameOf(recipe.method as MethodSection);

/** Trials are judged on the tuning's own validation classes. */
const withoutValidation = ({ validation: _, ...recipe }: Recipe): Recipe => recipe;

/** @throws UserError if a training would begin from a model of this experiment or another run: that may have seen validation classes. */
function requireNewWeights(id: string, { init, recipe }: TrainStage): void {
  const from = init ?? recipe.init?.from;
  if (from === undefined || (init === undefined && !existsSync(join(from, MANIFEST)))) return;
  throw new UserError(
    `stage ${id} begins from the model ${from}, which may have been trained on classes that tuning holds out`,
    {
      hint: 'tune without init, or with a file of weights from elsewhere as init.from',
    },
  );
}

/** Rounds shorten a recipe's epochs and not its warm-up. @throws UserError if the first round would be over before it */
function requireShortWarmUp(id: string, { schedule: { warmupEpochs }, epochs }: Recipe): void {
  const [first] = roundsOf(epochs) as [number];
  if (warmupEpochs <= first) return;
  throw new UserError(
    `stage ${id}: schedule.warmupEpochs ${warmupEpochs}, and the first round trains ${first} of ${epochs} epochs: its rate would never fall`,
    {
      hint: `set the recipe’s schedule.warmupEpochs to ${first} or less, or its epochs to ${epochsForFirstRound(warmupEpochs)} or more`,
    },
  );
}

/**
 * A method as its stage in the experiment has it: with its options, its network and projection (BT²'s differ), and the optional inputs
 * that it is given; else at the defaults of the shared recipe's preset. @throws UserError if it cannot be trained by that recipe
 */
function planned(method: string, shared: Recipe, stage: TrainStage | undefined): PlannedMethod {
  const { options, section, bare } = searched(method);
  const { network, projection } = stage?.recipe ?? shared;
  const given = stage ? section(options.parse(optionsOf(stage.recipe.method as MethodSection))) : bare;
  const recipe = parseRecipe({ ...shared, network, projection, method: given }, `tuning ${method}`);
  const own = optionsOf(recipe.method as MethodSection);
  const configured = configureMethod(recipe.method);
  requireStarts(configured, recipe);
  const paths = (Object.keys(stage?.old ?? {}) as (keyof OldModelPaths)[]).filter(
    (path) => stage!.old[path] !== undefined,
  );
  return { method, own, recipe, inputs: [...new Set([...pathsNeeded(configured), ...paths])] };
}

/** @throws UserError if the method does not go with the recipe's dimensions, as it would say before its first step */
function requireStarts(method: ConfiguredMethod, recipe: Recipe): void {
  const { modules = {}, state = {} } = scope(() => method.start(methodSetup(recipe, 1, new Rng(recipe.seed))));
  const held = Object.values(modules).flatMap((module) => [...module.parameters()].map(([, parameter]) => parameter));
  for (const tensor of [...held, ...Object.values(state)]) tensor.dispose();
}

/** The stages before the trials, by id. */
function preparation(
  { stages, aliases }: Experiment,
  {
    stage: { on, old, recipe },
    credible,
    inputs,
    classes,
  }: {
    readonly stage: TrainStage;
    /** The mask of the first stage that has one. */
    readonly credible: string | undefined;
    readonly inputs: ReadonlySet<keyof OldModelPaths>;
    readonly classes: number;
  },
): Record<string, Stage> {
  const at = (reference: string | undefined): Stage | undefined =>
    reference === undefined ? undefined : stages[aliases[reference] ?? reference];
  const derived = [at(old.credible), at(old.prototypes), at(old.boundaries)].flatMap((stage) => (stage ? [stage] : []));
  const extracted = at(old.features) ?? at(derived[0]?.['features'] as string | undefined);
  const denoised = at(credible);
  if (extracted?.do !== 'extract')
    throw new UserError(
      'tuning embeds its training and validation classes with the old model, and the old features of this stage are made by no stage of the kind extract',
      {
        hint: 'let the experiment extract them: { do: extract, model: …, of: … }',
      },
    );
  const { keep, columnNormalize, rule } = denoised ?? { keep: 0.9, columnNormalize: true, rule: 'distance' };
  const [train, held, features] = [`${PREFIX}-classes.train`, `${PREFIX}-classes.eval`, `${PREFIX}-old`];
  const all: Record<string, Stage> = {
    [`${PREFIX}-classes`]: { do: 'hold-out', of: on, classes },
    [features]: { ...extracted, of: train },
    [`${PREFIX}-old-validation`]: { ...extracted, of: held },
    [`${PREFIX}-credible`]: { do: 'denoise', features, keep, columnNormalize, rule },
    [`${PREFIX}-prototypes`]: { do: 'average', features },
    [`${PREFIX}-boundaries`]: { do: 'boundaries', features },
    [`${PREFIX}-oracle`]: { do: 'train', on: train, old: {}, recipe: independent(recipe) },
    [`${PREFIX}-oracle-validation`]: { do: 'extract', model: `${PREFIX}-oracle`, of: held, flip: 'none', space: 'own' },
    [`${PREFIX}-ceiling`]: {
      ...{ do: 'evaluate', old: `${PREFIX}-old-validation`, oracle: `${PREFIX}-oracle-validation`, new: {} },
      ...JUDGING,
    },
  };
  const derivedKinds = ['credible', 'prototypes', 'boundaries'] as const;
  for (const kind of derivedKinds) if (!inputs.has(kind)) delete all[`${PREFIX}-${kind}`];
  return all;
}

/** The recipe without its method, and without a projection, which has no use without an old model. */
const independent = ({ projection: _, ...recipe }: Recipe): Recipe => ({
  ...recipe,
  name: 'oracle',
  projection: null,
  method: { kind: 'independent' },
});

/** Trials are compared by their numbers: intervals of one resample, no verdict. */
const JUDGING = { resamples: 1, trial: true } as const;

/** Places of what the preparation made. */
export type Prepared = (part: string) => string;

/** The stages of one training of a trial, which have a folder of their own. */
const TRIAL = { model: 'model', own: 'validation', inOld: 'crossing', judged: 'judged' } as const;

/** Where the evaluation of a trial in `folder` is. */
export const judgedIn = (folder: string): string => join(folder, TRIAL.judged);

/** What one training of a trial is called: `mixbct-3-5` is trial 3, 5 epochs. */
export const trialName = (method: string, trial: number, epochs: number): string =>
  `${method.replaceAll('+', '-')}-${trial}-${epochs}`;

/** Train, embed, evaluate. Inputs are paths, so that what the trial was made with is told by their content. */
export function trialStages(
  { recipe, inputs }: Pick<PlannedMethod, 'recipe' | 'inputs'>,
  { name, epochs }: { readonly name: string; readonly epochs: number },
  place: Prepared,
): Record<string, Stage> {
  const { model, own, inOld, judged } = TRIAL;
  const old = Object.fromEntries(inputs.map((what) => [what, place(what === 'features' ? 'old' : what)]));
  const of = place('classes.eval');
  const extract = { do: 'extract', model, of, flip: 'none' };
  return {
    [model]: { do: 'train', on: place('classes.train'), old, recipe: { ...recipe, name, epochs } },
    [own]: { ...extract, space: 'own' },
    ...(recipe.projection && { [inOld]: { ...extract, space: 'old' } }),
    [judged]: {
      do: 'evaluate',
      ...{ old: place('old-validation'), oracle: place('oracle-validation') },
      new: { [name]: recipe.projection ? { own, old: inOld } : own },
      ...JUDGING,
    },
  };
}
