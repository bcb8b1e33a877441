import { totalmem } from 'node:os';
import { type Hint, UserError } from '../base/errors.ts';

/** The sizes that determine the memory of an evaluation of a labelled set. */
export type EvaluationSize = {
  /** N, C */
  readonly count: number;
  readonly classes: number;
  /** D of each feature set, the old model's first. One new model is in memory at a time. */
  readonly dims: readonly number[];
  /** Genuine and impostor pairs. */
  readonly pairs: number;
  readonly resamples: number;
};

/** A pair: two positions, two identities, its scores by two models, a sorted copy, and its entry in the table of identities that meet. */
const BYTES_PER_PAIR = 124;
/** An image: label, family, identity, its partners in genuine pairs, and what a search keeps of a probe. */
const BYTES_PER_IMAGE = 200;
/** libtorch, Node.js, and the block of similarities that a search works on. */
const BASE_BYTES = 400e6;

/** Estimates the bytes that `evaluate` takes: two models' embeddings, pairs, resamples. */
export function evaluationBytes({ count, classes, dims, pairs, resamples }: EvaluationSize): number {
  const [old = 0, ...news] = dims;
  const numbers = count * (old + 2 * Math.max(0, ...news)); // a new model may have a projection
  return (
    BASE_BYTES +
    4 * numbers +
    BYTES_PER_IMAGE * count +
    BYTES_PER_PAIR * Math.min(pairs, count ** 2) +
    2 * resamples * classes
  );
}

/** A quarter of the machine's memory. */
export const defaultMemory = (): number => totalmem() / 4;

/** What a computation says that would take more memory than it may. `what`: such as "evaluating 10 embeddings takes about" */
export function memoryError(
  what: string,
  bytes: { readonly needed: number; readonly allowed: number },
  hint: Hint,
): UserError {
  const gigabytes = (of: number): string => `${(of / 1e9).toPrecision(2)} GB`;
  return new UserError(`${what} ${gigabytes(bytes.needed)}, it may take ${gigabytes(bytes.allowed)}`, { hint });
}
