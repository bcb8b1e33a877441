import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, digestOf, fileDigest } from '../artifacts/digest.ts';
import { writeAtomic } from '../artifacts/durable-write.ts';
import { writeJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { NonFiniteError, optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { Rng } from '../base/rng.ts';
import { yamlOf } from '../base/yaml.ts';
import { openDataset } from '../data/open-dataset.ts';
import { readEvaluation } from '../eval/evaluation-artifact.ts';
import { type Experiment, loadExperiment, stagesToRun } from '../experiment/load.ts';
import { runStages } from '../experiment/run.ts';
import { StageStates } from '../experiment/states.ts';
import type { Recipe } from '../runs/recipe.ts';
import { stages } from '../stages/index.ts';
import { betterHalf, ranked, roundsOf } from './halving.ts';
import { gainMetrics, scoreTrial, type TuneMetric } from './score.ts';
import { drawTrials } from './search-space.ts';
import { type MethodOptions, searched } from './searched.ts';
import { TrialRuns } from './trial-runs.ts';
import {
  judgedIn,
  type PlannedMethod,
  PREFIX,
  type Prepared,
  planTuning,
  type TunePlan,
  trialName,
  trialStages,
} from './tune-plan.ts';
import {
  readTuning,
  type Trial,
  type TunedMethod,
  type Tuning,
  tuningArtifact,
  tuningFiles,
} from './tuning-artifact.ts';
import { drawTuning } from './tuning-report.ts';

export type TuneOptions = {
  /** Folder of the experiment: its finished stages are taken, and the trials are stages beside them. */
  readonly out: string;
  readonly dataFolder: string;
  /** Changes of single settings of the experiment. */
  readonly settings?: readonly string[];
  /** Default: those of the experiment's models that are trained with the old one. */
  readonly methods?: readonly string[];
  /** The stage whose recipe the trials share; default: the first that trains with an old model. */
  readonly stage?: string | undefined;
  /** Of each method. */
  readonly trials: number;
  /** Classes that no trial is trained on. */
  readonly validation: number;
  readonly metric: TuneMetric;
  readonly workers: number;
  /** Trials that are trained at a time; several are a process each, which share the threads. Default: 1. */
  readonly atOnce?: number;
  readonly force?: boolean;
  readonly signal: AbortSignal;
};

/** Folder of the result, and of the trials, in that of the experiment. */
export const tuningFolder = (out: string): string => join(out, 'tuning');
export const trialsFolder = (out: string): string => join(out, 'tuning-trials');

/**
 * Searches for options of methods by successive halving on validation classes: every method gets the same number of trials and
 * the same epochs. Finished trainings are kept and skipped the next time, an interrupted one continues. With the same seed the
 * same options are chosen.
 * @throws UserError if the experiment cannot be tuned, the old model has seen validation classes, or a result with other
 * options stands there; Interrupted if the signal has fired
 */
export async function tuneExperiment(file: string, options: TuneOptions): Promise<Tuning> {
  const { out, settings = [], methods = [], stage, trials, validation, metric, force = false } = options;
  const experiment = await loadExperiment(file, { kinds: stages, settings });
  const plan = planTuning(experiment, { stage, methods, validation });
  const { title, seed } = experiment;
  const folder = tuningFolder(out);
  const drawn = plan.methods.map(({ method, own }) => {
    const rng = new Rng(seed).split('tune', method);
    return drawTrials(searched(method), own, { trials, rng });
  });
  const key = digestOf(
    canonicalJson({
      title,
      seed,
      methods: plan.methods.map(({ recipe: _, ...method }) => method), // recipes are among what is made, by content
      made: settingsByContent(plan, options),
      aliases: experiment.aliases,
      drawn,
      validation,
      metric,
    }),
  );
  if (existsSync(join(folder, MANIFEST)) && !force) {
    if (tuningArtifact.open(folder).key === key) return readTuning(folder);
    throw new UserError(`${folder}: the result of a tuning with different options or data stands there`, {
      hint: optionHint('choose another --out, or pass --force to replace it: trainings that fit are kept'),
    });
  }
  const { place, ceiling } = await prepare(plan, options);
  const rounds = roundsOf(plan.recipe.epochs);
  const runs = new TrialRuns(options.atOnce ?? 1, options.signal);
  const search = { rounds, place, experiment, options, runs };
  const tuned = await allEnded(
    plan.methods.map((method, i) => tuneMethod({ method, trials: drawn[i]!, ...search })),
  ).catch((error) => {
    throw runs.cause ?? error;
  });
  using held = openDataset(place('classes.eval'));
  const ofSelf = (name: string): number[] =>
    gainMetrics.map((metric) => ceiling.tests.find(({ query }) => query === name)!.judged!.find((one) => one.metric === metric)!.value.value); // biome-ignore format: short
  const role = (wanted: string): string => ceiling.models.find((model) => model.role === wanted)!.name;
  const tuning: Tuning = {
    ...{ title, seed, stage: plan.stage, metric, rounds },
    validation: { classes: held.classes, images: held.size },
    oldOld: ofSelf(role('old')),
    oracle: ofSelf(role('oracle')),
    methods: tuned.map((one) => (plan.withoutStage.includes(one.method) ? { ...one, defaults: true } : one)),
  };
  await write(folder, tuning, { key, plan, force });
  return tuning;
}

const preparedStages = ({ prepared }: Pick<TunePlan, 'prepared'>): string[] =>
  Object.keys(prepared.stages).filter((id) => id.startsWith(PREFIX));

/** Settings of the stages that all trials share, and of each method's training, with the content of what they take from outside. */
function settingsByContent({ prepared, methods }: TunePlan, { out, dataFolder, force = false }: TuneOptions) {
  const states = new StageStates(prepared, { out, dataFolder, force });
  const shared = stagesToRun(prepared, preparedStages({ prepared }));
  const oracle = `${PREFIX}-oracle`; // a method may have another network than the shared recipe, from a file of its own
  const trained = methods.map(({ recipe }) => [oracle, { ...prepared.stages[oracle]!, recipe }] as const);
  return [...shared, ...trained].map(([id, stage]) => [id, states.settingsOf(stage, states.outsideOf(id, stage))]);
}

/** Makes what all trials share. */
async function prepare(plan: TunePlan, { out, dataFolder, workers, signal, force = false }: TuneOptions) {
  const only = preparedStages(plan);
  const places = await runStages(plan.prepared, { out, dataFolder, workers, signal, force, only });
  const place: Prepared = (part) => places.get(`${PREFIX}-${part}`)!;
  const ceiling = readEvaluation(place('ceiling'));
  const relation = ceiling.models.find(({ role }) => role === 'old')?.trainingData?.relation;
  if (relation === 'same' || relation === 'overlapping')
    throw new UserError(
      'the old model was trained on classes of the new models, so some validation classes are no new ones to it',
      {
        hint: 'tune on an experiment with open classes, such as experiments/quickstart.yaml',
      },
    );
  return { place, ceiling };
}

/** Waits for all, even if one fails. @throws what failed first */
async function allEnded<T>(begun: readonly Promise<T>[]): Promise<readonly T[]> {
  const failures: unknown[] = [];
  for (const one of begun) one.catch((error) => failures.push(error));
  await Promise.allSettled(begun);
  if (failures.length > 0) throw failures[0];
  return Promise.all(begun);
}

type MethodSearch = {
  readonly method: PlannedMethod;
  readonly trials: readonly MethodOptions[];
  readonly rounds: readonly number[];
  readonly place: Prepared;
  readonly experiment: Experiment;
  readonly options: TuneOptions;
  readonly runs: TrialRuns;
};

/** Successive halving. The options of the experiment are tried in every round, so that the others are compared with them. */
async function tuneMethod({ trials, rounds, ...search }: MethodSearch): Promise<TunedMethod> {
  const records: Trial[] = trials.map((options, trial) => ({ trial, options, rounds: [] }));
  const scoreOf = ({ trial, rounds: done, problem }: Trial) => ({
    trial,
    score: problem === undefined ? done.at(-1)!.score : Number.NEGATIVE_INFINITY,
  });
  let going = records.map(({ trial }) => trial);
  for (const [nth, epochs] of rounds.entries()) {
    if (nth > 0) going = [...new Set([...betterHalf(going.map((trial) => scoreOf(records[trial]!))), 0])];
    const tried = going.map(async (trial) => {
      const record = records[trial]!;
      if (record.problem !== undefined) return;
      records[trial] = await tryOnce(record, epochs, search);
    });
    await allEnded(tried);
  }
  const last = records.filter(({ trial, problem }) => going.includes(trial) && problem === undefined);
  const [best] = ranked(last.map(scoreOf));
  return { method: search.method.method, trials: records, chosen: best?.trial ?? null };
}

/** Trains and evaluates a trial, unless that is done. A training that diverges is a result; other errors end the search. */
async function tryOnce(
  record: Trial,
  epochs: number,
  { method: planned, place, experiment, options, runs }: Omit<MethodSearch, 'trials' | 'rounds'>,
): Promise<Trial> {
  const { method, recipe, inputs } = planned;
  const [{ title, seed, preset }, { dataFolder, workers, force = false, metric }] = [experiment, options];
  const name = trialName(method, record.trial, epochs);
  const section = searched(method).section(record.options) as Recipe['method'];
  const out = join(trialsFolder(options.out), name);
  const made = trialStages({ recipe: { ...recipe, method: section }, inputs }, { name, epochs }, place);
  try {
    await runs.run(name, { title, seed, preset, stages: made, out, dataFolder, workers, force });
    const [candidate] = readEvaluation(judgedIn(out)).candidates;
    const score = scoreTrial(candidate!.comparisons, metric);
    logLine(`${method} ${record.trial}, ${epochs} epochs: score ${(100 * score.score).toFixed(2)}`);
    return { ...record, rounds: [...record.rounds, { epochs, ...score }] };
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw runs.failed(error);
    logLine(`${method} ${record.trial}, ${epochs} epochs: diverged`);
    return { ...record, problem: 'diverged' };
  }
}

async function write(
  folder: string,
  tuning: Tuning,
  { key, plan, force }: { readonly key: string; readonly plan: TunePlan; readonly force: boolean },
): Promise<void> {
  await tuningArtifact.write(folder, { force }, (into) => {
    const files = tuningFiles(into);
    writeJson(files.result, tuning);
    writeAtomic(files.figure, drawTuning(tuning));
    for (const [i, { method, trials, chosen }] of tuning.methods.entries()) {
      if (chosen === null) continue;
      const { name: _, ...shared } = plan.methods[i]!.recipe;
      const recipe = { ...shared, method: searched(method).section(trials[chosen]!.options) };
      writeAtomic(
        files.recipe(method),
        `# ${method} with the options that a tuning chose, by ${tuning.metric}.\n${yamlOf(recipe)}`,
      );
    }
    const methods = tuning.methods.map(({ method }) => method);
    return { key, digest: fileDigest(files.result), metric: tuning.metric, methods };
  });
}
