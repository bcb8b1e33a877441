import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fsyncPath } from '../artifacts/durable-write.ts';
import { kindAt, MANIFEST } from '../artifacts/manifest.ts';
import {
  moveAside,
  type OutputKind,
  type OverwriteOptions,
  replacedPath,
  requireReplaceable,
  restoreReplaced,
} from '../artifacts/output-claim.ts';
import { lockOutput, type OutputLock } from '../artifacts/output-lock.ts';
import { outputKindOf } from '../artifacts/write-artifact.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { trainedClassesPath } from '../features/index.ts';
import { hasCheckpoint, removeCheckpoints, runFiles } from './run-artifact.ts';

/** How `--force` recognises a run: by its manifest, or by its files while it is unfinished. */
const runKind: OutputKind = {
  description: 'a run',
  matches: (path) =>
    outputKindOf('run').matches(path) ||
    (kindAt(path) === null && (hasCheckpoint(path) || foreignEntryIn(path) === undefined)),
  foreignEntry: foreignEntryIn,
};

/** A file or folder in a run's folder that does not belong to the run. */
function foreignEntryIn(path: string): string | undefined {
  const known = new Set([
    MANIFEST,
    ...[...Object.values(runFiles('')), trainedClassesPath('')].map((file) => basename(file)),
  ]);
  return readdirSync(path).find((name) => !known.has(name.replace(/(\.new)?((\.[0-9a-f-]+)?\.part)?$/, '')));
}

/** @throws UserError if `resume` has nothing to resume, or `out` exists and neither `resume` nor `force` is set. */
function requireRunPlace(out: string, { resume, force }: { readonly resume: boolean; readonly force: boolean }): void {
  const finished = existsSync(join(out, MANIFEST));
  const begun = hasCheckpoint(out);
  if (resume && finished) throw new UserError(`${out}: this run is finished, there is nothing to resume`);
  if (resume && !begun)
    throw new UserError(`${out}: there is no checkpoint to resume from`, {
      hint: optionHint('start the run without --resume'),
    });
  if (!resume && !force && existsSync(out))
    throw new UserError(
      finished
        ? `${out}: a finished run stands there`
        : `${out}: ${begun ? 'an unfinished run' : 'something'} stands there`,
      {
        hint: [
          ...(begun && !finished ? [optionHint('pass --resume to go on with it')] : []),
          optionHint('choose another --out'),
          optionHint('pass --force to replace it'),
        ],
      },
    );
}

/** Whether a finished run was killed before it removed its checkpoints. */
const isCutShort = (out: string): boolean => existsSync(join(out, MANIFEST)) && hasCheckpoint(out);

/** Removes the checkpoints of a finished run, and the run that it replaced. */
function removeOlder(out: string): void {
  if (!existsSync(join(out, MANIFEST))) return;
  removeCheckpoints(out);
  rmSync(replacedPath(out), { recursive: true, force: true });
}

/** Completes the cleaning up of a finished run that was killed. @throws UserError if another process writes it. */
export function removeRunLeftovers(out: string): void {
  using _ = lockOutput(out);
  removeOlder(out);
}

/**
 * The right to write a run's directory. Unlike other artefacts, a run has its final name while it is made. The run that it
 * replaces is kept beside it until the new one is finished, and is restored if the new one fails before its first step.
 */
export class RunOutput implements Disposable {
  readonly #out: string;
  readonly #replaced: string;
  readonly #lock: OutputLock;
  /** Whether nothing of a replaced run stands at `out` any more. */
  #begun = false;

  private constructor(out: string, lock: OutputLock) {
    this.#out = out;
    this.#replaced = replacedPath(out);
    this.#lock = lock;
  }

  /** @throws UserError if another process writes it, or the run there may be neither resumed nor replaced. */
  static claim(out: string, { resume, ...replacing }: OverwriteOptions & { readonly resume: boolean }): RunOutput {
    const check = (): void => {
      requireRunPlace(out, { resume, force: replacing.force ?? false });
      if (!resume) requireReplaceable(out, runKind, replacing);
    };
    if (!existsSync(replacedPath(out)) && !(resume && isCutShort(out))) check(); // before anything is written beside it
    const lock = lockOutput(out);
    try {
      restoreReplaced(out);
      removeOlder(out);
      check();
      return new RunOutput(out, lock);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** Makes an empty directory for a new run. */
  begin(): void {
    if (existsSync(this.#replaced)) rmSync(this.#out, { recursive: true, force: true });
    else if (existsSync(this.#out)) moveAside(this.#out);
    this.#begun = true;
    mkdirSync(this.#out, { recursive: true });
  }

  /** Removes the new run and restores the one that it replaced. A run that could not be moved aside stays as it is. */
  abandon(): void {
    if (!this.#begun) return;
    rmSync(this.#out, { recursive: true, force: true });
    if (existsSync(this.#replaced)) renameSync(this.#replaced, this.#out);
  }

  /** Syncs the new run to disk and removes the one that it replaced. */
  finish(): void {
    if (existsSync(runFiles(this.#out).log)) fsyncPath(runFiles(this.#out).log);
    fsyncPath(this.#out);
    fsyncPath(dirname(resolve(this.#out)));
    rmSync(this.#replaced, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    if (existsSync(this.#replaced) && existsSync(this.#out))
      logLine(`${this.#out}: the run that stood there is kept in ${this.#replaced} until this one is finished`);
    this.#lock[Symbol.dispose]();
  }
}
