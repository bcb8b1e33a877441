/**
 * mixbct as a library: each function does what the command or the stage of its name does. Nothing is printed: give a
 * `reporter`, such as `terminalReporter`, to hear of news and progress. Mistakes of the caller are thrown as `UserError`.
 */

import type { AdapterInfo } from './adapt/adapter-artifact.ts';
import type { BackfillSimulation } from './backfill/simulation.ts';
import { UserError } from './base/errors.ts';
import { type OptionNames, requireOptions } from './base/library-options.ts';
import { type Reporter, reportTo } from './base/progress.ts';
import { type Encoder, readImages } from './encoders/index.ts';
import type { Evaluation } from './eval/index.ts';
import type { PlannedStage } from './experiment/plan.ts';
import type { ExportOptions, ExportResult } from './export/export-model.ts';
import { type EmbeddingsInfo, FeatureSet, type FeaturesInfo } from './features/index.ts';
import type { Chain } from './plan/chain-artifact.ts';
import type { Plan } from './plan/plan-artifact.ts';
import { loadRecipe, parseRecipe } from './runs/load-recipe.ts';
import { type EncoderOptions, openEncoder } from './runs/open-encoder.ts';
import * as adapters from './stages/adapt.ts';
import { type SimulateBackfillOptions as BackfillOptions, writeBackfill } from './stages/backfill.ts';
import { type EmbedPathsOptions, embedPaths } from './stages/embed.ts';
import { type EvaluateSetsOptions, evaluateSets } from './stages/evaluate-sets.ts';
import { type EmbedDatasetOptions, embedDataset } from './stages/extract.ts';
import * as galleries from './stages/galleries.ts';
import * as migrations from './stages/migrate.ts';
import { type PlanUpgradeOptions, planUpgrade } from './stages/plan.ts';
import { type PlanChainOptions as ChainOptions, planChain as comparedChain } from './stages/plan-chain.ts';
import * as experiments from './stages/run-experiment.ts';
import {
  type SearchGalleryOptions as GallerySearch,
  type QueryHits,
  searchGallery as searched,
} from './stages/search.ts';
import { type TrainedModel, type TrainModelOptions, trainModel } from './stages/train.ts';
import type { MigrationRun } from './stores/run-migration.ts';
import type { Stamp } from './stores/stamp.ts';

export { Interrupted, UserError } from './base/errors.ts';
export type { Progress, Reporter } from './base/progress.ts';
export { terminalReporter } from './base/terminal-reporter.ts';
export type { LoadedGallery } from './stages/galleries.ts';
export type { MigrationStatus } from './stages/migrate.ts';
export type { GalleryStore, Hit, SearchedSpace } from './stores/gallery-store.ts';
export type { MigrationCheck } from './stores/verify-migration.ts';
export { setDefaultDevice, setThreads } from './torch/index.ts';
export type {
  AdapterInfo,
  BackfillSimulation,
  Chain,
  EmbeddingsInfo,
  Encoder,
  EncoderOptions,
  Evaluation,
  ExportResult,
  FeatureSet,
  FeaturesInfo,
  MigrationRun,
  Plan,
  PlannedStage,
  QueryHits,
  Stamp,
  TrainedModel,
};

type Reported = { readonly reporter?: Reporter };

/** Checks the options of a call and hears its news. @throws UserError naming an option that is wrong or missing */
async function called<T extends Reported, R>(
  name: string,
  given: T,
  known: OptionNames<T>,
  work: (options: Omit<T, 'reporter'>) => Promise<R>,
): Promise<R> {
  const { reporter, ...options } = requireOptions(name, given, known);
  return await reportTo(reporter, () => work(options));
}

const optional = 'optional';
const required = 'required';

export type TrainOptions = Omit<TrainModelOptions, 'recipe' | 'restart'> &
  Reported & {
    /** A recipe as a file has it, the path of one, or a published name. */
    readonly recipe: string | Readonly<Record<string, unknown>>;
    /** Changes of single settings, such as `method.ratio=0.5`. */
    readonly settings?: readonly string[];
    readonly preset?: 'default' | 'reference';
  };

/** Trains a model into the folder `out`. → its manifest */
export const train = (options: TrainOptions): Promise<TrainedModel> =>
  called('train', options, trainNames, async ({ recipe, settings = [], preset, ...more }) => {
    const how = { settings, preset };
    const loaded = typeof recipe === 'string' ? loadRecipe(recipe, how) : parseRecipe(recipe, 'recipe', how);
    return await trainModel({ ...more, recipe: loaded });
  });

const trainNames: OptionNames<TrainOptions> = {
  ...{ recipe: required, dataset: required, out: required, settings: optional, preset: optional, old: optional },
  ...{ resume: optional, force: optional, inputs: optional, workers: optional, skipBadImages: optional },
  ...{ skipNonFinite: optional, logEvery: optional, saveEvery: optional, signal: optional, distributed: optional },
  ...{ overlap: optional, hooks: optional, validate: optional, reporter: optional },
};

export type ExtractOptions = EmbedDatasetOptions & Reported;

/** Embeds a dataset with a trained model into the folder `out`. → the manifest of the feature set */
export const extract = (options: ExtractOptions): Promise<FeaturesInfo> =>
  called('extract', options, extractNames, embedDataset);

const extractNames: OptionNames<ExtractOptions> = {
  ...{ model: required, dataset: required, out: required, space: optional, precision: optional, flip: optional },
  ...{ seed: optional, batchSize: optional, half: optional, range: optional, workers: optional, force: optional },
  ...{ skipBadImages: optional, inputs: optional, signal: optional, distributed: optional, reporter: optional },
};

export type EmbedOptions = EmbedPathsOptions & Reported;

/** Embeds images without labels into one file: .npy, .jsonl or .parquet. → its description */
export const embed = (options: EmbedOptions): Promise<EmbeddingsInfo> =>
  called('embed', options, embedNames, (more) => embedPaths(more));

const embedNames: OptionNames<EmbedOptions> = {
  ...{ model: required, out: required, paths: optional, list: optional, space: optional, precision: optional },
  ...{ flip: optional, half: optional, batchSize: optional, workers: optional, skipBadImages: optional },
  ...{ force: optional, signal: optional, reporter: optional },
};

export { mergeShards } from './stages/embed.ts';

export type EvaluateOptions = EvaluateSetsOptions & Reported;

/** Evaluates new models against an old one by feature sets, and writes the evaluation and its reports into the folder `out`. */
export const evaluate = (options: EvaluateOptions): Promise<Evaluation> =>
  called('evaluate', options, evaluateNames, evaluateSets);

const evaluateNames: OptionNames<EvaluateOptions> = {
  ...{ title: required, old: required, candidates: required, seed: required, out: required, oracle: optional },
  ...{ far: optional, genuines: optional, impostors: optional, probes: optional, resamples: optional },
  ...{ maxZeroShare: optional, memoryBytes: optional, figures: optional, pictures: optional, trial: optional },
  force: optional,
  reporter: optional,
};

export type RunExperimentOptions = experiments.RunExperimentOptions & Reported;
export type ExperimentResult = experiments.ExperimentResult;

/** Runs the stages of an experiment file; finished stages are skipped, interrupted ones continue. */
export const runExperiment = (file: string, options: RunExperimentOptions): Promise<ExperimentResult> =>
  called('runExperiment', options, experimentNames, (more) => experiments.runExperiment(file, more));

const experimentNames: OptionNames<RunExperimentOptions> = {
  ...{ out: required, dataFolder: optional, workers: optional, signal: optional, only: optional, force: optional },
  ...{ settings: optional, reporter: optional },
};

/** What `runExperiment` would do with each stage, and why; reads only. */
export const planExperiment = (file: string, options: RunExperimentOptions): Promise<PlannedStage[]> =>
  called('planExperiment', options, experimentNames, (more) => experiments.planExperiment(file, more));

export type ExportModelOptions = ExportOptions & Reported;

/** Writes the backbone of a finished run as an ONNX, PyTorch or safetensors file, with a model card beside it. */
export const exportModel = (run: string, options: ExportModelOptions): Promise<ExportResult> =>
  called('exportModel', options, exportNames, async (more) => {
    const { exportModel: write } = await import('./export/export-model.ts'); // loads what few programs need
    return await write(run, more);
  });

const exportNames: OptionNames<ExportModelOptions> = {
  ...{ to: required, out: required, space: optional, unitLength: optional, pixels: optional, half: optional },
  ...{ check: optional, evaluation: optional, force: optional, reporter: optional },
};

export type FitAdapterOptions = adapters.FitAdapterOptions & Reported;

/** Fits an adapter between two models into the folder `out`. @throws UserError if none beats the old model, unless `allowWorse`. */
export const fitAdapter = (options: FitAdapterOptions): Promise<AdapterInfo> =>
  called('fitAdapter', options, fitNames, adapters.writeAdapter);

const fitNames: OptionNames<FitAdapterOptions> = {
  ...{ old: required, new: required, direction: required, out: required, metric: optional, candidates: optional },
  ...{
    blend: optional,
    seed: optional,
    resamples: optional,
    allowWorse: optional,
    force: optional,
    reporter: optional,
  },
};

export type ApplyAdapterOptions = adapters.ApplyAdapterOptions & Reported;

/** Maps a feature set by an adapter into the folder `out`. → its manifest */
export const applyAdapter = (options: ApplyAdapterOptions): Promise<FeaturesInfo> =>
  called('applyAdapter', options, applyNames, adapters.applyAdapter);

const applyNames: OptionNames<ApplyAdapterOptions> = {
  ...{ adapter: required, features: required, out: required, force: optional, reporter: optional },
};

export type SimulateBackfillOptions = BackfillOptions & Reported;

/** Simulates a gallery that is moved to the new model, and writes the curves, a page and the orders into the folder `out`. */
export const simulateBackfill = ({ reporter, ...options }: SimulateBackfillOptions): Promise<BackfillSimulation> =>
  reportTo(reporter, () => writeBackfill(options));

export type PlanOptions = PlanUpgradeOptions & Reported;

/** Draws one verdict on an upgrade from evaluations and simulated backfills on disk. Its `verdict.accepted` tells whether it is proven. */
export const plan = (options: PlanOptions): Promise<Plan> => called('plan', options, planNames, planUpgrade);

const planNames: OptionNames<PlanOptions> = {
  ...{ evaluations: required, backfills: optional, metric: optional, gallery: optional, gallerySize: optional },
  ...{ vectorType: optional, imagesPerSecond: optional, minGain: optional, maxLoss: optional, maxHours: optional },
  ...{ accept: optional, out: optional, force: optional, reporter: optional },
};

export type PlanChainOptions = ChainOptions & Reported;

/** Compares generations of models, the oldest first: each one's queries on each one's gallery. */
export const planChain = (options: PlanChainOptions): Promise<Chain> =>
  called('planChain', options, chainNames, comparedChain);

const chainNames: OptionNames<PlanChainOptions> = {
  ...{ chain: required, metric: required, seed: optional, resamples: optional, adapt: optional, candidates: optional },
  ...{ out: optional, force: optional, reporter: optional },
};

/** Opens a gallery in a vector store by its URL; dispose it after use. @throws UserError if there is none */
export { openStore as openGallery } from './stores/open-store.ts';

export type LoadGalleryOptions = galleries.LoadGalleryOptions & Reported;

/** Creates a gallery of a feature set: ids, vectors of length 1, labels, and the images if `data` is given. */
export const loadGallery = (options: LoadGalleryOptions): Promise<galleries.LoadedGallery> =>
  called('loadGallery', options, loadNames, galleries.loadGallery);

const loadNames: OptionNames<LoadGalleryOptions> = { features: required, url: required, data: optional, reporter: optional }; // biome-ignore format: short

export type StampGalleryOptions = galleries.StampSource & { readonly url: string; readonly force?: boolean } & Reported;

/** Writes into a gallery which model its vectors are of. */
export const stampGallery = (options: StampGalleryOptions): Promise<Stamp> =>
  called('stampGallery', options, stampNames, galleries.stampGallery);

const stampNames: OptionNames<StampGalleryOptions> = {
  ...{ url: required, model: optional, features: optional, flip: optional, force: optional, reporter: optional },
};

export type SearchGalleryOptions = GallerySearch & Reported;

/** Searches a gallery with images or features of a model that its vectors may be compared with; during a migration, too. */
export const searchGallery = (options: SearchGalleryOptions): Promise<QueryHits[]> =>
  called('searchGallery', options, searchNames, searched);

const searchNames: OptionNames<SearchGalleryOptions> = {
  ...{ url: required, model: optional, images: optional, features: optional, rows: optional, adapter: optional },
  ...{ thresholds: optional, k: optional, fields: optional, reporter: optional },
};

export type MigrateOptions = migrations.MigrateOptions & { readonly resume?: boolean } & Reported;

/** Moves the rows of a gallery to the new model, or goes on with it, until every row has a new vector beside the old one. */
export const migrate = (options: MigrateOptions): Promise<MigrationRun> =>
  called('migrate', options, migrateNames, migrations.migrate);

const migrateNames: OptionNames<MigrateOptions> = {
  ...{ url: required, features: optional, adapter: optional, model: optional, images: optional, folder: optional },
  ...{ flip: optional, order: optional, batchSize: optional, rate: optional, limit: optional, signal: optional },
  ...{ resume: optional, reporter: optional },
};

export {
  cutOver,
  finishMigration,
  migrationStatus,
  pauseMigration,
  rollBack,
  verifyGallery,
} from './stages/migrate.ts';

/** Opens a feature set; close it after use. @throws UserError if it is none, or damaged. */
export const openFeatures = (folder: string): FeatureSet => FeatureSet.open(folder);

/** The model of a finished run: images → embeddings. Dispose it after use. */
export type Model = Omit<Encoder, 'embed'> & {
  /**
   * Embeds any number of images at once: bytes [B, side, side, 3] in RGB, as `read` makes them → embeddings, flat [B · D], not
   * normalised. Of thousands of pictures, embed some hundred at a time. @throws UserError if the bytes are no whole images.
   */
  embed(images: Uint8Array): Promise<Float32Array>;
  /** Reads image files in the model's size. → bytes [B, side, side, 3] @throws FileError naming the first that is unreadable. */
  read(files: readonly string[]): Promise<Uint8Array>;
};

/** Loads the model of a finished run. @throws UserError if the run is unfinished or damaged. */
export async function loadModel(run: string, options: EncoderOptions = {}): Promise<Model> {
  const encoder = await openEncoder(run, options);
  const bytes = encoder.side ** 2 * 3;
  return {
    ...encoder,
    async embed(images) {
      if (images.length % bytes !== 0)
        throw new UserError(
          `${images.length} bytes are no whole images: wanted ${bytes} for each, [${encoder.side}, ${encoder.side}, 3]`,
        );
      return await encoder.embed(images, images.length / bytes);
    },
    read: (files) => readImages(files, encoder),
  };
}
