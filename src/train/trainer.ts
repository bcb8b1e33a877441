import { join } from 'node:path';
import { isDiskFull, requireDiskSpace } from '../artifacts/durable-write.ts';
import { writeJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { Interrupted, optionHint, UserError } from '../base/errors.ts';
import { logLine, progress } from '../base/progress.ts';
import { Rng } from '../base/rng.ts';
import { type Batch, describeEmptyClasses, type Loader, modelInput, shuffledOrder } from '../data/index.ts';
import { embedWith } from '../encoders/index.ts';
import { claimOnRankZero } from '../features/index.ts';
import { methodTitle } from '../methods/index.ts';
import { stateBytes } from '../nn/state-dict.ts';
import { describeInit, type InitRecord } from '../runs/initial-weights.ts';
import type { Recipe } from '../runs/recipe.ts';
import { type RunFields, type RunManifest, removeCheckpoints, runFiles } from '../runs/run-artifact.ts';
import type { LogLine } from '../runs/run-log.ts';
import { RunOutput } from '../runs/run-output.ts';
import { copyScript, writeModel } from '../runs/write-model.ts';
import { singleProcess, type Tensor } from '../torch/index.ts';
import { CheckpointStore } from './checkpoint-store.ts';
import { allReduceAny, broadcastState, countOnce, loadFullState, withFullState } from './collectives.ts';
import { embedSet } from './embed-set.ts';
import { NonFiniteLossPolicy, requireFiniteState } from './non-finite-loss-policy.ts';
import { reportReplacedImages } from './replaced-images.ts';
import type { RunEvents } from './run-events.ts';
import { disposeSession, openSession, type Session, sessionState } from './session.ts';
import { TensorBoardLog } from './tensorboard-log.ts';
import type { StepResult, StepSettings } from './train-step.ts';
import type { TrainerHook, TrainingState } from './trainer-hook.ts';
import { TrainingLog } from './training-log.ts';
import type { TrainingPlan, TrainOptions } from './training-plan.ts';

/** Steps between two lines of the log, unless told. */
const LOG_EVERY = 20;
/** Prefix of the head's tensors in a session's state. */
const HEAD = 'head.';
/** Name of the count of images without an old embedding. */
const WITHOUT_OLD = 'images without an old embedding';
/** Checkpoints that exist at the same time while one is written. */
const CHECKPOINTS = 3;

/** Rank 0 locks the folder of the run and checks that it may be written; null on other ranks. @throws UserError in every process if it is refused. */
export function claimRun(options: TrainOptions): RunOutput | null {
  const { out, dataset, resume = false, force = false, inputs = [], distributed = null } = options;
  return claimOnRankZero(distributed, () => RunOutput.claim(out, { resume, force, inputs: [dataset.path, ...inputs] }));
}

/** What a trainer works with; a process that writes nothing has no output. */
type TrainerParts = { readonly output: RunOutput | null; readonly loader: Loader; readonly events: RunEvents };

/** State of one training, and all that its loop does between two optimiser steps. */
export class Trainer implements TrainingState, Disposable {
  readonly out: string;
  readonly recipe: Recipe;
  readonly session: Session;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  readonly policy: NonFiniteLossPolicy;
  step = 0;
  epoch = 0;
  readonly counts = new Map<string, number>();
  readonly #options: TrainOptions;
  readonly #plan: TrainingPlan;
  readonly #output: RunOutput | null;
  readonly #loader: Loader;
  readonly #events: RunEvents;
  readonly #rng: Rng;
  readonly #checkpoints: CheckpointStore;
  readonly #hooks: readonly TrainerHook[];
  readonly #startedMs: number;
  #waitedMs = 0;
  #init: InitRecord | undefined;
  #endsEarly = false;
  /** The step of the latest checkpoint. */
  #saved: number | undefined;

  constructor(options: TrainOptions, plan: TrainingPlan, { output, loader, events }: TrainerParts) {
    const { recipe, out, distributed, overlap = true, skipNonFinite = 0, logEvery = LOG_EVERY, hooks = [] } = options;
    const group = distributed?.group ?? singleProcess;
    const files = runFiles(out);
    this.out = out;
    this.recipe = recipe;
    this.stepsPerEpoch = plan.stepsPerEpoch;
    this.totalSteps = plan.totalSteps;
    this.#options = options;
    this.#plan = plan;
    this.#output = output;
    this.#loader = loader;
    this.#events = events;
    this.#rng = new Rng(recipe.seed);
    const dataClasses = options.dataset.classes;
    this.session = openSession(recipe, plan.classes, this.#rng, { group, overlap, dataClasses });
    this.#startedMs = performance.now();
    this.policy = new NonFiniteLossPolicy(skipNonFinite, this.session);
    this.#checkpoints = new CheckpointStore(files);
    const bar = output && progress(recipe.name ?? methodTitle(recipe.method), plan.totalSteps);
    this.#hooks = [
      ...(bar ? [new TrainingLog(files.log, bar, logEvery, this.#tellLine)] : []),
      ...(output && recipe.logs === 'tensorboard' ? [new TensorBoardLog()] : []),
      ...hooks,
    ];
  }

  /** Adds to a count of log, checkpoints and manifest; the first of each name is reported. */
  readonly count = (what: string, by: number): void => {
    if (by === 0) return;
    if (this.#output && !this.counts.has(what)) logLine(`${what}: ${by} in this step; log and manifest count them`);
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  };

  /** Initialises or resumes the state, the same in every process. After it there is a checkpoint. */
  async start(): Promise<void> {
    const { dataset, resume = false, distributed = null } = this.#options;
    const { warning, withoutOld, identity, init } = this.#plan;
    const output = this.#output;
    if (output) {
      const empty = describeEmptyClasses(dataset);
      if (warning) logLine(warning);
      if (empty) logLine(`warning: ${dataset.path}: ${empty}`);
      if (!resume) output.begin();
      if (!resume) copyScript(this.out, this.recipe.network);
      requireDiskSpace(join(this.out, MANIFEST), stateBytes(sessionState(this.session)) * (resume ? 1 : CHECKPOINTS));
    }
    this.#init = init ? loadFullState(this.session, distributed, (state) => init.copyInto(state)) : undefined;
    if (output && this.#init && !resume) logLine(`${this.out}: ${describeInit(this.#init)}`);
    const { step, counts } = resume
      ? loadFullState(this.session, distributed, (state) => this.#checkpoints.load(identity, () => state))
      : { step: 0, counts: withoutOld > 0 ? { [WITHOUT_OLD]: withoutOld } : {} };
    broadcastState(this.session, distributed);
    this.step = step;
    this.#saved = step;
    for (const [what, count] of Object.entries(counts)) this.counts.set(what, count);
    if (output) writeJson(runFiles(this.out).recipe, this.recipe);
    this.#events.open(step);
    for (const hook of this.#hooks) await hook.onStart?.(this);
    if (!resume) await this.save();
    if (output && withoutOld > 0)
      logLine(
        `${this.out}: training skips ${withoutOld} of ${dataset.size} images: the old model has no embedding of them`,
      );
  }

  /** Call it before an epoch's batches, also when a run resumes inside it. */
  async startEpoch(): Promise<void> {
    this.epoch = Math.floor(this.step / this.stepsPerEpoch);
    if (this.step % this.stepsPerEpoch !== 0) return;
    for (const hook of this.#hooks) await hook.onEpochStart?.(this);
    await this.session.method.onEpoch?.({
      epoch: this.epoch,
      old: this.#options.old.constants,
      embedTrainSet: () => this.#embedTrainSet(),
    });
  }

  #embedTrainSet(): Promise<Float32Array> {
    const { dataset, distributed = null, skipBadImages = false } = this.#options;
    broadcastState(this.session, distributed); // running statistics are each process's own
    const beforeBatch = (): void => {
      if (this.isStopRequested()) throw this.interrupted();
    };
    const skipBad = skipBadImages && 'blank';
    const { session } = this;
    const side = this.recipe.network.inputSide;
    const { pixels, resize } = modelInput(this.recipe.input);
    const encoder = { side, resize, embed: embedWith(session, { side, pixels, precision: session.precision }) };
    return embedSet(encoder, this.#loader, dataset, { group: session.group, skipBad, beforeBatch });
  }

  /** This process's shares of the epoch's batches, from the next step on. */
  batches(): AsyncGenerator<Batch> {
    const { recipe, epoch, stepsPerEpoch } = this;
    const { seed, augment, network } = recipe;
    const { samples } = this.#options.old;
    const { size, share } = this.#plan;
    const { processes, rank } = this.session.group;
    return this.#loader.epoch({
      batchSize: share,
      imageSide: network.inputSide,
      resize: modelInput(recipe.input).resize,
      // as many steps as one process would take, so that none is padded
      order: shuffledOrder(size, epoch, { seed, processes, rank })
        .slice(0, stepsPerEpoch * share)
        .map((i) => samples?.[i] ?? i),
      dropLast: true,
      firstBatch: this.step % stepsPerEpoch,
      augment,
      seed,
      epoch,
      skipBad: this.#options.skipBadImages ?? false,
    });
  }

  stepSettings(): StepSettings {
    const { step, epoch, recipe, count } = this;
    return {
      progress: step / this.totalSteps,
      epoch,
      epochs: recipe.epochs,
      rng: this.#rng.split('step', step),
      count,
      lr: this.#plan.lrAt(step),
      clipNorm: recipe.clipNorm,
      side: recipe.network.inputSide,
      pixels: modelInput(recipe.input).pixels,
    };
  }

  /** Counts the step and reports it to the hooks. */
  async endStep({ finite: _, ...result }: StepResult, { waitedMs }: Pick<Batch, 'waitedMs'>): Promise<void> {
    const report = { ...result, lr: this.#plan.lrAt(this.step), samples: this.recipe.batchSize, waitedMs };
    this.step++;
    this.#events.at(this.step);
    this.#waitedMs += waitedMs;
    for (const hook of this.#hooks) await hook.onStep?.(this, report);
  }

  readonly #tellLine = async (line: LogLine): Promise<void> => {
    for (const hook of this.#hooks) await hook.onLogLine?.(this, line);
  };

  async recordValidation(metrics: Readonly<Record<string, number>>): Promise<void> {
    this.#events.validation(metrics);
    if (this.#output) for (const hook of this.#hooks) await hook.onValidation?.(this, metrics);
  }

  endEarly(): void {
    this.#endsEarly = true;
  }

  /** Whether the last step is taken. */
  get isTrained(): boolean {
    return this.#endsEarly || this.step >= this.totalSteps;
  }

  /** Whether any process was told to stop. Every process must ask. */
  isStopRequested(): boolean {
    return allReduceAny(this.session.group, this.#options.signal?.aborted ?? false);
  }

  interrupted(): Interrupted {
    return new Interrupted(`stopped at step ${this.step} of ${this.totalSteps}; the checkpoint is written`);
  }

  /** Writes a checkpoint. @throws UserError if the state is non-finite. */
  async save(): Promise<void> {
    const { distributed = null } = this.#options;
    requireFiniteState(this.session, this.step, this.#saved);
    const position = { step: this.step, counts: Object.fromEntries(this.counts), ...this.#plan.identity };
    withFullState(this.session, distributed, (state) => this.#checkpoints.save(position, () => state));
    this.#saved = this.step;
    for (const hook of this.#hooks) await hook.onCheckpoint?.(this);
  }

  /** Writes model and manifest and removes the checkpoints. */
  async finish(): Promise<RunManifest> {
    const { distributed = null } = this.#options;
    const validation = this.#hooks.map((hook) => hook.onTrained?.(this)).find((one) => one !== undefined);
    requireFiniteState(this.session, this.step, this.#saved); // a checkpoint of an older version may hold any numbers
    const bad = this.#loader.bad;
    const badImages = countOnce(this.session.group, bad.map(({ index }) => index), this.#options.dataset.size); // biome-ignore format: short
    reportReplacedImages(this.out, bad);
    const manifest = withFullState(
      this.session,
      distributed,
      (state) => this.#write(state, badImages, validation),
      (name) => name.startsWith(HEAD),
    );
    for (const hook of this.#hooks) await hook.onEnd?.(this, manifest);
    return manifest;
  }

  #write(
    headState: Iterable<readonly [string, Tensor]>,
    badImages: number,
    validation: RunFields['validation'],
  ): RunManifest {
    const elapsedMs = performance.now() - this.#startedMs;
    const manifest = writeModel(this.out, {
      recipe: this.recipe,
      modules: this.session,
      head: Array.from(headState, ([name, value]) => [name.slice(HEAD.length), value] as const),
      dataset: this.#options.dataset,
      inputs: this.#options.inputs ?? [],
      ...(this.#init && { init: this.#init }),
      old: this.#options.old.digest,
      processes: this.session.group.processes,
      steps: this.step,
      seconds: elapsedMs / 1000,
      dataWaitShare: this.#waitedMs / elapsedMs,
      badImages,
      ...(validation && { validation }),
      counts: Object.fromEntries(this.counts),
    });
    writeJson(join(this.out, MANIFEST), manifest);
    removeCheckpoints(this.out);
    this.#output?.finish();
    return manifest;
  }

  /** Cleans up after a failure. @returns the error to throw */
  failed(error: unknown): unknown {
    // a new run that took no step leaves nothing behind; a resumed run keeps everything
    if (this.step === 0 && !this.#options.resume && !(error instanceof Interrupted)) this.#output?.abandon();
    return isDiskFull(error) ? diskFull(this.out, this.step, this.#saved, error) : error;
  }

  [Symbol.dispose](): void {
    for (const hook of this.#hooks) hook[Symbol.dispose]?.();
    this.policy.dispose();
    disposeSession(this.session);
  }
}

function diskFull(out: string, step: number, saved: number | undefined, cause: unknown): UserError {
  const begun = saved !== undefined && step > 0;
  return new UserError(
    `${out}: the disk is full at step ${step}${begun ? `; the checkpoint of step ${saved} is kept` : ''}`,
    {
      hint: begun
        ? ['free some space, then start it again', optionHint('resume with --resume')]
        : 'free some space, then start it again',
      cause,
    },
  );
}
