import { join } from 'node:path';
import { canonicalJson, digestOf, MANIFEST, writeJson } from '../artifacts/artifact.ts';
import { isDiskFull, requireRoom } from '../artifacts/durable-write.ts';
import { Interrupted, optionHint, UserError } from '../base/errors.ts';
import { logLine, progress, silent } from '../base/progress.ts';
import { Rng } from '../base/rng.ts';
import { imageTensor, labelTensor } from '../data/collate.ts';
import { type Batch, type Dataset, describeEmptyClasses, Loader, shuffledOrder } from '../data/index.ts';
import { embedWith } from '../encoders/index.ts';
import type { LossTerms, TrainingStep } from '../methods/index.ts';
import { checkPrecision } from '../models/mixed-precision.ts';
import { clearGradients, clipGradients } from '../optim/index.ts';
import type { Recipe } from '../runs/recipe.ts';
import {
  add,
  BYTES,
  backward,
  type DistributedContext,
  defaultGenerator,
  mul,
  type ProcessGroup,
  scope,
  singleProcess,
  type Tensor,
  withPeerErrors,
} from '../torch/index.ts';
import { CheckpointStore } from './checkpoint-store.ts';
import {
  allReduceAny,
  allReduceSum,
  batchShare,
  broadcastState,
  onRankZero,
  readWholeState,
  withWholeState,
} from './collectives.ts';
import { embedSet } from './embed-set.ts';
import { planEpochs } from './epoch-plan.ts';
import { NonFiniteLossPolicy, requireFiniteState } from './non-finite-loss-policy.ts';
import type { OldModelInputs } from './old-model-inputs.ts';
import { announceReplaced } from './replaced-images.ts';
import { type RunManifest, runFiles, writeModel } from './run.ts';
import { RunOutput } from './run-output.ts';
import { disposeSession, embedBatch, makeSchedule, openSession, type Session, sessionState } from './session.ts';
import { type StepReport, TrainingLog } from './training-log.ts';

export type TrainOptions = {
  readonly recipe: Recipe;
  readonly dataset: Dataset;
  /** What the method needs of the old model; see `openOld`. */
  readonly old: OldModelInputs;
  /** The run's directory. */
  readonly out: string;
  readonly resume?: boolean;
  readonly force?: boolean;
  /** What else the command reads: `force` does not replace it. */
  readonly inputs?: readonly (string | undefined)[];
  /** Decoding threads beside the training thread. */
  readonly workers?: number;
  readonly skipBadImages?: boolean;
  /** Batches whose loss or gradient is not finite that the run may leave out before it stops. */
  readonly skipNonFinite?: number;
  /** Steps between two lines of the log. */
  readonly logEvery?: number;
  /** Steps between two checkpoints of an epoch; there is one at its end in any case. */
  readonly saveEvery?: number;
  /** When it fires, the run stops at the next step with a checkpoint. */
  readonly signal?: AbortSignal;
  /** The processes that train it together, each with an equal share of every batch; the first one writes. */
  readonly distributed?: DistributedContext | null;
  /** Send gradients while backward computes others. */
  readonly overlap?: boolean;
};

/** Steps between two checkpoints, unless told: minutes of a large run, fewer writes than anyone notices. */
const SAVE_EVERY = 1000;
/** What names of the head's tensors begin with in a session's state. */
const HEAD = 'head.';
/** The count of images that the old model left nothing of. */
const WITHOUT_OLD = 'images without an old embedding';
/** Checkpoints that lie side by side while one is written. */
const CHECKPOINTS = 3;

export { Interrupted };

/** Trains one model as its recipe says. The directory `out` is a finished run when its manifest stands there. */
export async function train(options: TrainOptions): Promise<RunManifest> {
  const { recipe, dataset, old, out, resume = false, force = false, workers = 1, signal } = options;
  const {
    logEvery = 20,
    saveEvery = SAVE_EVERY,
    skipNonFinite = 0,
    skipBadImages = false,
    distributed = null,
  } = options;
  const group = distributed?.group ?? singleProcess;
  const { processes, rank } = group;
  const first = rank === 0;
  const { batchSize, epochs } = recipe;
  const { samples } = old;
  const size = samples?.length ?? dataset.size;
  const withoutOld = dataset.size - size;
  const { stepsPerEpoch, totalSteps, warning } = planEpochs(dataset.path, size, { batchSize, epochs, withoutOld });
  const share = batchShare(recipe, group);
  const lrAt = makeSchedule(recipe, stepsPerEpoch);
  const rng = new Rng(recipe.seed);
  const files = runFiles(out);
  const identity = { recipe: digestOf(canonicalJson(recipe)), dataset: dataset.digest, old: old.digest };

  distributed?.requireEqual({ recipe: identity.recipe, dataset: dataset.digest, 'old model': old.digest });
  let claimed: RunOutput | undefined;
  onRankZero(distributed, () => {
    claimed = RunOutput.claim(out, { resume, force, inputs: [dataset.path, ...(options.inputs ?? [])] });
    return null;
  });
  using output = claimed;
  checkPrecision(recipe.precision);
  const classes = classesOfHead(recipe, dataset);
  await using loader = new Loader(dataset, { workers }); // closed whatever fails from here on
  const session = openSession(recipe, classes, rng, { group, overlap: options.overlap ?? true });
  const startedMs = performance.now();
  const bar = first ? progress(recipe.name ?? recipe.method.kind, totalSteps) : silent;
  const checkpoints = new CheckpointStore(files);
  const policy = new NonFiniteLossPolicy(skipNonFinite, session);
  const stopped = (): Interrupted =>
    new Interrupted(`stopped at step ${step} of ${totalSteps}; the checkpoint is written`);
  let step = 0;
  let stopping = false;
  let saved: number | undefined;
  try {
    if (first && warning) logLine(warning);
    const empty = first ? describeEmptyClasses(dataset) : null;
    if (empty) logLine(`warning: ${dataset.path}: ${empty}`);
    if (!resume) output?.begin();
    if (first) requireRoom(join(out, MANIFEST), stateBytes(session) * (resume ? 1 : CHECKPOINTS));
    const begun = resume
      ? readWholeState(session, distributed, (state) => checkpoints.load(identity, () => state))
      : { step: 0, counts: withoutOld > 0 ? { [WITHOUT_OLD]: withoutOld } : {} };
    broadcastState(session, distributed);
    step = begun.step;
    saved = step;
    if (first) writeJson(files.recipe, recipe);
    const settings = { every: logEvery, firstStep: step, totalSteps, counts: begun.counts };
    const log = new TrainingLog(first ? files.log : null, bar, settings);
    const save = (): void => {
      requireFiniteState(session, step, saved);
      const position = { step, counts: log.counts, ...identity };
      withWholeState(session, distributed, (state) => checkpoints.save(position, () => state));
      saved = step;
    };
    if (!resume) save();
    if (first && withoutOld > 0)
      logLine(
        `${out}: ${withoutOld} of ${dataset.size} images are left out of training, for the old model has no embedding of them`,
      );

    while (step < totalSteps) {
      const epoch = Math.floor(step / stepsPerEpoch);
      if (step % stepsPerEpoch === 0)
        await session.method.onEpoch?.({
          epoch,
          old: old.constants,
          embedTrainSet: () => {
            broadcastState(session, distributed); // running statistics are each process's own
            const beforeBatch = (): void => {
              if (allReduceAny(group, signal?.aborted ?? false)) throw stopped();
            };
            const skipBad = skipBadImages && 'blank';
            const side = recipe.network.inputSide;
            const encoder = { side, embed: embedWith(session, { side, precision: session.precision }) };
            return embedSet(encoder, loader, dataset, { group, skipBad, beforeBatch });
          },
        });
      const batches = loader.epoch({
        batchSize: share,
        imageSide: recipe.network.inputSide,
        // as many steps as one process would take, so that none is padded
        order: shuffledOrder(size, epoch, { seed: recipe.seed, processes, rank })
          .slice(0, stepsPerEpoch * share)
          .map((i) => samples?.[i] ?? i),
        dropLast: true,
        firstBatch: step % stepsPerEpoch,
        augment: recipe.augment,
        seed: recipe.seed,
        epoch,
        skipBad: skipBadImages,
      });
      for await (using batch of batches) {
        const lr = lrAt(step);
        const at = {
          progress: step / totalSteps,
          epoch,
          epochs,
          rng: rng.split('step', step),
          count: log.count.bind(log),
        };
        policy.snapshot();
        const { finite, ...seen } = trainStep(session, batch, old, {
          ...at,
          lr,
          clipNorm: recipe.clipNorm,
          side: recipe.network.inputSide,
        });
        if (!finite) policy.handle({ step, loss: seen.loss, terms: seen.terms, batch }, log);
        else if (Number.isNaN(seen.gradNorm)) policy.discard();
        step++;
        log.report(step, epoch, { ...seen, lr, samples: batchSize, waitedMs: batch.waitedMs });
        stopping = allReduceAny(group, signal?.aborted ?? false);
        if (stopping) break;
        if (step % saveEvery === 0 && step % stepsPerEpoch !== 0) save();
      }
      save();
      if (stopping && step < totalSteps) throw stopped();
    }

    requireFiniteState(session, step, saved); // a checkpoint of an older version may hold any numbers
    const [badImages] = allReduceSum(group, [loader.bad.length]);
    announceReplaced(out, loader.bad);
    const finish = (head: Iterable<readonly [string, Tensor]>): RunManifest => {
      const manifest = writeModel(out, {
        recipe,
        session,
        head,
        dataset,
        old: old.digest,
        processes,
        steps: step,
        seconds: (performance.now() - startedMs) / 1000,
        dataWaitShare: log.waitedMs / (performance.now() - startedMs),
        badImages: badImages!,
        counts: log.counts,
      });
      writeJson(join(out, MANIFEST), manifest);
      checkpoints.remove();
      output?.finish();
      return manifest;
    };
    const ofHead = (name: string): boolean => name.startsWith(HEAD);
    const bare = (state: Iterable<readonly [string, Tensor]>) =>
      Array.from(state, ([name, value]) => [name.slice(HEAD.length), value] as const);
    return withWholeState(session, distributed, (state) => finish(bare(state)), ofHead);
  } catch (error) {
    // a new run that took no step leaves nothing; what is being resumed is never touched
    if (step === 0 && !resume && !(error instanceof Interrupted)) output?.abandon();
    if (isDiskFull(error)) throw diskFull(out, step, saved, error);
    throw error;
  } finally {
    bar.stop();
    policy.dispose();
    disposeSession(session);
  }
}

/** Bytes of one checkpoint. */
function stateBytes(session: Session): number {
  let bytes = 0;
  for (const [, { numel, dtype }] of sessionState(session)) bytes += numel * BYTES[dtype];
  return bytes;
}

function diskFull(out: string, step: number, saved: number | undefined, cause: unknown): UserError {
  const begun = saved !== undefined && step > 0;
  return new UserError(
    `${out}: the disk is full at step ${step}${begun ? `; the checkpoint of step ${saved} stands` : ''}`,
    {
      hint: begun
        ? ['make room, then start it again', optionHint('go on with --resume')]
        : 'make room, then start it again',
      cause,
    },
  );
}

/** @throws UserError if the recipe pretends to fewer classes than the data have. */
function classesOfHead({ pretend }: Recipe, dataset: Dataset): number {
  const classes = pretend?.classes ?? dataset.classes;
  if (classes < dataset.classes)
    throw new UserError(`pretend.classes is ${classes}, ${dataset.path} has ${dataset.classes} classes`, {
      hint: 'leave pretend out: classes are counted in the data',
    });
  return classes;
}

type StepSettings = Pick<TrainingStep, 'progress' | 'epoch' | 'epochs' | 'rng' | 'count'> & {
  readonly lr: number;
  readonly clipNorm: number | null;
  readonly side: number;
  /** Whether any process that shares the model says so: all leave out the same steps (D-22). By default its group is asked. */
  readonly anywhere?: (flag: boolean) => boolean;
};

/**
 * `finite`: whether the loss and its gradient are; what overflows in fp16 for its scale alone does not count. A step that
 * is left out has no gradient norm (NaN).
 */
type Seen = Omit<StepReport, 'lr' | 'samples' | 'waitedMs'> & { readonly finite: boolean };

/**
 * One optimiser step on one batch: forward, terms, backward, clip, update. Nothing but numbers leaves it. A loss or a gradient
 * that is not finite changes no weight and no optimiser state, in any process.
 */
export function trainStep(
  session: Session,
  batch: Pick<Batch, 'images' | 'labels' | 'indices'>,
  old: OldModelInputs,
  { lr, clipNorm, side, anywhere = (flag) => allReduceAny(session.group, flag), ...at }: StepSettings,
): Seen {
  const { projection, head, method, optimizer, parameters, clipped, unclipped, scaler, pass, group, buckets } = session;
  return scope(() => {
    // random masks are each process's own
    const masks = group.rank === 0 ? at.rng.split('dropout') : at.rng.split('dropout', group.rank);
    defaultGenerator().seed(masks.seed());
    const images = imageTensor({ images: batch.images, count: batch.labels.length, side });
    const embeddings = embedBatch(session, images); // [B, D]
    const { classifier, chosen } = head.forStep(batch.labels, at.rng.split('classes'));
    const terms = method.terms({
      ...at,
      embeddings,
      inOldSpace: projection ? projection.forward(embeddings, pass) : embeddings,
      labels: labelTensor(batch.labels),
      head: classifier,
      pass,
      group,
      old: old.forBatch(batch.indices),
    });
    const loss = totalOf(terms);
    const seen = reported(loss, terms, group);
    if (!Number.isFinite(seen.loss)) return { ...seen, gradNorm: Number.NaN, finite: false };
    buckets?.arm();
    withPeerErrors('backward', () => backward(scaler ? scaler.scaled(loss) : loss));
    buckets?.finish();
    const others = chosen ? [...unclipped, chosen.rows] : unclipped;
    const fits = !scaler || scaler.unscale([...clipped, ...others]);
    const gradNorm = fits ? clipGradients(clipped, clipNorm ?? Number.POSITIVE_INFINITY, others) : Number.NaN;
    const clean = !anywhere(!Number.isFinite(gradNorm));
    // at a scale of 1 or less it is not the scale that overflows
    const overflows = !clean && scaler !== null && scaler.scale > 1;
    if (clean) optimizer.step(lr, chosen);
    else if (overflows) at.count('steps left out for gradients that overflow', 1);
    scaler?.update(clean);
    clearGradients(parameters);
    return { ...seen, gradNorm: clean ? gradNorm : Number.NaN, finite: clean || overflows };
  });
}

/** Loss and terms as numbers: means over the processes, of which one that is not finite makes all so. */
function reported(loss: Tensor, terms: LossTerms, group: ProcessGroup): Pick<Seen, 'loss' | 'terms'> {
  const names = Object.keys(terms);
  const own = [loss, ...Object.values(terms).map(({ value }) => value)].map((value) => value.item());
  const [mean, ...means] = allReduceSum(group, own).map((sum) => sum / group.processes);
  return { loss: mean!, terms: Object.fromEntries(names.map((name, i) => [name, means[i]!])) };
}

/** Σ weight · value of a method's terms. */
export function totalOf(terms: LossTerms): Tensor {
  const parts = Object.values(terms).map(({ value, weight }) => (weight === 1 ? value : mul(value, weight)));
  const [first, ...rest] = parts;
  if (!first) throw new Error('a method returned no loss terms');
  return rest.reduce((sum, part) => add(sum, part), first);
}
