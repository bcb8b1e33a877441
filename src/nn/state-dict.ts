import { FileError } from '../base/errors.ts';
import { BYTES, copy_, noGrad, type Tensor } from '../torch/index.ts';

/** Tensors by the names that a module's state gives them. */
export type StateDict = ReadonlyMap<string, Tensor>;
export type NamedTensors = Iterable<readonly [string, Tensor]>;

/** Bytes of the tensors. */
export function stateBytes(state: NamedTensors): number {
  let bytes = 0;
  for (const [, { numel, dtype }] of state) bytes += numel * BYTES[dtype];
  return bytes;
}

/** Mismatches that an error lists. */
const MOST_LISTED = 20;

/** Why `tensors` do not fit `state`: missing names, names too many, then other shapes, which may follow from those. */
export function stateMismatches(tensors: StateDict, state: NamedTensors): string[] {
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

/** An error that lists the first mismatches. */
export function stateMismatchError(path: string, problems: readonly string[], hint?: string): FileError {
  const more = problems.length > MOST_LISTED ? [`… and ${problems.length - MOST_LISTED} more`] : [];
  const lines = [...problems.slice(0, MOST_LISTED), ...more];
  return new FileError(path, `does not fit this model:\n  ${lines.join('\n  ')}`, hint);
}

/** Copies named tensors into `state`, which must have just these names and shapes. @throws FileError listing what differs. */
export function loadStateDict(path: string, tensors: StateDict, state: NamedTensors): void {
  const into = [...state];
  const problems = stateMismatches(tensors, into);
  if (problems.length > 0) throw stateMismatchError(path, problems);
  noGrad(() => {
    for (const [name, value] of into) copy_(value, tensors.get(name)!);
  });
}
