import { createHash } from 'node:crypto';
import { canonicalJson } from '../artifacts/artifact.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { loadStateDict, type NamedTensors } from '../nn/state-dict.ts';
import { type Metadata, readSafetensors, type Tensor, toBytes, writeSafetensors } from '../torch/index.ts';

/** Digests of what a run was started with: another recipe or dataset may not continue it. */
export type TrainingIdentity = { readonly recipe: string; readonly dataset: string; readonly old: string };

/** Where a run stands. Schedule and random streams are functions of the step and the seed, so this is all of it. */
export type TrainingPosition = TrainingIdentity & {
  /** Optimiser steps taken. */
  readonly step: number;
  /** What the run has counted so far. */
  readonly counts: Readonly<Record<string, number>>;
};

/** Bytes that are hashed at a time: more than 2 GiB are refused. */
const HASHED_AT_ONCE = 1 << 30;

/** SHA-256 of all that a checkpoint says. */
function checksumOf(about: Metadata, state: NamedTensors): string {
  const hash = createHash('sha256').update(canonicalJson(about));
  for (const [name, value] of state) {
    hash.update(`${name} ${value.dtype} ${value.shape}\n`);
    const bytes = toBytes(value);
    for (let at = 0; at < bytes.length; at += HASHED_AT_ONCE) hash.update(bytes.subarray(at, at + HASHED_AT_ONCE));
  }
  return hash.digest('hex');
}

/** Writes a checkpoint: all of it or, if that fails, nothing. `state` is walked twice. */
export function saveCheckpoint(
  path: string,
  { step, counts, ...identity }: TrainingPosition,
  state: () => NamedTensors,
): void {
  const about = { ...identity, step: String(step), counts: canonicalJson(counts) };
  writeSafetensors(path, state(), { ...about, checksum: checksumOf(about, state()) });
}

/** What a whole checkpoint holds; its tensors belong to the caller's scope. @throws FileError if it is torn or damaged. */
export function readCheckpoint(path: string): {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: Metadata;
} {
  const { tensors, metadata } = readSafetensors(path);
  const { checksum, ...about } = metadata;
  if (checksum !== checksumOf(about, tensors)) throw new FileError(path, 'is damaged (its checksum differs)');
  return { tensors, metadata };
}

/**
 * Copies a checkpoint into `state` and returns where it was taken.
 * @throws UserError if it belongs to another recipe, dataset or old model, or lacks a tensor.
 */
export function applyCheckpoint(
  path: string,
  { tensors, metadata }: ReturnType<typeof readCheckpoint>,
  expected: TrainingIdentity,
  state: NamedTensors,
): Pick<TrainingPosition, 'step' | 'counts'> {
  for (const [what, digest] of Object.entries(expected))
    if (metadata[what] !== digest)
      throw new UserError(
        `${path}: this checkpoint was written with another ${what} (${metadata[what]}, now ${digest})`,
        {
          hint: ['resume with what the run was started with', optionHint('start anew with --force')],
        },
      );
  loadStateDict(path, tensors, state);
  return { step: Number(metadata['step']), counts: JSON.parse(metadata['counts']!) };
}
