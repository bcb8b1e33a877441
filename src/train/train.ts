import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, digestOf, MANIFEST, writeJson } from '../base/artifact.ts';
import { UserError } from '../base/errors.ts';
import { progress, silent } from '../base/progress.ts';
import { Rng } from '../base/rng.ts';
import { imageTensor, labelTensor } from '../data/collate.ts';
import { type Batch, type Dataset, Loader, shuffledOrder } from '../data/index.ts';
import type { Step, Terms } from '../methods/index.ts';
import { clearGradients, clipGradients } from '../optim/index.ts';
import {
  add,
  alone,
  backward,
  defaultGenerator,
  inference,
  type Joined,
  mul,
  narrow,
  scope,
  speaking,
  type Tensor,
  tensor,
  toFloat32,
} from '../torch/index.ts';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { Journal, type StepReport } from './journal.ts';
import type { OldSupply } from './old.ts';
import { anyOf, onFirst, readWholeState, shareOf, shareState, sumOver, withWholeState } from './parallel.ts';
import type { Recipe } from './recipe.ts';
import { checkRun, type RunManifest, runFiles, writeModel } from './run.ts';
import { disposeSession, makeSchedule, openSession, type Session } from './session.ts';

export type TrainOptions = {
  readonly recipe: Recipe;
  readonly dataset: Dataset;
  /** What the method needs of the old model; see `openOld`. */
  readonly old: OldSupply;
  /** The run's directory. */
  readonly out: string;
  readonly resume?: boolean;
  readonly force?: boolean;
  /** Decoding threads beside the training thread. */
  readonly workers?: number;
  readonly skipBadImages?: boolean;
  /** Steps between two lines of the log. */
  readonly logEvery?: number;
  /** When it fires, the run stops at the next step with a checkpoint. */
  readonly signal?: AbortSignal;
  /** The processes that train it together, each with an equal share of every batch; the first one writes. */
  readonly joined?: Joined | null;
  /** Send gradients while backward computes others. */
  readonly overlap?: boolean;
};

/** What names of the head's tensors begin with in a session's state. */
const HEAD = 'head.';
/** Images embedded at a time between epochs. */
const EMBED_BATCH = 256;

/** Thrown after an interrupted run has written its checkpoint. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** Trains one model as its recipe says. The directory `out` is a finished run when its manifest stands there. */
export async function train(options: TrainOptions): Promise<RunManifest> {
  const {
    recipe,
    dataset,
    old,
    out,
    resume = false,
    force = false,
    workers = 1,
    logEvery = 20,
    signal,
    joined = null,
  } = options;
  const team = joined?.group ?? alone;
  const { processes, rank } = team;
  const first = rank === 0;
  const { batchSize, epochs } = recipe;
  const stepsPerEpoch = Math.floor(dataset.size / batchSize);
  if (stepsPerEpoch === 0)
    throw new UserError(`${dataset.path}: ${dataset.size} images do not fill one batch of ${batchSize}`, {
      hint: 'lower batchSize',
    });
  const share = shareOf(batchSize, team);
  const totalSteps = stepsPerEpoch * epochs;
  const lrAt = makeSchedule(recipe, stepsPerEpoch);
  const rng = new Rng(recipe.seed);
  const files = runFiles(out);
  const identity = { recipe: digestOf(canonicalJson(recipe)), dataset: dataset.digest, old: old.digest };

  joined?.requireEqual({ recipe: identity.recipe, dataset: dataset.digest, 'old model': old.digest });
  onFirst(joined, () => checkRun(out, { resume, force }));
  const loader = new Loader(dataset, { workers });
  const classes = classesOfHead(recipe, dataset);
  const session = openSession(recipe, classes, rng, { team, overlap: options.overlap ?? true });
  const startedMs = performance.now();
  const bar = first ? progress(recipe.name ?? recipe.method.kind, totalSteps) : silent;
  let step = 0;
  let stopping = false;
  try {
    if (resume) step = readWholeState(session, joined, (state) => loadCheckpoint(files.checkpoint, identity, state));
    else if (first) {
      rmSync(out, { recursive: true, force: true });
      mkdirSync(out, { recursive: true });
    }
    shareState(session, joined);
    const firstStep = step;
    if (first) writeJson(files.recipe, recipe);
    const journal = new Journal(first ? files.log : null, bar, { every: logEvery, firstStep, totalSteps });
    const save = (): void =>
      withWholeState(session, joined, (state) => saveCheckpoint(files.checkpoint, { step, ...identity }, state));
    save();

    while (step < totalSteps) {
      const epoch = Math.floor(step / stepsPerEpoch);
      if (step % stepsPerEpoch === 0)
        await session.method.onEpoch?.({
          epoch,
          old: old.wholeSet,
          embedTrainSet: () => {
            shareState(session, joined); // running statistics are each process's own
            return embedAll(session, loader, dataset, recipe.network.inputSide);
          },
        });
      const batches = loader.epoch({
        batchSize: share,
        imageSide: recipe.network.inputSide,
        // as many steps as one process would take, so that none is padded
        order: shuffledOrder(dataset.size, epoch, { seed: recipe.seed, processes, rank }).slice(
          0,
          stepsPerEpoch * share,
        ),
        dropLast: true,
        firstBatch: step % stepsPerEpoch,
        augment: recipe.augment,
        seed: recipe.seed,
        epoch,
        skipBad: options.skipBadImages ?? false,
      });
      for await (using batch of batches) {
        const lr = lrAt(step);
        const at = {
          progress: step / totalSteps,
          epoch,
          epochs,
          rng: rng.split('step', step),
          count: journal.count.bind(journal),
        };
        const seen = trainStep(session, batch, old, {
          ...at,
          lr,
          clipNorm: recipe.clipNorm,
          side: recipe.network.inputSide,
        });
        if (!Number.isFinite(seen.loss)) throw notFinite(step, seen, batch);
        step++;
        journal.report(step, epoch, { ...seen, lr, samples: batchSize, waitedMs: batch.waitedMs });
        stopping = anyOf(team, signal?.aborted ?? false);
        if (stopping) break;
      }
      save();
      if (stopping && step < totalSteps)
        throw new Interrupted(`stopped at step ${step} of ${totalSteps}; the checkpoint is written`);
    }

    const [badImages] = sumOver(team, [loader.bad.length]);
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
        dataWaitShare: journal.waitedMs / (performance.now() - startedMs),
        badImages: badImages!,
        counts: journal.counts,
      });
      writeJson(join(out, MANIFEST), manifest);
      rmSync(files.checkpoint, { force: true });
      return manifest;
    };
    const ofHead = (name: string): boolean => name.startsWith(HEAD);
    const bare = (state: Iterable<readonly [string, Tensor]>) =>
      Array.from(state, ([name, value]) => [name.slice(HEAD.length), value] as const);
    return withWholeState(session, joined, (state) => finish(bare(state)), ofHead);
  } catch (error) {
    // a new run that took no step leaves nothing; what is being resumed is never touched
    if (first && step === 0 && !resume && !(error instanceof Interrupted))
      rmSync(out, { recursive: true, force: true });
    throw error;
  } finally {
    bar.stop();
    await loader.close();
    disposeSession(session);
  }
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

/**
 * Embeds the dataset in its order with the backbone as it is, without augmentation, each process its share. → flat [N · D]
 * in the old space
 */
async function embedAll(
  { backbone, projection, team }: Session,
  loader: Loader,
  dataset: Dataset,
  side: number,
): Promise<Float32Array> {
  const each = Math.ceil(dataset.size / team.processes);
  const order = Int32Array.from({ length: each }, (_, i) => (i * team.processes + team.rank) % dataset.size);
  const parts: Float32Array[] = [];
  const batches = loader.epoch({ batchSize: EMBED_BATCH, imageSide: side, order });
  for await (using batch of batches)
    parts.push(
      inference(() =>
        scope(() => {
          const images = imageTensor({ images: batch.images, count: batch.labels.length, side });
          const embeddings = backbone.forward(images, { train: false });
          return toFloat32(projection ? projection.forward(embeddings, { train: false }) : embeddings);
        }),
      ),
    );
  const all = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  if (team.processes === 1) return all;
  const dim = all.length / each;
  return scope(() => toFloat32(narrow(team.gather(tensor(all, { shape: [each, dim] })), 0, 0, dataset.size)));
}

type StepSettings = Pick<Step, 'progress' | 'epoch' | 'epochs' | 'rng' | 'count'> & {
  readonly lr: number;
  readonly clipNorm: number | null;
  readonly side: number;
};

/** One optimiser step on one batch: forward, terms, backward, clip, update. Nothing but numbers leaves it. */
export function trainStep(
  { backbone, projection, head, method, optimizer, parameters, clipped, pass, team, buckets }: Session,
  batch: Pick<Batch, 'images' | 'labels' | 'indices'>,
  old: OldSupply,
  { lr, clipNorm, side, ...at }: StepSettings,
): Omit<StepReport, 'lr' | 'samples' | 'waitedMs'> {
  return scope(() => {
    // random masks are each process's own
    const masks = team.rank === 0 ? at.rng.split('dropout') : at.rng.split('dropout', team.rank);
    defaultGenerator().seed(masks.seed());
    const images = imageTensor({ images: batch.images, count: batch.labels.length, side });
    const embeddings = backbone.forward(images, pass); // [B, D]
    const { classifier, chosen } = head.forStep(batch.labels, at.rng.split('classes'));
    const terms = method.terms({
      ...at,
      embeddings,
      inOldSpace: projection ? projection.forward(embeddings, pass) : embeddings,
      labels: labelTensor(batch.labels),
      head: classifier,
      pass,
      team,
      old: old.forBatch(batch.indices),
    });
    const loss = totalOf(terms);
    buckets?.arm();
    speaking('backward', () => backward(loss));
    buckets?.finish();
    const gradNorm = clipGradients(clipped, clipNorm ?? Number.POSITIVE_INFINITY);
    optimizer.step(lr, chosen);
    clearGradients(parameters);
    const names = Object.keys(terms);
    const said = [loss, ...Object.values(terms).map(({ value }) => value)].map((value) => value.item());
    const [mean, ...means] = sumOver(team, said).map((sum) => sum / team.processes);
    return { loss: mean!, terms: Object.fromEntries(names.map((name, i) => [name, means[i]!])), gradNorm };
  });
}

/** Σ weight · value of a method's terms. */
export function totalOf(terms: Terms): Tensor {
  const parts = Object.values(terms).map(({ value, weight }) => (weight === 1 ? value : mul(value, weight)));
  const [first, ...rest] = parts;
  if (!first) throw new Error('a method returned no loss terms');
  return rest.reduce((sum, part) => add(sum, part), first);
}

function notFinite(
  step: number,
  { terms }: { readonly terms: Readonly<Record<string, number>> },
  batch: Batch,
): UserError {
  const shown = Object.entries(terms)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
  return new UserError(
    `the loss is not finite at step ${step + 1}: ${shown}; samples ${Array.from(batch.indices.slice(0, 8)).join(', ')}, …`,
    {
      hint: 'lower optimizer.lr or raise schedule.warmupEpochs; the last checkpoint stands, --resume continues from it',
    },
  );
}
