import { modelSideOf } from '../adapt/adapter-artifact.ts';
import {
  Adapter,
  type AdapterInfo,
  type AdapterMethod,
  adapterArtifact,
  adapterFile,
  adapterMethods,
  adapterMetrics,
  fitAdapter,
  methodText,
  pairedRows,
  resultText,
  rowsOfBoth,
} from '../adapt/index.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { logLine, progress } from '../base/progress.ts';
import type { AdapterDirection } from '../features/feature-set-artifact.ts';
import { FeatureSet, type FeaturesInfo, writeFeatureSet } from '../features/index.ts';
import { scope, writeSafetensors } from '../torch/index.ts';
import { openSameImages } from './same-images.ts';

export type FitAdapterOptions = {
  /** Folders of feature sets of the same images by both models. */
  readonly old: string;
  readonly new: string;
  readonly direction: AdapterDirection;
  readonly out: string;
  /** What to choose by: a name among `adapterMetrics`. */
  readonly metric?: string;
  /** Default: all that can map between these dimensions. */
  readonly candidates?: readonly AdapterMethod[];
  /** Interpolate between queries as they are and adapted ones: for a model that was trained compatibly. */
  readonly blend?: boolean;
  readonly seed?: number;
  readonly resamples?: number;
  /** Write an adapter that does not beat the old model, too. */
  readonly allowWorse?: boolean;
  readonly force?: boolean;
};

/**
 * Fits an adapter between two models by features of the same images, and writes it if it beats the old model.
 * @throws UserError if the sets do not belong together, or no adapter beats the old model and `allowWorse` is not set.
 */
export async function writeAdapter(options: FitAdapterOptions): Promise<AdapterInfo> {
  const { direction, out, metric = 'TAR@FAR=1e-3', blend = false, seed = 0 } = options;
  const { resamples, allowWorse = false, force = false } = options;
  const chosenBy = adapterMetrics.find(({ name }) => name === metric);
  if (!chosenBy)
    throw new UserError(`metric ${metric}: wanted one of ${adapterMetrics.map(({ name }) => name).join(', ')}`);
  using described = openSameImages([options.old, options.new]);
  using old = FeatureSet.open(options.old);
  using newer = FeatureSet.open(options.new);
  requireTwoModels(old, newer);
  const methods = methodsFor(options.candidates, old, newer);
  if (blend) requireBlendable(direction, old, newer);
  return await adapterArtifact.write(out, { force, inputs: [options.old, options.new] }, (directory) =>
    scope(() => {
      const rows = rowsOfBoth(old, newer);
      const column = (all: Int32Array): Int32Array => rows.map((row) => all[row]!);
      const [x, y] = direction === 'query' ? [newer, old] : [old, newer];
      const bar = progress('adapt', methods.length + 1);
      const { map, ...fit } = fitAdapter({
        pairs: pairedRows(x, y, rows),
        labels: column(described.labels()),
        families: column(described.families()),
        direction,
        methods,
        metric: chosenBy,
        blend,
        seed,
        ...(resamples !== undefined && { resamples }),
        onCandidate: (done, method) => bar.update(done, method),
      });
      bar.stop();
      const what = `${methodText(fit)}: ${metric} ${resultText(fit.test)}`;
      if (!fit.beatsOld && !allowWorse) refuse(what);
      if (!fit.beatsOld) logLine(`warning: ${out} is written, but does not beat the old model (${what})`);
      writeSafetensors(adapterFile(directory), Object.entries(map));
      return {
        direction,
        ...fit,
        old: modelSideOf(old),
        new: modelSideOf(newer),
        dataset: described.info.dataset,
        seed,
        metric,
        digest: fileDigest(adapterFile(directory)),
      };
    }),
  );
}

/** @throws UserError that says what the best adapter reached. */
function refuse(what: string): never {
  throw new UserError(`no adapter beats the old model; the best of those tried is ${what}`, {
    hint: [
      'keep the old model, or train a compatible one with: mixbct train',
      optionHint('--force writes it all the same'),
    ],
  });
}

function requireTwoModels(old: FeatureSet, newer: FeatureSet): void {
  const [a, b] = [old.info.model, newer.info.model];
  if (old.digest === newer.digest || (a && b && a.digest === b.digest))
    throw new UserError(`${old.path} and ${newer.path} are features of one model, wanted those of two`);
  const through = [old, newer].find(({ info }) => info.adapter);
  if (through)
    throw new UserError(`${through.path} holds features that went through an adapter`, {
      hint: 'give the features as the model made them',
    });
  for (const { path, info } of [old, newer])
    if (!info.model) logLine(`note: ${path} names no model: later steps compare only dimensions with it`);
}

function methodsFor(named: readonly AdapterMethod[] | undefined, old: FeatureSet, newer: FeatureSet) {
  const [a, b] = [old.info.dim, newer.info.dim];
  if (named?.includes('identity') && a !== b)
    throw new UserError(`the identity cannot map ${b} dimensions to ${a}`, {
      hint: optionHint('--candidates without identity'),
    });
  return named ?? adapterMethods.filter((method) => method !== 'identity' || a === b);
}

/** @throws UserError unless queries as they are can meet the gallery. */
function requireBlendable(direction: AdapterDirection, old: FeatureSet, newer: FeatureSet): void {
  const [a, b] = [old.info.dim, newer.info.dim];
  if (direction === 'query' && a === b) return;
  const found =
    direction === 'query' ? `queries of ${b} dimensions and a gallery of ${a}` : 'an adapter for the gallery';
  throw new UserError(`wanted an adapter for queries of the gallery's dimensions to blend with, got ${found}`, {
    hint: optionHint('--blend is for queries of a model that was trained compatibly with the old one'),
  });
}

/** Rows read at a time. */
const BLOCK = 8192;

export type ApplyAdapterOptions = {
  /** Folders of the adapter and of a feature set of the model that it maps. */
  readonly adapter: string;
  readonly features: string;
  readonly out: string;
  readonly force?: boolean;
};

/**
 * Writes a feature set with the embeddings of another mapped by an adapter.
 * @throws UserError if the set is not of the model that the adapter maps.
 */
export async function applyAdapter({
  adapter: path,
  features,
  out,
  force = false,
}: ApplyAdapterOptions): Promise<FeaturesInfo> {
  using adapter = Adapter.open(path);
  using set = FeatureSet.open(features);
  adapter.requireSource(set);
  const { info } = set;
  const { dataset, classes, flip, preprocessing, precision } = info;
  if (dataset && dataset.digest === adapter.info.dataset?.digest)
    logLine(
      `note: ${path} was fitted on these images: an evaluation by them is better than the adapter, and draws no verdict`,
    );
  const content = {
    dataset,
    classes,
    flip,
    preprocessing,
    precision,
    dim: adapter.sides.to.dim,
    model: info.model && adapter.modelThrough(info.model),
    adapter: adapter.applied(),
    labels: set.labels(),
    families: set.families(),
    classKeys: set.classKeys(),
    trainedClassKeys: set.trainedClassKeys(),
    classIds: set.classIds(),
    id: set.id(0) === null ? null : (row: number) => set.id(row)!,
  };
  return await writeFeatureSet(out, content, { force, inputs: [features, path] }, ({ append, markMissing }) => {
    for (let from = 0; from < info.count; from += BLOCK)
      append(adapter.map(set.block(from, Math.min(BLOCK, info.count - from)), features));
    markMissing(info.missing);
  });
}
