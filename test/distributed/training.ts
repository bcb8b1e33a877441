// Training runs of several processes, one after the other.
import { cpSync } from 'node:fs';
import { Interrupted } from '../../src/base/errors.ts';
import { openDataset } from '../../src/data/index.ts';
import { type DistributedContext, liveTensors } from '../../src/torch/index.ts';
import { type OldModelPaths, openOldModelInputs } from '../../src/train/old-model-inputs.ts';
import { train } from '../../src/train/train.ts';
import { tinyRecipe } from '../helpers/recipes.ts';

export type Run = {
  readonly prefix: string;
  readonly out: string;
  readonly changes: Readonly<Record<string, unknown>>;
  readonly paths?: OldModelPaths;
  readonly resume?: boolean;
  /** Whether each process has a recipe of its own. */
  readonly quarrel?: boolean;
  /** A run's folder that is copied to `out` first. */
  readonly copyOf?: string;
  readonly overlap?: boolean;
  /** The last process alone is told to stop in this step of those it takes. */
  readonly stopIn?: number;
  readonly skipBadImages?: boolean;
};

export async function run(distributed: DistributedContext, runs: readonly Run[]) {
  const { rank, processes } = distributed.group;
  const before = liveTensors();
  for (const { prefix, out, changes, paths = {}, resume = false, quarrel, copyOf, stopIn, ...options } of runs) {
    const { overlap = true, skipBadImages = false } = options;
    if (copyOf && rank === 0) cpSync(copyOf, out, { recursive: true });
    const dataset = openDataset(prefix);
    const recipe = tinyRecipe({ ...changes, ...(quarrel && { seed: rank }) });
    const supply = openOldModelInputs(recipe, paths, dataset);
    const controller = new AbortController();
    let steps = 0;
    const forBatch: typeof supply.forBatch = (indices) => {
      if (++steps === stopIn && rank === processes - 1) controller.abort();
      return supply.forBatch(indices);
    };
    const old = { ...supply, forBatch };
    const { signal } = controller;
    try {
      const how = { resume, overlap, skipBadImages, distributed, signal, logEvery: 1, workers: 0 };
      await train({ recipe, dataset, old, out, ...how });
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
    }
    supply[Symbol.dispose]();
    dataset.close();
  }
  return { leaked: liveTensors() - before };
}
