import { createHash } from 'node:crypto';
import { canonicalJson } from '../artifacts/digest.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { loadStateDict, type NamedTensors } from '../nn/state-dict.ts';
import { type Metadata, readSafetensors, type Tensor, toBytes, writeSafetensors } from '../torch/index.ts';

/** Digests of a run's inputs. A run resumes only with the same. */
export type TrainingIdentity = {
  readonly recipe: string;
  readonly dataset: string;
  readonly old: string;
  /** Of a scripted network's file. */
  readonly script?: string;
  /** Of the weights that training began from, if they are not random. */
  readonly init?: string;
  /** Of what validations decide by. */
  readonly validation?: string;
};

/** How far a run is. Schedule and random streams are functions of step and seed, so nothing else is stored. */
export type TrainingPosition = TrainingIdentity & {
  /** Optimiser steps taken. */
  readonly step: number;
  /** What the run has counted so far. */
  readonly counts: Readonly<Record<string, number>>;
};

/** Bytes that are hashed at a time. Node refuses more than 2 GiB. */
const HASHED_AT_ONCE = 1 << 30;

/** SHA-256 of a checkpoint's metadata and tensors. */
function checksumOf(about: Metadata, state: NamedTensors): string {
  const hash = createHash('sha256').update(canonicalJson(about));
  for (const [name, value] of state) {
    hash.update(`${name} ${value.dtype} ${value.shape}\n`);
    const bytes = toBytes(value);
    for (let at = 0; at < bytes.length; at += HASHED_AT_ONCE) hash.update(bytes.subarray(at, at + HASHED_AT_ONCE));
  }
  return hash.digest('hex');
}

/** Writes a checkpoint, or nothing if that fails. Iterates over `state` twice. */
export function saveCheckpoint(
  path: string,
  { step, counts, ...identity }: TrainingPosition,
  state: () => NamedTensors,
): void {
  const about = { ...identity, step: String(step), counts: canonicalJson(counts) };
  writeSafetensors(path, state(), { ...about, checksum: checksumOf(about, state()) });
}

/** Reads a checkpoint into the caller's scope. @throws FileError if it is truncated or damaged */
export function readCheckpoint(path: string): {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: Metadata;
} {
  const { tensors, metadata } = readSafetensors(path);
  const { checksum, ...about } = metadata;
  if (checksum !== checksumOf(about, tensors)) throw new FileError(path, 'is damaged (its checksum differs)');
  return { tensors, metadata };
}

/** Counts whose names in checkpoints of 0.3.0 were others. */
const RENAMED_COUNTS: Readonly<Record<string, string>> = {
  'batches left out for a loss that is not finite': 'batches skipped for a non-finite loss',
  'batches left out for a gradient that is not finite': 'batches skipped for a non-finite gradient',
  'steps left out for gradients that overflow': 'steps skipped for overflowing gradients',
  'old embeddings left out': 'old embeddings skipped',
};

const currentCounts = (counts: TrainingPosition['counts']): TrainingPosition['counts'] =>
  Object.fromEntries(Object.entries(counts).map(([name, count]) => [RENAMED_COUNTS[name] ?? name, count]));

/** The first input of the expected training that a checkpoint was not written with; undefined if there is none. */
export const firstDifference = (metadata: Metadata, expected: TrainingIdentity) =>
  Object.entries(expected).find(([what, digest]) => metadata[what] !== digest);

/**
 * Copies a checkpoint into `state`. @returns its step and counts
 * @throws UserError if it belongs to another recipe, dataset or old model, or lacks a tensor.
 */
export function applyCheckpoint(
  path: string,
  { tensors, metadata }: ReturnType<typeof readCheckpoint>,
  expected: TrainingIdentity,
  state: NamedTensors,
): Pick<TrainingPosition, 'step' | 'counts'> {
  const different = firstDifference(metadata, expected);
  if (different) {
    const [what, digest] = different;
    throw new UserError(
      `${path}: this checkpoint was written with another ${what} (${metadata[what]}, now ${digest})`,
      { hint: ['resume with what the run was started with', optionHint('start anew with --force')] },
    );
  }
  loadStateDict(path, tensors, state);
  return { step: Number(metadata['step']), counts: currentCounts(JSON.parse(metadata['counts']!)) };
}
