import type { Evaluation } from '../eval/index.ts';
import { type Experiment, loadExperiment } from '../experiment/load.ts';
import { type PlannedStage, planStages } from '../experiment/plan.ts';
import { requireExperimentFolder } from '../experiment/records.ts';
import { type RunOptions, runStages } from '../experiment/run.ts';
import { stages } from './index.ts';

export type RunExperimentOptions = Pick<RunOptions, 'out'> &
  Partial<RunOptions> & {
    /** Changes of single settings, such as `stages.new.recipe.epochs=8`. */
    readonly settings?: readonly string[];
  };

export type ExperimentResult = {
  /** Place of each stage's outputs: `id`, or `id.part`. */
  readonly places: Readonly<Record<string, string>>;
  /** Of the stages that judge, by id. */
  readonly evaluations: Readonly<Record<string, Evaluation>>;
};

/** Runs an experiment file; finished stages are skipped, interrupted ones continue. @throws UserError, Interrupted */
export async function runExperiment(file: string, options: RunExperimentOptions): Promise<ExperimentResult> {
  const { experiment, ...how } = await opened(file, options);
  const places = await runStages(experiment, {
    ...how,
    workers: options.workers ?? 1,
    signal: options.signal ?? new AbortController().signal,
  });
  const { readEvaluation } = await import('../eval/evaluation-artifact.ts');
  const judged = Object.keys(experiment.stages).filter(
    (id) => experiment.stages[id]!.do === 'evaluate' && places.has(id),
  );
  return {
    places: Object.fromEntries(places),
    evaluations: Object.fromEntries(judged.map((id) => [id, readEvaluation(places.get(id)!)])),
  };
}

/** What `runExperiment` would do with each stage, and why; reads only. */
export async function planExperiment(file: string, options: RunExperimentOptions): Promise<PlannedStage[]> {
  const { experiment, ...how } = await opened(file, options);
  return planStages(experiment, how);
}

async function opened(
  file: string,
  { out, dataFolder = 'data', settings = [], force = false, only = [] }: RunExperimentOptions,
) {
  const experiment: Experiment = await loadExperiment(file, { kinds: stages, settings });
  if (!force) requireExperimentFolder(out, file, Object.keys(experiment.stages));
  return { experiment, out, dataFolder, force, only };
}
