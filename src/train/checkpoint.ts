import { createHash } from 'node:crypto';
import { canonicalJson } from '../artifacts/artifact.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import {
  copy_,
  type Metadata,
  noGrad,
  readSafetensors,
  type Tensor,
  toBytes,
  writeSafetensors,
} from '../torch/index.ts';

/** Problems of one file that are listed. */
const MOST_LISTED = 20;

/** Digests of what a run was started with: another recipe or dataset may not continue it. */
export type TrainingIdentity = { readonly recipe: string; readonly dataset: string; readonly old: string };

/** Where a run stands. Schedule and random streams are functions of the step and the seed, so this is all of it. */
export type TrainingPosition = TrainingIdentity & {
  /** Optimiser steps taken. */
  readonly step: number;
  /** What the run has counted so far. */
  readonly counts: Readonly<Record<string, number>>;
};

type Named = Iterable<readonly [string, Tensor]>;

/** Bytes that are hashed at a time: more than 2 GiB are refused. */
const HASHED_AT_ONCE = 1 << 30;

/** SHA-256 of all that a checkpoint says. */
function checksumOf(about: Metadata, state: Named): string {
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
  state: () => Named,
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
  state: Named,
): Pick<TrainingPosition, 'step' | 'counts'> {
  for (const [what, digest] of Object.entries(expected))
    if (metadata[what] !== digest)
      throw new UserError(
        `${path}: this checkpoint was written with another ${what} (${metadata[what]}, now ${digest})`,
        {
          hint: ['resume with what the run was started with', optionHint('start anew with --force')],
        },
      );
  restoreTensors(path, tensors, state);
  return { step: Number(metadata['step']), counts: JSON.parse(metadata['counts']!) };
}

/** What keeps `tensors` from being `state`: names missing, names too many, then other shapes, which may only follow from those. */
export function mismatches(tensors: ReadonlyMap<string, Tensor>, state: Named): string[] {
  const wanted = new Map(state);
  const shapes = [...wanted].flatMap(([name, into]) => {
    const from = tensors.get(name);
    return from && String(from.shape) !== String(into.shape)
      ? [`${name}: wanted [${into.shape}], got [${from.shape}]`]
      : [];
  });
  return [
    ...[...wanted.keys()].filter((name) => !tensors.has(name)).map((name) => `${name} is missing`),
    ...[...tensors.keys()].filter((name) => !wanted.has(name)).map((name) => `${name} is not part of this model`),
    ...shapes,
  ];
}

/** A refusal that lists what does not fit, as far as anyone reads. */
export function mismatchError(path: string, problems: readonly string[], hint?: string): FileError {
  const more = problems.length > MOST_LISTED ? [`… and ${problems.length - MOST_LISTED} more`] : [];
  const lines = [...problems.slice(0, MOST_LISTED), ...more];
  return new FileError(path, `does not fit this model:\n  ${lines.join('\n  ')}`, hint);
}

/** Copies named tensors into `state`, which must have just these names and shapes. @throws FileError listing what differs. */
export function restoreTensors(path: string, tensors: ReadonlyMap<string, Tensor>, state: Named): void {
  const into = [...state];
  const problems = mismatches(tensors, into);
  if (problems.length > 0) throw mismatchError(path, problems);
  noGrad(() => {
    for (const [name, value] of into) copy_(value, tensors.get(name)!);
  });
}
