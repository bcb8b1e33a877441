import type { z } from 'zod';
import type { Rng } from '../base/rng.ts';
import type { Module, Pass } from '../nn/index.ts';
import type { ProcessGroup, Tensor } from '../torch/index.ts';

/** Each class's centre and radius of old embeddings (artefact of `mixbct boundaries`). */
export type Boundaries = {
  /** Means of unit rows; not normalised. [C, D] */
  readonly centres: Tensor;
  /** The largest distance to the centre after outliers are dropped. [C] */
  readonly radii: Tensor;
  /** 1 if more than one distance was kept, otherwise 0. [C] */
  readonly several: Tensor;
};

/** The old model's embeddings of the whole training set; not normalised. */
export type OldRows = {
  /** Flat [K · D], at positions of the dataset. */
  rows(indices: ArrayLike<number>): Float32Array;
  /** Positions of each class's samples, by label. */
  byClass(): readonly Int32Array[];
};

/** Inputs from the old model for one batch. They are constants, without gradient. */
export interface OldModelBatch {
  /** Old embeddings of the batch's samples, rows of length 1. [B, D] */
  oldEmbedding: Tensor;
  /** Rows of the batch with a credible old embedding (artefact of `mixbct denoise`). */
  credible: Int32Array;
  /** Class means of the old embeddings, rows of length 1 (artefact of `mixbct average`). [C, D] */
  oldPrototypes: Tensor;
  oldBoundaries: Boundaries;
  /** Of the whole training set, for methods that update prototypes between epochs. */
  oldRows: OldRows;
}
export type OldModelInput = keyof OldModelBatch;
/** Inputs that are the same for every batch. */
export type OldModelConstants = Pick<OldModelBatch, 'oldPrototypes' | 'oldBoundaries' | 'oldRows'>;

/** Loss terms by name. The trainer adds up `weight · value` and logs each term. */
export type LossTerms = Readonly<Record<string, { readonly value: Tensor; readonly weight: number }>>;

/** The classification layer as a method sees it. embeddings [B, D], labels [B] int64 */
export interface Classifier {
  /** The classification loss, mean over the batch. */
  loss(embeddings: Tensor, labels: Tensor): Tensor;
  /** One row per class [C, D]. With several processes, each may hold only some of the rows. */
  readonly weight: Tensor;
  /** The classes that are rows of `weight`; null: all. */
  readonly shard: { readonly start: number; readonly count: number } | null;
  /** Adds up a sum over the rows of `weight` over all processes that hold rows. Differentiable. */
  overClasses(sum: Tensor): Tensor;
}

/** What a method sees of a training step. It can read only the inputs from the old model that it declared. */
export interface TrainingStep<N extends OldModelInput = OldModelInput, W extends OldModelInput = never> {
  /** The new model's embeddings, not normalised. [B, D] */
  readonly embeddings: Tensor;
  /** The embeddings in the space of the old model: projected, if the recipe has a projection. [B, old D] */
  readonly inOldSpace: Tensor;
  /** Maps other rows of the new space to the old one: the projection, or nothing. [K, D] → [K, old D] */
  toOldSpace(rows: Tensor): Tensor;
  readonly labels: Tensor; // [B] int64
  readonly head: Classifier;
  readonly old: Pick<OldModelBatch, N> & Partial<Pick<OldModelBatch, W>>;
  /** Share of the steps taken: 0 at the first step, below 1 at the last. */
  readonly progress: number;
  /** From 0. */
  readonly epoch: number;
  readonly epochs: number;
  /** Pass it on to the method's own modules. */
  readonly pass: Pass;
  /** The processes that share the batch. Tensors hold this process's share, and terms are averaged over processes. */
  readonly group: ProcessGroup;
  /** A random stream for this step, the same in every process. */
  readonly rng: Rng;
  /** Adds to a counter of the run's log. */
  count(what: string, by: number): void;
}

/** What a method sees before an epoch. */
export interface EpochStart<N extends OldModelInput = OldModelInput> {
  readonly epoch: number;
  readonly old: Pick<OldModelBatch, Extract<N, keyof OldModelConstants>>;
  /** Embeds the training set with the current backbone, without augmentation. → flat [N · D] in the old space */
  embedTrainSet(): Promise<Float32Array>;
}

/** A method with its state in one run. */
export interface MethodInstance<N extends OldModelInput = OldModelInput, W extends OldModelInput = never> {
  terms(step: TrainingStep<N, W>): LossTerms;
  /** The method's own modules (a discriminator): optimised, clipped and checkpointed with the backbone. */
  readonly modules?: Readonly<Record<string, Module>>;
  /** Tensors that later steps depend on (a queue). They are checkpointed. */
  readonly state?: Readonly<Record<string, Tensor>>;
  /** Tensors of `state` that `terms` writes. They are restored when a step is skipped. */
  readonly written?: readonly Tensor[];
  /** Runs before the first step of each epoch. */
  onEpoch?(start: EpochStart<N>): Promise<void>;
}

/** Sizes for a method's parts. `oldDim` is the dimension of the space that both models share. */
export type MethodSetup = {
  readonly oldDim: number;
  readonly newDim: number;
  /** Whether a projection maps to that space; otherwise new embeddings are in it. */
  readonly projected: boolean;
  /** Whether that projection has orthonormal rows. */
  readonly orthonormal: boolean;
  /** Of the head: those of the data, or more that the recipe pretends to. */
  readonly classes: number;
  /** Of the data: tables of the old model have a row for each. */
  readonly dataClasses: number;
  /** Of the training. */
  readonly epochs: number;
  readonly rng: Rng;
};

/** A compatibility method. The trainer owns the loop, optimiser, schedule, precision and log. */
export interface Method<
  N extends OldModelInput = OldModelInput,
  W extends OldModelInput = never,
  S extends z.ZodObject = z.ZodObject,
> {
  readonly name: string;
  /** Paper with section or equation, and what we follow of the reference's code. */
  readonly source: string;
  readonly needs: readonly N[];
  /** Optional inputs. */
  readonly wants?: readonly W[];
  /** Whether a projection may map the new dimension to another old one. */
  readonly projects: boolean;
  /** Whether it classifies other rows than the new embeddings. A composition has at most one such part. */
  readonly replacesRows?: boolean;
  /** Schema of the recipe's `method` section, without `kind`. */
  readonly options: S;
  /** Axes of what `mixbct tune` searches: it takes one setting of each. Absent: it cannot be tuned. */
  readonly search?: readonly (readonly Partial<z.input<S>>[])[];
  start(options: z.infer<S>, setup: MethodSetup): MethodInstance<N, W>;
}

/** A method with its options, or several composed. */
export interface ConfiguredMethod {
  readonly name: string;
  readonly needs: readonly OldModelInput[];
  readonly wants: readonly OldModelInput[];
  readonly projects: boolean;
  readonly replacesRows: boolean;
  start(setup: MethodSetup): MethodInstance;
}

/** Kind of a recipe's `method` section that holds several. */
export const COMPOSE = 'compose';

/** The sections of a recipe's methods: one, or those of a composition. */
export const partsOf = <S extends { readonly kind: string }>(
  section: S | { readonly kind: typeof COMPOSE; readonly of: readonly S[] },
): readonly S[] =>
  section.kind === COMPOSE && 'of' in section && Array.isArray(section.of) ? section.of : [section as S];

/** A recipe's method as texts name it: `l2`, `l2 + bct`. */
export const methodTitle = (section: Parameters<typeof partsOf>[0]): string =>
  partsOf(section)
    .map(({ kind }) => kind)
    .join(' + ');

/** Declares a method. `needs` and `wants` determine what its `terms` may read. */
export const defineMethod = <
  const N extends OldModelInput,
  const W extends OldModelInput = never,
  S extends z.ZodObject = z.ZodObject,
>(
  method: Method<N, W, S>,
): Method<N, W, S> => method;
