import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { sync } from '../artifacts/durable-write.ts';
import { FileError, optionHint } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { scope, type Tensor } from '../torch/index.ts';
import {
  applyCheckpoint,
  readCheckpoint,
  saveCheckpoint,
  type TrainingIdentity,
  type TrainingPosition,
} from './checkpoint.ts';

type State = () => Iterable<readonly [string, Tensor]>;

/**
 * A run's checkpoints: the latest, and the one before it for the day when the latest cannot be read. Whenever the process
 * or the machine stops, one of both is whole, for a new one is written and synced beside them and renamed only then.
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
    sync(dirname(this.#latest));
  }

  /**
   * Copies the latest whole checkpoint into `state` and returns where it was taken. One that is damaged is named and removed.
   * @throws FileError if none is whole; UserError if it belongs to another run.
   */
  load(expected: TrainingIdentity, state: State): Pick<TrainingPosition, 'step' | 'counts'> {
    return scope(() => {
      const { path, checkpoint, damaged } = this.#latestWhole();
      const at = applyCheckpoint(path, checkpoint, expected, state());
      if (damaged) {
        logLine(`${damaged.message}\n  going on from the checkpoint before it, of step ${at.step}`);
        rmSync(damaged.path);
      }
      return at;
    });
  }

  #latestWhole() {
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
      `no checkpoint is whole:\n  ${problems}`,
      optionHint('start anew with --force'),
    );
  }

  remove(): void {
    for (const path of [this.#latest, this.#previous, this.#fresh, `${this.#fresh}.part`])
      rmSync(path, { force: true });
  }
}
