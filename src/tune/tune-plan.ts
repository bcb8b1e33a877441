import { join } from 'node:path';
import { UserError } from '../base/errors.ts';
import { didYouMean } from '../base/suggestion.ts';
import type { Experiment } from '../experiment/load.ts';
import type { Stage } from '../experiment/stage.ts';
import { configureMethod, type MethodSection } from '../methods/index.ts';
import type { Recipe } from '../runs/recipe.ts';
import { type OldModelPaths, pathsNeeded } from '../train/old-model-inputs.ts';
import { type MethodOptions, nameOf, optionsOf, searched } from './searched.ts';

/** Stages that tuning adds to the experiment begin so. */
export const PREFIX = 'tune';

type TrainStage = { readonly on: string; readonly old: OldModelPaths; readonly recipe: Recipe };

/** What is tuned: the recipe that all trials share, and the methods with their options in the experiment. */
export type TunePlan = {
  readonly stage: string;
  readonly recipe: Recipe;
  readonly methods: readonly { readonly method: string; readonly own: MethodOptions; readonly recipe: Recipe }[];
  /** The experiment with the stages that prepare validation classes, old features and the oracle. */
  readonly prepared: Experiment;
};

const isTrainStage = (stage: Stage): boolean =>
  stage.do === 'train' && Object.values(stage['old'] as OldModelPaths).some((path) => path !== undefined);
const trainStage = (stage: Stage): TrainStage => stage as unknown as TrainStage;

/**
 * Plans the tuning of an experiment's methods, or of others. Validation classes are drawn from the training classes of the new
 * models, so that no trial is trained on them and the experiment's own evaluation never uses them.
 * @throws UserError if the experiment has no stage to tune, or its old features come from no `extract` stage
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
  const { on, recipe } = trainStage(base);
  const sections = trained
    .map(([, stage]) => trainStage(stage))
    .filter((stage) => stage.on === on)
    .map(({ recipe: { method } }) => method as MethodSection);
  const inExperiment = [...new Set(sections.map(nameOf))];
  const tuned = (names.length > 0 ? names : inExperiment).map((method) => {
    const { options, section } = searched(method);
    const given = sections.find((other) => nameOf(other) === method);
    const own = options.parse(given ? optionsOf(given) : {});
    return { method, own, recipe: { ...recipe, method: section(own) as Recipe['method'] } };
  });
  const inputs = new Set(
    tuned.flatMap(({ recipe: { method } }) => pathsNeeded(configureMethod(method as MethodSection))),
  );
  return {
    stage: id,
    recipe,
    methods: tuned,
    prepared: {
      ...experiment,
      stages: { ...stages, ...preparation(experiment, trainStage(base), inputs, validation) },
    },
  };
}

/** The stages before the trials, by id. */
function preparation(
  { stages, aliases }: Experiment,
  { on, old, recipe }: TrainStage,
  inputs: ReadonlySet<keyof OldModelPaths>,
  classes: number,
): Record<string, Stage> {
  const at = (reference: string | undefined): Stage | undefined =>
    reference === undefined ? undefined : stages[aliases[reference] ?? reference];
  const denoised = at(old.credible);
  const derived = [denoised, at(old.prototypes), at(old.boundaries)].flatMap((stage) => (stage ? [stage] : []));
  const extracted = at(old.features) ?? at(derived[0]?.['features'] as string | undefined);
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
  recipe: Recipe,
  { name, epochs }: { readonly name: string; readonly epochs: number },
  place: Prepared,
): Record<string, Stage> {
  const { model, own, inOld, judged } = TRIAL;
  const needed = pathsNeeded(configureMethod(recipe.method as MethodSection));
  const old = Object.fromEntries(needed.map((what) => [what, place(what === 'features' ? 'old' : what)]));
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
