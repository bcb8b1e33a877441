import { existsSync } from 'node:fs';
import { FileError, UserError } from '../base/errors.ts';
import { copy_, noGrad, readSafetensors, scope, type Tensor, writeSafetensors } from '../torch/index.ts';

/** Problems of one file that are listed. */
const MOST_LISTED = 20;

/** Where a run stands. Schedule and random streams are functions of the step and the seed, so this is all of it. */
export type Position = {
  /** Optimiser steps taken. */
  readonly step: number;
  /** Digests of what the run was started with: another recipe or dataset may not continue it. */
  readonly recipe: string;
  readonly dataset: string;
  readonly old: string;
};

export function saveCheckpoint(path: string, position: Position, state: Iterable<readonly [string, Tensor]>): void {
  writeSafetensors(
    path,
    state,
    Object.fromEntries(Object.entries(position).map(([key, value]) => [key, String(value)])),
  );
}

/**
 * Copies a checkpoint into `state` and returns the step it was taken at.
 * @throws UserError if it belongs to another recipe, dataset or old model, or lacks a tensor.
 */
export function loadCheckpoint(
  path: string,
  expected: Omit<Position, 'step'>,
  state: Iterable<readonly [string, Tensor]>,
): number {
  if (!existsSync(path))
    throw new FileError(path, 'there is no checkpoint to resume from', 'start the run without --resume');
  return scope(() => {
    const { tensors, metadata } = readSafetensors(path);
    for (const [what, digest] of Object.entries(expected))
      if (metadata[what] !== digest)
        throw new UserError(
          `${path}: this checkpoint was written with another ${what} (${metadata[what]}, now ${digest})`,
          {
            hint: 'resume with what the run was started with, or start anew with --force',
          },
        );
    restore(path, tensors, state);
    return Number(metadata['step']);
  });
}

type Named = Iterable<readonly [string, Tensor]>;

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
export function misfit(path: string, problems: readonly string[], hint?: string): FileError {
  const more = problems.length > MOST_LISTED ? [`… and ${problems.length - MOST_LISTED} more`] : [];
  const lines = [...problems.slice(0, MOST_LISTED), ...more];
  return new FileError(path, `does not fit this model:\n  ${lines.join('\n  ')}`, hint);
}

/** Copies named tensors into `state`, which must have just these names and shapes. @throws FileError listing what differs. */
export function restore(path: string, tensors: ReadonlyMap<string, Tensor>, state: Named): void {
  const into = [...state];
  const problems = mismatches(tensors, into);
  if (problems.length > 0) throw misfit(path, problems);
  noGrad(() => {
    for (const [name, value] of into) copy_(value, tensors.get(name)!);
  });
}
