import { existsSync, rmSync } from 'node:fs';
import { renameDurably } from '../artifacts/durable-write.ts';
import { FileError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { readTextFile } from '../base/text-file.ts';
import { type Dataset, Loader, modelInput } from '../data/index.ts';
import { embedWith } from '../encoders/index.ts';
import { loadStateDict } from '../nn/state-dict.ts';
import type { ValidationRecipe } from '../runs/recipe.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { parseRunEvent } from '../runs/run-log.ts';
import { type DistributedContext, inference, scope, tensor, toFloat32 } from '../torch/index.ts';
import { readCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { allReduceSum, broadcastState, loadFullState, withFullState } from './collectives.ts';
import { embedSet } from './embed-set.ts';
import type { TrainerHook, TrainingState } from './trainer-hook.ts';

/** Embeddings of the held-out images, flat [N · D]; `inOldSpace` is the same, or projected. */
export type HeldOutRows = { readonly own: Float32Array; readonly inOldSpace: Float32Array };

export type ValidationOptions = {
  readonly validation: ValidationRecipe;
  /** Held-out images: none of their classes is trained on. */
  readonly dataset: Dataset;
  /** Names what it validates on. */
  readonly digest: string;
  /** Metrics of the embeddings, by name. The one that decides is among them; higher is better. */
  readonly measure: (rows: HeldOutRows) => Readonly<Record<string, number>>;
  /** The metric by which training ends and a model is kept. */
  readonly decides: string;
  readonly workers?: number | undefined;
  readonly skipBadImages?: boolean | undefined;
  readonly distributed?: DistributedContext | null | undefined;
};

/** What decides; a run that resumes reads it from its events. */
type Standing = { readonly best: number; readonly bestStep: number; readonly since: number };
const NONE: Standing = { best: Number.NEGATIVE_INFINITY, bestStep: 0, since: 0 };

/** Parts of a session's state that a finished run holds. */
const isOfModel = (name: string): boolean => /^(backbone|projection|head)\./.test(name);

/**
 * Validates the model every few epochs, and after the last: embeds held-out images, measures, and writes the metrics to the
 * run's events. If the recipe asks for it, training ends when the metric no longer rises, and the best model is kept.
 */
export class Validation implements TrainerHook {
  readonly #options: ValidationOptions;
  readonly #loader: Loader;
  #standing = NONE;

  constructor(options: ValidationOptions) {
    this.#options = options;
    this.#loader = new Loader(options.dataset, { workers: options.workers ?? 1 });
  }

  onStart(training: TrainingState): void {
    const { group } = training.session;
    const found = group.rank === 0 ? standingIn(runFiles(training.out).events, this.#options.decides) : NONE;
    const [has, best, bestStep, since] = allReduceSum(
      group,
      group.rank === 0 ? [found.bestStep > 0 ? 1 : 0, found.bestStep > 0 ? found.best : 0, found.bestStep, found.since] : [0, 0, 0, 0], // biome-ignore format: short
    );
    this.#standing = has === 1 ? { best: best!, bestStep: bestStep!, since: since! } : NONE;
    if (group.rank === 0) settleNewBest(training.out, this.#standing.bestStep);
    this.#endIfStuck(training);
  }

  async onStep(training: TrainingState): Promise<void> {
    const { step, stepsPerEpoch, totalSteps } = training;
    const epochs = step / stepsPerEpoch;
    if (step !== totalSteps && (!Number.isInteger(epochs) || epochs % this.#options.validation.every !== 0)) return;
    const metrics = await this.#measure(training);
    await training.recordValidation(metrics);
    this.#standing = nextStanding(this.#standing, metrics[this.#options.decides]!, step);
    if (this.#standing.bestStep === step && this.#options.validation.keepBest) this.#keep(training);
    this.#endIfStuck(training);
  }

  onCheckpoint({ session, out }: TrainingState): void {
    const { best, newBest } = runFiles(out);
    if (session.group.rank === 0 && existsSync(newBest)) renameDurably(newBest, best);
  }

  /** Puts the best model in place of the last one, if the recipe asks for it. */
  onTrained(training: TrainingState) {
    const { validation, decides: metric, digest } = this.#options;
    const { best, bestStep } = this.#standing;
    const found = bestStep > 0;
    const isRestored = validation.keepBest && found && bestStep !== training.step && this.#restore(training);
    const kept = isRestored ? bestStep : training.step;
    return { digest, metric, best: found ? best : null, bestStep, kept };
  }

  /** @returns whether the best model is there: not if it was validated after a checkpoint that was damaged */
  #restore({ session, out, step }: TrainingState): boolean {
    const { distributed = null, decides } = this.#options;
    const { best, bestStep } = this.#standing;
    const path = runFiles(out).best;
    const isThere = loadFullState(session, distributed, (state) =>
      scope(() => {
        const kept = existsSync(path) ? readCheckpoint(path) : null;
        if (Number(kept?.metadata['step']) !== bestStep) return false;
        loadStateDict(
          path,
          kept!.tensors,
          [...state].filter(([name]) => isOfModel(name)),
        );
        return true;
      }),
    );
    const model = isThere ? `that of step ${bestStep} of ${step}` : `the last, of step ${step}`;
    const why = isThere ? '' : `; that of step ${bestStep} is lost`;
    if (session.group.rank === 0)
      logLine(`${out}: the model is ${model}${why}, where ${decides} was ${(100 * best).toFixed(2)} %`);
    return isThere;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loader[Symbol.asyncDispose]();
  }

  async #measure(training: TrainingState): Promise<Readonly<Record<string, number>>> {
    const { session, recipe } = training;
    const { dataset, distributed = null, measure, skipBadImages = false } = this.#options;
    broadcastState(session, distributed); // running statistics are each process's own
    const side = recipe.network.inputSide;
    const { pixels, resize } = modelInput(recipe.input);
    const { backbone, projection, precision, group } = session;
    const embed = embedWith({ backbone, projection: null }, { side, pixels, precision });
    const skipBad = skipBadImages && 'blank';
    const nothing = (): void => undefined;
    const own = await embedSet({ side, resize, embed }, this.#loader, dataset, {
      group,
      skipBad,
      beforeBatch: nothing,
    });
    const shape = [dataset.size, recipe.network.embeddingDim];
    const inOldSpace = projection
      ? inference(() => scope(() => toFloat32(projection.forward(tensor(own, { shape }), { train: false }))))
      : own;
    // all processes decide by the same numbers
    const metrics = Object.entries(measure({ own, inOldSpace }));
    const told = allReduceSum(
      group,
      metrics.map(([, value]) => (group.rank === 0 ? value : 0)),
    );
    return Object.fromEntries(metrics.map(([name], i) => [name, told[i]!]));
  }

  #keep({ session, out, step }: TrainingState): void {
    const { distributed = null } = this.#options;
    const position = { step, counts: {}, recipe: '', dataset: '', old: '' };
    withFullState(
      session,
      distributed,
      (state) => saveCheckpoint(runFiles(out).newBest, position, () => state),
      isOfModel,
    );
  }

  #endIfStuck(training: TrainingState): void {
    const { early } = this.#options.validation;
    const { since, bestStep } = this.#standing;
    if (early === undefined || since < early || training.step === training.totalSteps) return;
    if (training.session.group.rank === 0)
      logLine(
        `${training.out}: ends after step ${training.step} of ${training.totalSteps}: ${this.#options.decides} has not risen since step ${bestStep}`,
      );
    training.endEarly();
  }
}

/** Of a run that goes on: the model of a validation after its checkpoint is removed, one before it takes its place as the best. */
function settleNewBest(out: string, bestStep: number): void {
  const { best, newBest } = runFiles(out);
  if (!existsSync(newBest)) return;
  if (stepOf(newBest) === bestStep) renameDurably(newBest, best);
  else rmSync(newBest);
}

/** The step of a kept model; null if it is damaged. */
function stepOf(path: string): number | null {
  try {
    return scope(() => Number(readCheckpoint(path).metadata['step']));
  } catch (error) {
    if (error instanceof FileError) return null;
    throw error;
  }
}

/** After a validation at `step`; a value that is not a number is never the best. */
function nextStanding({ best, bestStep, since }: Standing, value: number, step: number): Standing {
  return value > best ? { best: value, bestStep: step, since: 0 } : { best, bestStep, since: since + 1 };
}

/** How the validations of a run stand, from its events. */
function standingIn(events: string, decides: string): Standing {
  if (!existsSync(events)) return NONE;
  let standing = NONE;
  for (const text of readTextFile(events).split('\n')) {
    const event = parseRunEvent(text);
    if (event && 'validation' in event)
      standing = nextStanding(standing, event.validation[decides] ?? Number.NaN, event.step);
  }
  return standing;
}
