import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';
import { type Dataset, openDataset } from '../../src/data/index.ts';
import {
  extractFeatures,
  FeatureSet,
  writeBoundaries,
  writeCredible,
  writePrototypes,
} from '../../src/features/index.ts';
import { openEncoder } from '../../src/runs/open-encoder.ts';
import { runFiles } from '../../src/runs/run-artifact.ts';
import { type OldModelPaths, openOldModelInputs } from '../../src/train/old-model-inputs.ts';
import { train } from '../../src/train/train.ts';
import type { TrainOptions } from '../../src/train/training-plan.ts';
import { testFolder } from './folder.ts';
import { writeTinySet } from './images.ts';
import { tinyRecipe } from './recipes.ts';

/** A record set of 50 images in 6 classes, in a folder of its own. */
export async function tinySet(t: TestContext): Promise<{ folder: string; prefix: string; dataset: Dataset }> {
  const folder = testFolder(t);
  const prefix = join(folder, 'set');
  await writeTinySet(prefix, { perClass: [9, 8, 7, 9, 8, 9] });
  const dataset = openDataset(prefix);
  t.after(() => dataset.close());
  return { folder, prefix, dataset };
}

/** Trains a tiny recipe with changes, on what an old model left at `paths`, and decodes in this thread: starting one takes as long as a training. */
export async function trained(
  dataset: Dataset,
  out: string,
  changes: Record<string, unknown> = {},
  options: Partial<TrainOptions> & { paths?: OldModelPaths } = {},
) {
  const recipe = tinyRecipe(changes);
  const { paths = {}, ...rest } = options;
  using old = openOldModelInputs(recipe, paths, dataset);
  return await train({ recipe, dataset, old, out, logEvery: 1, workers: 0, ...rest });
}

/** The last line of a run's log. */
export const lastReport = (out: string): { loss: number; terms: Readonly<Record<string, number>> } =>
  JSON.parse(readFileSync(runFiles(out).log, 'utf8').trimEnd().split('\n').at(-1)!);

/** The bytes of a finished run's backbone and head. */
export const weights = (out: string): Buffer[] => [readFileSync(runFiles(out).model), readFileSync(runFiles(out).head)];

export type OldSide = Readonly<Record<'features' | 'credible' | 'prototypes' | 'boundaries', string>>;

/** Trains an old model and makes everything of it that a method may need. */
export async function oldSide(folder: string, dataset: Dataset): Promise<OldSide> {
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('old'), { head: { kind: 'softmax' }, epochs: 1 });
  using encoder = await openEncoder(at('old'));
  await extractFeatures(dataset, encoder, { out: at('features'), batchSize: 16 });
  return derivedSide(folder);
}

/** A tiny set and the old model's side of it, made once for all tests of a file. Each test names outputs of its own. */
export function sharedSet(): () => Promise<{ folder: string; prefix: string; dataset: Dataset; side: OldSide }> {
  const cleanups: (() => void)[] = [];
  after(() => {
    for (const cleanup of cleanups.reverse()) cleanup();
  });
  const make = async () => {
    const set = await tinySet({ after: (cleanup: () => void) => cleanups.push(cleanup) } as never);
    return { ...set, side: await oldSide(set.folder, set.dataset) };
  };
  let made: ReturnType<typeof make> | undefined;
  return () => (made ??= make());
}

/** What methods need of the old features in `folder`, derived beside them. */
export async function derivedSide(folder: string): Promise<OldSide> {
  const at = (name: string): string => join(folder, name);
  using set = FeatureSet.open(at('features'));
  await writeCredible(at('credible'), set, { keep: 0.7 });
  await writePrototypes(at('prototypes'), set);
  await writeBoundaries(at('boundaries'), set);
  return {
    features: at('features'),
    credible: at('credible'),
    prototypes: at('prototypes'),
    boundaries: at('boundaries'),
  };
}
