import type { z } from 'zod';
import type { Rng } from '../base/rng.ts';
import type { Module } from '../nn/index.ts';
import type { Tensor } from '../torch/index.ts';

/** What the old model left behind, for one batch. All of it is constant: no gradient flows into it. */
export interface Supply {
  /** Old embeddings of the batch's samples, rows of length 1. [B, D] */
  oldEmbedding: Tensor;
  /** Rows of the batch whose old embedding may be trusted (artefact of `mixbct denoise`). */
  credible: Int32Array;
  /** Class means of the old embeddings, rows of length 1 (artefact of `mixbct average`). [C, D] */
  oldPrototypes: Tensor;
}
export type Need = keyof Supply;

/** Loss terms by name; the trainer adds `weight · value` and logs each. */
export type Terms = Readonly<Record<string, { readonly value: Tensor; readonly weight: number }>>;

/** What a method sees of a training step. It can read only what it declared to need. */
export interface Step<N extends Need = Need> {
  /** The new model's embeddings, not normalised. [B, D] */
  readonly embeddings: Tensor;
  readonly labels: Tensor; // [B] int64
  readonly head: { loss(embeddings: Tensor, labels: Tensor): Tensor; logits(embeddings: Tensor): Tensor };
  readonly old: Pick<Supply, N>;
  /** 0 at the first step, towards 1 at the last. */
  readonly progress: number;
  /** A stream of this step alone. */
  readonly rng: Rng;
  /** Adds to a counter of the run's log. */
  count(what: string, by: number): void;
}

/** A method at work in one run. */
export interface Running<N extends Need = Need> {
  terms(step: Step<N>): Terms;
  /** Learned parts of its own (a discriminator): optimised, clipped and checkpointed with the backbone. */
  readonly modules?: Readonly<Record<string, Module>>;
  /** Tensors that later steps depend on (a queue): checkpointed. */
  state?(): Iterable<readonly [name: string, value: Tensor]>;
  /** Before each epoch: may renew what the old model supplies. `embedTrainSet` runs the current backbone → [N, D]. */
  onEpoch?(at: {
    readonly epoch: number;
    readonly epochs: number;
    embedTrainSet(): Promise<Float32Array>;
  }): Promise<Partial<Supply>>;
}

/** Sizes a method may build its parts from. */
export type Setup = { readonly embeddingDim: number; readonly classes: number; readonly rng: Rng };

/** The only thing a method may be. The trainer owns the loop, optimiser, schedule, precision and log. */
export interface Method<N extends Need = Need, S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** Paper, and where in it; what of the reference's code we follow. */
  readonly source: string;
  readonly needs: readonly N[];
  /** Its section of a recipe. */
  readonly options: S;
  start(options: z.infer<S>, setup: Setup): Running<N>;
}

/** Declares a method; `needs` decides what its `terms` may read. */
export const defineMethod = <const N extends Need, S extends z.ZodObject>(method: Method<N, S>): Method<N, S> => method;
