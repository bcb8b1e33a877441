import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { canonicalJson, digestOf, MANIFEST, readJson, writeJson } from '../base/artifact.ts';
import { FileError, Interrupted, UserError } from '../base/errors.ts';
import { say } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { holdOut, openDataset, sampleImages, split } from '../data/index.ts';
import { extractFeatures, FeatureSet, writeBoundaries, writeCredible, writePrototypes } from '../features/index.ts';
import { openOld } from '../train/old.ts';
import type { Recipe } from '../train/recipe.ts';
import { embedderOf, isBegun, loadModel } from '../train/run.ts';
import { train } from '../train/train.ts';
import { fetchSet } from './data.ts';
import { evaluateStage } from './evaluate.ts';
import { type Experiment, neededFor, referencesOf, type Stage, targetOf } from './experiment.ts';
import { openInputDataset } from './input-dataset.ts';

export type StageOptions = {
  /** The experiment's folder: a folder for each stage. */
  readonly out: string;
  /** Folder of fetched data sets, which experiments share. */
  readonly dataFolder: string;
  /** Make stages again whose options or inputs have changed. */
  readonly force: boolean;
  readonly workers: number;
  readonly signal: AbortSignal;
  /** Run no more than what these stages need. */
  readonly only?: readonly string[];
};

/** Where each stage, and each part of one, has put what it made. */
type Places = Map<string, string>;
type Context = StageOptions & {
  readonly experiment: Experiment;
  readonly id: string;
  readonly folder: string;
  at(reference: string): string;
};

/** Runs the stages in order; what is done is skipped, what was interrupted goes on. → the folder of each stage */
export async function runStages(experiment: Experiment, options: StageOptions): Promise<ReadonlyMap<string, string>> {
  const places: Places = new Map();
  const at = (reference: string): string => {
    const name = targetOf(experiment, reference);
    return places.get(name) ?? name;
  };
  const needed = options.only?.length ? neededFor(experiment, options.only) : null;
  const entries = Object.entries(experiment.stages).filter(
    ([id]) => !Object.hasOwn(experiment.aliases, id) && (needed?.has(id) ?? true),
  );
  for (const [i, [id, stage]] of entries.entries()) {
    const folder = join(options.out, id);
    const context = { ...options, experiment, id, folder, at };
    const record = join(options.out, '.stages', `${id}.json`);
    const inputs = digestOf(
      canonicalJson({
        stage,
        title: experiment.title,
        seed: experiment.seed,
        version,
        inputs: referencesOf(stage).map((reference) => digestAt(at(reference))),
      }),
    );
    const known = existsSync(record) ? readRecord(record) : null;
    const news = `[${i + 1}/${entries.length}] ${id}`;
    if (known?.inputs === inputs && Object.values(known.made).every(isThere)) {
      say(`${news}: done already`);
      for (const [name, place] of Object.entries(known.made)) places.set(name, place);
      continue;
    }
    if (known && known.inputs !== inputs && !options.force)
      throw new UserError(`${folder}: stage ${id} was made with other options or inputs`, {
        hint: 'choose another --out, or pass --force to make it and what follows again',
      });
    if (options.signal.aborted) throw new Interrupted(`stopped before stage ${id}; the stages before it are done`);
    say(`${news}: ${describe(stage)}`);
    const made = await perform(stage, context);
    writeJson(record, { inputs, made });
    for (const [name, place] of Object.entries(made)) places.set(name, place);
  }
  return places;
}

const recordSchema = z.object({ inputs: z.string(), made: z.record(z.string(), z.string()) });

function readRecord(path: string): z.infer<typeof recordSchema> {
  const { data } = recordSchema.safeParse(readJson(path));
  if (!data) throw new FileError(path, 'is damaged', 'remove it: the stage is then made again');
  return data;
}

const isThere = (place: string): boolean => existsSync(place) || existsSync(`${place}.idx`); // renamed last

/** What a stage's inputs are told apart by: the manifest of an artefact, the content of a data set. */
function digestAt(place: string): string {
  const manifest = join(place, MANIFEST);
  if (existsSync(manifest)) return digestOf(canonicalJson(readJson(manifest)));
  using dataset = openDataset(place);
  return dataset.digest;
}

function describe(stage: Stage): string {
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
async function perform(stage: Stage, context: Context): Promise<Record<string, string>> {
  const { id, folder, at, experiment, workers } = context;
  const force = { force: true }; // the stage's folder is this experiment's own, and its record has been checked
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
      const model = loadModel(at(stage.model));
      const { flip, space } = stage;
      const { seed } = experiment;
      await extractFeatures(dataset, embedderOf(model, space), {
        signal: context.signal,
        out: folder,
        flip,
        seed,
        workers,
        ...force,
      });
      model.dispose();
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

async function trainStage(
  stage: Stage & { readonly do: 'train' },
  { folder, at, workers, signal, force }: Context,
): Promise<void> {
  const recipe = stage.recipe as Recipe;
  using dataset = openInputDataset(at(stage.on));
  const old = Object.fromEntries(Object.entries(stage.old).map(([what, reference]) => [what, at(reference!)]));
  using supply = openOld(recipe, old, dataset);
  const resume = !force && isBegun(folder) && !existsSync(join(folder, MANIFEST));
  await train({ recipe, dataset, old: supply, out: folder, resume, force: !resume, workers, signal });
}
