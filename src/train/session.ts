import { UserError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { type Head, makeHead } from '../heads/index.ts';
import { configureMethod, type MethodInstance, type MethodSetup } from '../methods/index.ts';
import { inPrecision } from '../models/mixed-precision.ts';
import type { Precision } from '../models/precisions.ts';
import type { Module, Pass } from '../nn/index.ts';
import {
  AdamW,
  constant,
  cosine,
  LossScaler,
  type Optimizer,
  polynomial,
  type Schedule,
  Sgd,
  stepDecay,
} from '../optim/index.ts';
import { backboneOf, trainedProjectionOf } from '../runs/network.ts';
import type { Recipe } from '../runs/recipe.ts';
import {
  C10dProcessGroup,
  checkpointed,
  concat,
  type GradientBuckets,
  narrow,
  type ProcessGroup,
  singleProcess,
  type Tensor,
} from '../torch/index.ts';
import { freezeParts } from './freeze.ts';

/** The model in training: modules, optimiser, and how they are updated. */
export type Session = {
  readonly backbone: Module;
  /** Maps new embeddings to the old space, if the recipe has one. */
  readonly projection: Module | null;
  readonly head: Head;
  readonly method: MethodInstance;
  readonly optimizer: Optimizer;
  /** All optimised tensors. */
  readonly parameters: readonly Tensor[];
  /** Parameters that count in the clipped gradient norm. */
  readonly clipped: readonly Tensor[];
  /** The rest of `parameters`. */
  readonly unclipped: readonly Tensor[];
  /** How its modules are run in a training step. */
  readonly pass: Pass;
  readonly group: ProcessGroup;
  /** Averages gradients of replicated parameters over the processes; null in a single process. */
  readonly buckets: GradientBuckets | null;
  readonly precision: Precision;
  /** In fp16 only, where small gradients would vanish. */
  readonly scaler: LossScaler | null;
  /** Parts into which a batch is split on its way through the backbone. */
  readonly accumulate: number;
};

export type SessionOptions = {
  /** The processes that train it together. */
  readonly group?: ProcessGroup;
  /** Send gradients while backward computes others. */
  readonly overlap?: boolean;
  /** Classes of the data. Default: those of the head. */
  readonly dataClasses?: number;
};

/** Sizes that a recipe gives its method, whose parts are drawn from `rng`. `classes` are those of the head. */
export const methodSetup = (
  { network, projection, epochs }: Recipe,
  classes: number,
  rng: Rng,
  { dataClasses = classes }: Pick<SessionOptions, 'dataClasses'> = {},
): MethodSetup => ({
  oldDim: projection?.dim ?? network.embeddingDim,
  newDim: network.embeddingDim,
  projected: projection !== null,
  orthonormal: projection?.orthonormal ?? false,
  ...{ classes, dataClasses, epochs, rng },
});

/** Builds a recipe's session with a head for `classes`, initialised from streams of `rng`. The values do not depend on the number of processes. */
export function openSession(
  recipe: Recipe,
  classes: number,
  rng: Rng,
  { group = singleProcess, overlap = true, ...sizes }: SessionOptions = {},
): Session {
  const { embeddingDim } = recipe.network;
  const backbone = backboneOf(recipe.network, rng.split('init', 'backbone'));
  if (recipe.freeze) freezeParts(backbone, recipe.freeze);
  const head = makeHead(recipe.head, embeddingDim, classes, rng.split('init', 'head'), group);
  const projection = recipe.projection && trainedProjectionOf(recipe, rng.split('init', 'projection'));
  const method = configureMethod(recipe.method).start(methodSetup(recipe, classes, rng.split('init', 'method'), sizes));
  const learned = (module: Module): Tensor[] =>
    [...module.parameters()].map(([, p]) => p).filter((p) => p.requiresGrad);
  const trunk = [backbone, ...(projection ? [projection] : []), ...Object.values(method.modules ?? {})].flatMap(
    learned,
  );
  const parameters = [...trunk, ...learned(head)];
  const replicated = head.shard ? trunk : parameters; // none, if all but a sharded head is frozen
  return {
    backbone,
    projection,
    head,
    method,
    optimizer: makeOptimizer(recipe, parameters, new Set(learned(backbone))),
    parameters,
    clipped: head.clipped ? parameters : trunk,
    unclipped: head.clipped ? [] : learned(head),
    pass: { train: true, ...(recipe.syncBatchNorm && { group }) },
    group,
    buckets: group instanceof C10dProcessGroup && replicated.length > 0 ? group.buckets(replicated, { overlap }) : null,
    precision: recipe.precision,
    scaler: recipe.precision === 'fp16' ? new LossScaler() : null,
    accumulate: recipe.accumulate,
  };
}

function makeOptimizer(
  { optimizer, backboneLr = 1 }: Recipe,
  parameters: readonly Tensor[],
  backbone: ReadonlySet<Tensor>,
): Optimizer {
  const options = { ...optimizer, lrFactor: (parameter: Tensor) => (backbone.has(parameter) ? backboneLr : 1) };
  return optimizer.kind === 'sgd' ? new Sgd(parameters, options) : new AdamW(parameters, options);
}

/**
 * The learning rate schedule. Its epochs have the steps of the data, unless the recipe pretends to another number of images.
 * @throws UserError if that is no whole batch
 */
export function makeSchedule(
  { schedule, optimizer, epochs, batchSize, pretend }: Recipe,
  stepsOfData: number,
): Schedule {
  const stepsPerEpoch = pretend?.images === undefined ? stepsOfData : Math.floor(pretend.images / batchSize);
  if (stepsPerEpoch === 0)
    throw new UserError(`pretend.images ${pretend!.images} is less than one batch of ${batchSize}: such epochs have no step`, {
      hint: 'set pretend.images to the size of the data set whose schedule is wanted',
    }); // biome-ignore format: short
  const span = {
    base: optimizer.lr,
    totalSteps: stepsPerEpoch * epochs,
    warmupSteps: Math.round(schedule.warmupEpochs * stepsPerEpoch),
  };
  switch (schedule.kind) {
    case 'polynomial':
      return polynomial({ ...span, power: schedule.power });
    case 'cosine':
      return cosine(span);
    case 'step':
      return stepDecay({
        ...span,
        factor: schedule.factor,
        milestones: schedule.milestoneEpochs.map((epoch) => Math.round(epoch * stepsPerEpoch)),
      });
    case 'constant':
      return constant(span);
  }
}

/**
 * Embeds a batch in training: images [B, 3, S, S] → embeddings [B, D], float32. With `accumulate`, only the parts' embeddings
 * are stored and `backward` recomputes one part after the other, so loss and gradient are those of the whole batch (D-20).
 * Only batch norms see parts: each part has its own statistics and updates the running ones.
 */
export function embedBatch({ backbone, pass, precision, accumulate }: Session, images: Tensor): Tensor {
  const embed = (part: Tensor, again: boolean): Tensor =>
    inPrecision(precision, part, (x) => backbone.forward(x, { ...pass, again }));
  if (accumulate === 1) return embed(images, false);
  const size = images.shape[0]! / accumulate;
  const parts = Array.from({ length: accumulate }, (_, i) => narrow(images, 0, i * size, size));
  return concat(parts.map((part) => checkpointed((again) => embed(part, again))));
}

/** Every tensor that the next step depends on, by name. */
export function* sessionState(session: Session): Generator<readonly [string, Tensor]> {
  const { backbone, projection, head, method, optimizer, scaler } = session;
  yield* backbone.state('backbone.');
  if (projection) yield* projection.state('projection.');
  yield* head.state('head.');
  for (const [name, module] of Object.entries(method.modules ?? {})) yield* module.state(`method.${name}.`);
  for (const [name, value] of Object.entries(method.state ?? {})) yield [`method.${name}`, value];
  for (const [name, value] of optimizer.state()) yield [`optimizer.${name}`, value];
  for (const [name, value] of scaler?.state() ?? []) yield [`scaler.${name}`, value];
}

export function disposeSession(session: Session): void {
  // a scripted backbone and a fixed head hold more than their state
  session.backbone.dispose();
  session.head.dispose();
  for (const [, value] of sessionState(session)) value.dispose();
}
