import type { z } from 'zod';
import type { Rng } from '../base/rng.ts';
import type { Module, Pass } from '../nn/index.ts';
import type { ProcessGroup, Tensor } from '../torch/index.ts';

/** Per class, how far the old model's embeddings lie from their centre (artefact of `mixbct boundaries`). */
export type Boundaries = {
  /** Means of unit rows, not normalised again. [C, D] */
  readonly centres: Tensor;
  /** The largest distance kept after outliers are dropped. [C] */
  readonly radii: Tensor;
  /** Whether more than one distance was kept: 1 or 0. [C] */
  readonly several: Tensor;
};

/** The old model's embeddings of the whole training set, as it made them. */
export type OldRows = {
  /** Flat [K · D], at positions of the dataset. */
  rows(indices: ArrayLike<number>): Float32Array;
  /** Positions of each class's samples, by label. */
  byClass(): readonly Int32Array[];
};

/** What the old model left behind, for one batch. All of it is constant: no gradient flows into it. */
export interface OldModelBatch {
  /** Old embeddings of the batch's samples, rows of length 1. [B, D] */
  oldEmbedding: Tensor;
  /** Rows of the batch whose old embedding may be trusted (artefact of `mixbct denoise`). */
  credible: Int32Array;
  /** Class means of the old embeddings, rows of length 1 (artefact of `mixbct average`). [C, D] */
  oldPrototypes: Tensor;
  oldBoundaries: Boundaries;
  /** Not of the batch but of the whole set: for what is renewed between epochs. */
  oldRows: OldRows;
}
export type OldModelInput = keyof OldModelBatch;
/** What of it is the same for every batch. */
export type OldModelConstants = Pick<OldModelBatch, 'oldPrototypes' | 'oldBoundaries' | 'oldRows'>;

/** Loss terms by name; the trainer adds `weight · value` and logs each. */
export type LossTerms = Readonly<Record<string, { readonly value: Tensor; readonly weight: number }>>;

/** The classification layer as a method sees it. embeddings [B, D], labels [B] int64 */
export interface Classifier {
  /** Mean over the batch of the classification loss. */
  loss(embeddings: Tensor, labels: Tensor): Tensor;
  /** One row for each class [C, D]; of several processes each may hold some of the rows. */
  readonly weight: Tensor;
  /** Over all classes the sum of what is summed over the rows of `weight` here; with a gradient. */
  overClasses(sum: Tensor): Tensor;
}

/** What a method sees of a training step. Of the old model it can read only what it declared. */
export interface TrainingStep<N extends OldModelInput = OldModelInput, W extends OldModelInput = never> {
  /** The new model's embeddings, not normalised. [B, D] */
  readonly embeddings: Tensor;
  /** The same in the space of the old model: through the recipe's projection, if it has one. [B, old D] */
  readonly inOldSpace: Tensor;
  readonly labels: Tensor; // [B] int64
  readonly head: Classifier;
  readonly old: Pick<OldModelBatch, N> & Partial<Pick<OldModelBatch, W>>;
  /** 0 at the first step, towards 1 at the last. */
  readonly progress: number;
  /** From 0. */
  readonly epoch: number;
  readonly epochs: number;
  /** How a method's own modules are run. */
  readonly pass: Pass;
  /** Who shares the batch: the above is this process's share, and terms are averaged. What looks beyond single samples asks it. */
  readonly group: ProcessGroup;
  /** A stream of this step alone, the same in every process. */
  readonly rng: Rng;
  /** Adds to a counter of the run's log. */
  count(what: string, by: number): void;
}

/** What a method may read between epochs. */
export interface EpochStart<N extends OldModelInput = OldModelInput> {
  readonly epoch: number;
  readonly old: Pick<OldModelBatch, Extract<N, keyof OldModelConstants>>;
  /** Embeds the training set with the backbone as it is now, without augmentation. → flat [N · D] in the old space */
  embedTrainSet(): Promise<Float32Array>;
}

/** A method at work in one run. */
export interface MethodInstance<N extends OldModelInput = OldModelInput, W extends OldModelInput = never> {
  terms(step: TrainingStep<N, W>): LossTerms;
  /** Learned parts of its own (a discriminator): optimised, clipped and checkpointed with the backbone. */
  readonly modules?: Readonly<Record<string, Module>>;
  /** Tensors that later steps depend on (a queue): checkpointed. */
  readonly state?: Readonly<Record<string, Tensor>>;
  /** Those of them that `terms` writes into: put back when a step is left out. */
  readonly written?: readonly Tensor[];
  /** Runs before the first step of each epoch. */
  onEpoch?(start: EpochStart<N>): Promise<void>;
}

/** Sizes a method may build its parts from; `oldDim` is that of the space both models share. */
export type MethodSetup = {
  readonly oldDim: number;
  /** Whether a projection leads there; otherwise it is the space of the new embeddings itself. */
  readonly projected: boolean;
  readonly classes: number;
  readonly rng: Rng;
};

/** The only thing a method may be. The trainer owns the loop, optimiser, schedule, precision and log. */
export interface Method<
  N extends OldModelInput = OldModelInput,
  W extends OldModelInput = never,
  S extends z.ZodObject = z.ZodObject,
> {
  readonly name: string;
  /** Paper, and where in it; what of the reference's code we follow. */
  readonly source: string;
  readonly needs: readonly N[];
  /** What it uses if it is given. */
  readonly wants?: readonly W[];
  /** Whether the new dimension may differ from the old one, with a projection between them. */
  readonly projects: boolean;
  /** Its section of a recipe. */
  readonly options: S;
  start(options: z.infer<S>, setup: MethodSetup): MethodInstance<N, W>;
}

/** Declares a method; `needs` and `wants` decide what its `terms` may read. */
export const defineMethod = <
  const N extends OldModelInput,
  const W extends OldModelInput = never,
  S extends z.ZodObject = z.ZodObject,
>(
  method: Method<N, W, S>,
): Method<N, W, S> => method;
