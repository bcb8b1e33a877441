import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { fsyncPath } from '../artifacts/durable-write.ts';
import { FileError, optionHint } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { scope, type Tensor } from '../torch/index.ts';
import {
  applyCheckpoint,
  firstDifference,
  readCheckpoint,
  saveCheckpoint,
  type TrainingIdentity,
  type TrainingPosition,
} from './checkpoint.ts';

type State = () => Iterable<readonly [string, Tensor]>;

/**
 * The latest and the previous checkpoint of a run. If the latest is damaged, the previous one is used. A new checkpoint is
 * written and synced under a temporary name, then renamed, so that at least one is intact whenever the machine stops.
 */
export class CheckpointStore {
  readonly #latest: string;
  readonly #previous: string;
  readonly #fresh: string;

  constructor({ checkpoint, previous }: { readonly checkpoint: string; readonly previous: string }) {
    this.#latest = checkpoint;
    this.#previous = previous;
    this.#fresh = `${checkpoint}.new`;
  }

  save(position: TrainingPosition, state: State): void {
    saveCheckpoint(this.#fresh, position, state);
    if (existsSync(this.#latest)) renameSync(this.#latest, this.#previous);
    renameSync(this.#fresh, this.#latest);
    fsyncPath(dirname(this.#latest));
  }

  /**
   * Copies the latest intact checkpoint into `state`. @returns its step and counts. A damaged one is reported and removed.
   * @throws FileError if none is intact; UserError if it belongs to another run.
   */
  load(expected: TrainingIdentity, state: State): Pick<TrainingPosition, 'step' | 'counts'> {
    return scope(() => {
      const { path, checkpoint, damaged } = this.#latestIntact();
      const at = applyCheckpoint(path, checkpoint, expected, state());
      if (damaged) {
        logLine(`${damaged.message}\n  resuming from the previous checkpoint, of step ${at.step}`);
        rmSync(damaged.path);
      }
      return at;
    });
  }

  /** Whether a training can go on from the latest intact checkpoint: it is of the `same` or of `another`, or none is intact. */
  belongsTo(expected: TrainingIdentity): 'same' | 'another' | 'damaged' {
    try {
      const { metadata } = scope(() => ({ metadata: this.#latestIntact().checkpoint.metadata }));
      return firstDifference(metadata, expected) ? 'another' : 'same';
    } catch (error) {
      if (error instanceof FileError) return 'damaged';
      throw error;
    }
  }

  #latestIntact() {
    const damaged: FileError[] = [];
    for (const path of [this.#latest, this.#previous].filter((one) => existsSync(one)))
      try {
        return { path, checkpoint: readCheckpoint(path), damaged: damaged[0] };
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        damaged.push(error);
      }
    if (damaged.length === 0)
      throw new FileError(
        this.#latest,
        'there is no checkpoint to resume from',
        optionHint('start the run without --resume'),
      );
    const problems = damaged.map(({ message }) => message).join('\n  ');
    throw new FileError(
      dirname(this.#latest),
      `no checkpoint is intact:\n  ${problems}`,
      optionHint('start anew with --force'),
    );
  }
}
