import { statSync, writeFileSync } from 'node:fs';
import { modelSideOf } from '../adapt/adapter-artifact.ts';
import { Adapter } from '../adapt/index.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { writeJson } from '../artifacts/json-file.ts';
import { backfillArtifact, backfillFiles } from '../backfill/backfill-artifact.ts';
import { writeOrder, writeOrderIds } from '../backfill/order-file.ts';
import { type SimulateOptions, type SimulationResult, simulateBackfill } from '../backfill/simulate.ts';
import {
  type BackfillOrderName,
  type BackfillSimulation,
  backfillOrders,
  type ScoreMerge,
  scoreMerges,
} from '../backfill/simulation.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { logLine, progress } from '../base/progress.ts';
import { readEvaluation } from '../eval/evaluation-artifact.ts';
import {
  defaultMemory,
  type EvaluateOptions,
  evaluationBytes,
  memoryError,
  RESAMPLES,
  requireFewZeros,
  SAMPLE_SIZES,
  unitEmbeddings,
  zeroRows,
} from '../eval/index.ts';
import type { Embeddings } from '../eval/scores.ts';
import { pairOf, readThresholds, thresholdsOf } from '../eval/thresholds.ts';
import { FeatureSet } from '../features/index.ts';
import { type CrossedSpace, crossedSpace, requireOwnSpace } from './adapted-sets.ts';
import { presentRows, readRows } from './evaluate-sets.ts';
import { openSameImages } from './same-images.ts';

export const DEFAULT_DRAWS = 20;
export const DEFAULT_STEPS = 20;

export type SimulateBackfillOptions = Pick<
  EvaluateOptions,
  'genuines' | 'impostors' | 'probes' | 'resamples' | 'maxZeroShare'
> & {
  readonly title?: string;
  /** Folders of feature sets of one evaluation set by the old and the new model. */
  readonly old: string;
  readonly new: string;
  /** Feature set of a model with a projection in the old space, or one that went through an adapter. */
  readonly inOldSpace?: string | undefined;
  /** Folder of an adapter that queries meet unmoved rows through. */
  readonly adapter?: string | undefined;
  readonly orders?: readonly BackfillOrderName[] | undefined;
  readonly merges?: readonly ScoreMerge[] | undefined;
  /** A file of `mixbct thresholds`, or an evaluation, with the calibrations of these models; absent: they are fitted on pairs of the set. */
  readonly thresholds?: string | undefined;
  /** Draws of the random order, and parts into which the move is divided. */
  readonly draws?: number | undefined;
  readonly steps?: number | undefined;
  readonly seed?: number;
  /** Bytes that the simulation may take. */
  readonly memoryBytes?: number;
  readonly out: string;
  readonly force?: boolean;
};

/**
 * Simulates a gallery that is moved from the old to the new model, and writes the curves, a page and the orders to one folder.
 * @throws UserError if the sets do not belong together, are too small to search, or take too much memory.
 */
export async function writeBackfill(options: SimulateBackfillOptions): Promise<BackfillSimulation> {
  const { title = 'Moving the gallery', seed = 0, out, force = false } = options;
  const { draws = DEFAULT_DRAWS, steps = DEFAULT_STEPS } = options;
  const { resamples = RESAMPLES, orders = backfillOrders, merges = scoreMerges, inOldSpace, adapter } = options;
  const paths = [options.old, options.new, ...(inOldSpace === undefined ? [] : [inOldSpace])];
  using described = openSameImages(paths);
  using old = FeatureSet.open(options.old);
  using newer = FeatureSet.open(options.new);
  const crossing = crossingOf(options, old, newer);
  const present = presentRows(described.info.count, paths);
  const column = (all: Int32Array): Int32Array => (present ? Int32Array.from(present, (row) => all[row]!) : all);
  const labels = column(described.labels());
  const memoryBytes = memoryForLists(options, labels, [old.info.dim, newer.info.dim, crossing?.dim ?? 0]);
  const calibrations = calibrationsOf(options, old, newer, crossing);
  const { dataset, count } = described.info;
  let simulation: BackfillSimulation | undefined;
  await backfillArtifact.write(out, { force, inputs: [...paths, adapter, options.thresholds] }, async (folder) => {
    const bar = progress('backfill', 100);
    const { orders: drawn, ...result } = simulateBackfill({
      ...embeddingsOf(options, crossing, present),
      labels,
      families: column(described.families()),
      ...{ orders: [...new Set(orders)], merges: [...new Set(merges)], draws, steps, resamples, seed, memoryBytes },
      ...{ genuines: options.genuines, impostors: options.impostors, probes: options.probes, calibrations },
      onProgress: (share, what) => bar.update(Math.floor(100 * share), what),
    });
    bar.stop();
    simulation = {
      ...{ kind: 'backfill', version: 1, title },
      dataset: {
        path: dataset?.path ?? options.old,
        digest: dataset?.digest ?? described.digest,
        images: labels.length,
        ...(labels.length < count && { missing: count - labels.length }),
        classes: new Set(labels).size,
      },
      crossing: crossingName(crossing, adapter),
      ...result,
    };
    for (const { what, why } of result.skipped) logLine(`note: ${what} is skipped: ${why}`);
    await writeFiles(folder, simulation);
    const hasIds = count > 0 && described.id(0) !== null;
    if (hasIds) writeOrderIds(folder, rowIds(described));
    return {
      ...{ old: modelSideOf(old), new: modelSideOf(newer), adapter: adapterOf(options), dataset, seed, count },
      rows: labels.length,
      orders: orderFiles(folder, drawn, present),
      ids: hasIds,
      digest: fileDigest(backfillFiles(folder).simulation),
    };
  });
  return simulation!;
}

/** The calibrations of a file. @throws UserError if it has none of these models, or no merge needs them */
function calibrationsOf(
  { thresholds: path, merges }: SimulateBackfillOptions,
  old: FeatureSet,
  newer: FeatureSet,
  crossing: CrossedSpace | null,
): SimulateOptions['calibrations'] {
  if (path === undefined) return undefined;
  if (merges && !merges.includes('calibrated'))
    throw new UserError('a file of thresholds is of use for calibrated scores only', { hint: optionHint('--merges calibrated') }); // biome-ignore format: short
  const isEvaluation = statSync(path, { throwIfNoEntry: false })?.isDirectory();
  const thresholds = isEvaluation ? thresholdsOf([{ path, evaluation: readEvaluation(path) }]) : readThresholds(path);
  const of = (gallery: FeatureSet, { projection, adapter }: Pick<CrossedSpace, 'projection' | 'adapter'>) => {
    const [query, vectors] = [newer.info.model, gallery.info.model];
    const pair = query && vectors && pairOf(thresholds, { query: { digest: projection ?? query.digest }, gallery: { digest: vectors.digest }, adapter }); // biome-ignore format: short
    if (pair?.calibration) return pair.calibration;
    const through = adapter ? ' through the adapter' : projection === undefined ? '' : ' through the projection';
    const what = `queries of ${query?.name ?? newer.path} on vectors of ${vectors?.name ?? gallery.path}`;
    throw new UserError(`${path}: has no calibration of ${what}${through}`, { hint: 'write it of an evaluation of both with: mixbct thresholds' }); // biome-ignore format: short
  };
  return { old: of(old, crossing ?? {}), new: of(newer, {}) };
}

/** How new queries meet rows that are not moved, if not as they are. @throws UserError if they cannot. */
function crossingOf(
  { old, new: own, inOldSpace, adapter }: SimulateBackfillOptions,
  oldSet: FeatureSet,
  newSet: FeatureSet,
): CrossedSpace | null {
  const compared = { own, old };
  requireOwnSpace({ own: old, old }, 'old');
  requireOwnSpace(compared, 'new');
  if (newSet.info.adapter)
    throw new UserError(`${own} went through an adapter, wanted features as the new model made them`, {
      hint: optionHint('--new features+adapter, or --new features,adapted'),
    });
  const crossing = crossedSpace(compared, { inOldSpace, adapter });
  if (crossing) return crossing;
  const [a, b] = [oldSet.info.dim, newSet.info.dim];
  if (a !== b)
    throw new UserError(
      `${own} has ${b} dimensions, ${old} has ${a}: new queries cannot be compared with rows that are not moved yet`,
      {
        hint: ['fit an adapter with: mixbct adapt fit', optionHint('--new features+adapter')],
      },
    );
  return null;
}

const crossingName = (crossing: CrossedSpace | null, adapter: string | undefined): BackfillSimulation['crossing'] => {
  if (!crossing) return 'direct';
  if (crossing.role === 'oldGallery') return 'gallery adapter';
  return adapter === undefined && !throughAdapter(crossing.path) ? 'projection' : 'query adapter';
};

function throughAdapter(path: string): boolean {
  using set = FeatureSet.open(path);
  return set.info.adapter !== undefined;
}

/** The adapter between the two models, as the manifest names it. */
function adapterOf({ adapter: path, inOldSpace }: SimulateBackfillOptions) {
  if (path !== undefined) {
    using adapter = Adapter.open(path);
    return { digest: adapter.info.digest, direction: adapter.info.direction };
  }
  if (inOldSpace === undefined) return null;
  using set = FeatureSet.open(inOldSpace);
  const { adapter } = set.info;
  return adapter ? { digest: adapter.digest, direction: adapter.direction } : null;
}

/** Embeddings that the simulation compares. @throws UserError if too many are zeros. */
function embeddingsOf(
  { old: oldPath, new: newPath, maxZeroShare }: SimulateBackfillOptions,
  crossing: CrossedSpace | null,
  present: Int32Array | null,
) {
  const dimOf = (path: string): number => {
    using set = FeatureSet.open(path);
    return set.info.dim;
  };
  const unit = (rows: Float32Array, dim: number, name: string): Embeddings => unitEmbeddings(rows, dim, name, rows);
  const rows = readRows(oldPath, present);
  const oldLength = lengthsOf(rows, dimOf(oldPath));
  const old = unit(rows, dimOf(oldPath), oldPath);
  const moved = unit(readRows(newPath, present), dimOf(newPath), newPath);
  const crossed = crossing && unit((crossing.map ?? ((x) => x))(readRows(crossing.path, present)), crossing.dim, crossing.path); // biome-ignore format: short
  const meeting = {
    queries: crossed && crossing.role === 'inOldSpace' ? crossed : moved,
    gallery: crossed && crossing.role === 'oldGallery' ? crossed : old,
  };
  for (const [name, sides] of [
    [oldPath, [old, meeting.gallery]],
    [newPath, [moved, meeting.queries]],
  ] as const) {
    // biome-ignore format: short
    const zeros = new Set(sides.flatMap(({ rows: of, dim }) => zeroRows(of, dim)));
    requireFewZeros(name, zeros, { of: oldLength.length, most: maxZeroShare });
  }
  return { old, oldLength, meeting, new: moved };
}

function lengthsOf(rows: Float32Array, dim: number): Float64Array {
  const lengths = new Float64Array(rows.length / dim);
  for (let i = 0; i < lengths.length; i++) {
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += rows[i * dim + d]! ** 2;
    lengths[i] = Math.sqrt(sum);
  }
  return lengths;
}

/** Bytes that are left for the lists of entries. @throws UserError if there are none. */
function memoryForLists(options: SimulateBackfillOptions, labels: Int32Array, dims: readonly number[]): number {
  const { memoryBytes = defaultMemory() } = options;
  const { genuines = SAMPLE_SIZES.genuines, impostors = SAMPLE_SIZES.impostors, resamples = RESAMPLES } = options;
  const [old = 0, newer = 0, crossed = 0] = dims;
  const size = {
    count: labels.length,
    classes: new Set(labels).size,
    pairs: genuines + impostors,
    resamples: 2 * resamples,
  };
  const needed = evaluationBytes({ ...size, dims: [old + newer + crossed] });
  if (needed < memoryBytes) return memoryBytes - needed;
  const gigabytes = Math.ceil((2 * needed) / 1e9);
  throw memoryError(`simulating with ${labels.length} embeddings takes at least`, { needed, allowed: memoryBytes }, [
    optionHint(`--memory ${gigabytes}`),
    optionHint(`--force --set stages.STAGE.memory=${gigabytes}`),
  ]);
}

async function writeFiles(folder: string, simulation: BackfillSimulation): Promise<void> {
  const { renderBackfillHtml } = await import('../report/index.ts');
  writeJson(backfillFiles(folder).simulation, simulation);
  writeFileSync(backfillFiles(folder).page, renderBackfillHtml(simulation));
}

function* rowIds(set: FeatureSet): Generator<string> {
  for (let row = 0; row < set.info.count; row++) yield set.id(row)!;
}

/** Writes the orders as rows of the feature sets. */
const orderFiles = (folder: string, orders: SimulationResult['orders'], present: Int32Array | null) =>
  orders.map(({ name, rows }) => writeOrder(folder, name, present ? rows.map((row) => present[row]!) : rows));
