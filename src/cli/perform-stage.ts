import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, MANIFEST } from '../artifacts/artifact.ts';
import { logLine } from '../base/progress.ts';
import { holdOut, sampleImages, split } from '../data/index.ts';
import { extractFeatures, FeatureSet, writeBoundaries, writeCredible, writePrototypes } from '../features/index.ts';
import type { Recipe } from '../runs/recipe.ts';
import { isBegun } from '../runs/run-artifact.ts';
import { openOldModelInputs } from '../train/old-model-inputs.ts';
import { openEncoder, readRunManifest } from '../train/run.ts';
import { removeRunLeftovers } from '../train/run-output.ts';
import { train } from '../train/train.ts';
import { fetchSet } from './data.ts';
import { evaluateStage } from './evaluate.ts';
import type { Experiment, Stage } from './experiment.ts';
import { openInputDataset } from './input-dataset.ts';

/** What a stage is made with. */
export type StageContext = {
  readonly experiment: Experiment;
  readonly id: string;
  /** The stage's folder. */
  readonly folder: string;
  /** Folder of fetched data sets, which experiments share. */
  readonly dataFolder: string;
  readonly workers: number;
  readonly signal: AbortSignal;
  /** Replace what stands at the stage's folder: the experiment made it. */
  readonly replace: boolean;
  /** Go on with what an interrupted attempt at this very stage left. */
  readonly goOn: boolean;
  /** The place of a stage, or of a part of one, or a path. */
  readonly at: (reference: string) => string;
};

/** A line of what a stage does. */
export function describe(stage: Stage): string {
  switch (stage.do) {
    case 'get': return `fetch ${stage.set}`;
    case 'hold-out': return `keep ${stage.classes} classes of ${stage.of} away from training`;
    case 'sample': return `draw ${stage.perClass} images of each class of ${stage.of}`;
    case 'split': return `split ${stage.of} by ${stage.by}, ${Math.round(100 * stage.ratio)} to ${Math.round(100 - 100 * stage.ratio)}`;
    case 'train': return `train on ${stage.on}, method ${(stage.recipe as Recipe).method.kind}`;
    case 'extract': return `embed ${stage.of} with ${stage.model}`;
    case 'denoise': return `find the credible features of ${stage.features}`;
    case 'average': return `average ${stage.features}`;
    case 'boundaries': return `draw boundaries around the classes of ${stage.features}`;
    case 'evaluate': return `judge ${Object.keys(stage.new).join(', ')} against ${stage.old}`;
  }
} // biome-ignore format: a table

/** Makes what a stage is there for. → place by name: the stage's id, or `id.part` for each part */
export async function perform(stage: Stage, context: StageContext): Promise<Record<string, string>> {
  const { id, folder, at, experiment, workers } = context;
  const force = { force: context.replace };
  switch (stage.do) {
    case 'get':
      return {
        [id]: (await fetchSet(stage.set, { folder: context.dataFolder, side: stage.side, levels: stage.levels }))
          .prefix,
      };
    case 'hold-out': {
      using dataset = openInputDataset(at(stage.of));
      const [evaluation, rest] = await holdOut(dataset, {
        classes: stage.classes,
        seed: experiment.seed,
        out: folder,
        ...force,
      });
      return { [`${id}.eval`]: evaluation!.prefix, [`${id}.train`]: rest!.prefix };
    }
    case 'sample': {
      using dataset = openInputDataset(at(stage.of));
      const { perClass } = stage;
      const { prefix } = await sampleImages(dataset, { perClass, seed: experiment.seed, out: folder, ...force });
      return { [id]: prefix };
    }
    case 'split': {
      using dataset = openInputDataset(at(stage.of));
      const [first, second] = await split(dataset, { by: stage.by, ratio: stage.ratio, out: folder, ...force });
      return { [`${id}.first`]: first!.prefix, [`${id}.second`]: second!.prefix };
    }
    case 'train':
      await trainStage(stage, context);
      break;
    case 'extract': {
      using dataset = openInputDataset(at(stage.of));
      const { flip, space } = stage;
      using encoder = openEncoder(at(stage.model), { space });
      const { seed } = experiment;
      await extractFeatures(dataset, encoder, {
        signal: context.signal,
        out: folder,
        flip,
        seed,
        workers,
        ...force,
      });
      break;
    }
    case 'denoise': {
      using features = FeatureSet.open(at(stage.features));
      await writeCredible(folder, features, stage, force);
      break;
    }
    case 'average': {
      using features = FeatureSet.open(at(stage.features));
      await writePrototypes(folder, features, force);
      break;
    }
    case 'boundaries': {
      using features = FeatureSet.open(at(stage.features));
      await writeBoundaries(folder, features, force);
      break;
    }
    case 'evaluate': {
      const { impostors, resamples, trial } = stage;
      await evaluateStage({
        title: experiment.title,
        old: at(stage.old),
        oracle: stage.oracle && at(stage.oracle),
        candidates: Object.entries(stage.new).map(([name, reference]) =>
          typeof reference === 'string'
            ? { name, features: at(reference) }
            : { name, features: at(reference.own), inOldSpace: at(reference.old) },
        ),
        seed: experiment.seed,
        ...(impostors !== undefined && { impostors }),
        ...(resamples !== undefined && { resamples }),
        ...(trial !== undefined && { trial }),
        out: folder,
        ...force,
      });
    }
  }
  return { [id]: folder };
}

async function trainStage(stage: Stage & { readonly do: 'train' }, context: StageContext): Promise<void> {
  const { folder, at, workers, signal, goOn, replace } = context;
  const recipe = stage.recipe as Recipe;
  using dataset = openInputDataset(at(stage.on));
  const old = Object.fromEntries(Object.entries(stage.old).map(([what, reference]) => [what, at(reference!)]));
  using supply = openOldModelInputs(recipe, old, dataset);
  const finished = existsSync(join(folder, MANIFEST));
  if (goOn && finished) {
    const made = readRunManifest(folder);
    const same = made.dataset?.digest === dataset.digest && made.old === supply.digest;
    if (same && canonicalJson(made.recipe) === canonicalJson(recipe)) {
      removeRunLeftovers(folder);
      logLine(`${folder}: the model is finished already`);
      return;
    }
  }
  const resume = goOn && !finished && isBegun(folder);
  await train({ recipe, dataset, old: supply, out: folder, resume, force: !resume && replace, workers, signal });
}
