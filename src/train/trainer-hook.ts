import type { Recipe } from '../runs/recipe.ts';
import type { RunFields, RunManifest } from '../runs/run-artifact.ts';
import type { LogLine } from '../runs/run-log.ts';
import type { Session } from './session.ts';
import type { StepResult } from './train-step.ts';

/** What a hook may read of a training. */
export interface TrainingState {
  /** The run's directory. */
  readonly out: string;
  readonly recipe: Recipe;
  /** Modules, optimiser and process group. A hook must not change them. */
  readonly session: Session;
  /** Steps taken. */
  readonly step: number;
  /** The current epoch, from 0. */
  readonly epoch: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  /** What the run has counted, by name. */
  readonly counts: ReadonlyMap<string, number>;
  /** Writes metrics to the run's events, where `mixbct watch` draws them. Every process calls it; one writes. */
  recordValidation(metrics: Readonly<Record<string, number>>): Promise<void>;
  /** Makes the current step the last one. Every process calls it. */
  endEarly(): void;
}

/** What a step reports to hooks. */
export type StepReport = Omit<StepResult, 'finite'> & {
  readonly lr: number;
  /** Of all processes. */
  readonly samples: number;
  /** How long the step waited for its batch. */
  readonly waitedMs: number;
};

type Awaitable = void | Promise<void>;

/**
 * Code that the trainer calls at fixed points of a training: a log, a validation, a live page. Every process calls its hooks
 * in the order of the list and waits for each. A hook that throws ends the run; its checkpoints stay. `Symbol.dispose` is
 * called at the end of the run, even if it fails.
 */
export interface TrainerHook extends Partial<Disposable> {
  /** The state is initialised or resumed; no step is taken yet. */
  onStart?(training: TrainingState): Awaitable;
  /** Before an epoch's first step. A run that resumes inside an epoch does not call it for that epoch. */
  onEpochStart?(training: TrainingState): Awaitable;
  /** After each step, skipped ones included. */
  onStep?(training: TrainingState, report: StepReport): Awaitable;
  /** After a line of the log is written, in the process that writes it. */
  onLogLine?(training: TrainingState, line: LogLine): Awaitable;
  /** After metrics were recorded, in the process that writes them. */
  onValidation?(training: TrainingState, metrics: Readonly<Record<string, number>>): Awaitable;
  /**
   * After the last step, before the model is written: the one point where a hook may change weights.
   * @returns what the manifest tells of its validations
   */
  onTrained?(training: TrainingState): RunFields['validation'] | undefined;
  /** After a checkpoint is written. */
  onCheckpoint?(training: TrainingState): Awaitable;
  /** After the run is complete on disk. */
  onEnd?(training: TrainingState, manifest: RunManifest): Awaitable;
}
