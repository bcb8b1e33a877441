import { RESAMPLES } from '../eval/defaults.ts';
import {
  createTestRunner,
  type Identities,
  type Measured,
  requireDistinctNames,
  requireFewZeros,
  unitEmbeddings,
  zeroRows,
} from '../eval/index.ts';
import { drawProtocol, evaluationRng } from '../eval/labelled-set-protocol.ts';
import { metrics } from '../eval/metrics/index.ts';

/** A generation of models: reads its embeddings of the evaluation set, flat [N · D]. */
export type Generation = { readonly name: string; readonly dim: number; readonly rows: () => Float32Array };

/** M(query model i, gallery model j) at [i][j], models from the oldest to the newest; null: their dimensions differ. */
export type Matrix<T> = readonly (readonly (T | null)[])[];

/**
 * Average compatibility: the share of the pairs i > j in which queries of the newer model on the gallery of the older one beat the
 * older model's own, M(i, j) > M(j, j). Pairs that cannot be compared are not compatible (Biondi et al., "CoReS: Compatible
 * Representations via Stationarity", IEEE TPAMI 2023, and "CL2R: Compatible Lifelong Learning Representations", ACM TOMM 2023).
 */
export function averageCompatibility(matrix: Matrix<number>): number {
  const pairs = olderGalleries(matrix.length);
  return pairs.filter(([i, j]) => (matrix[i]![j] ?? -1) > matrix[j]![j]!).length / pairs.length;
}

/** Average multi-model accuracy: the mean of M(i, j) over i ≥ j; pairs that cannot be compared count as 0 (same sources). */
export function averageMultiModelAccuracy(matrix: Matrix<number>): number {
  const pairs = [...matrix.keys()].map((i): [number, number] => [i, i]).concat(olderGalleries(matrix.length));
  return pairs.reduce((sum, [i, j]) => sum + (matrix[i]![j] ?? 0), 0) / pairs.length;
}

/** Query model i and gallery model j of all pairs with i > j. */
export const olderGalleries = (models: number): [number, number][] =>
  Array.from({ length: models }, (_, i) => Array.from({ length: i }, (_, j): [number, number] => [i, j])).flat();

export type MeasureOptions = Identities & {
  readonly metric: string;
  readonly seed: number;
  readonly resamples?: number | undefined;
  /** Called before each test. */
  readonly onTest?: (done: number, total: number, name: string) => void;
};

/** Measures one metric of queries on a gallery of unit embeddings. */
export type MetricRunner = {
  readonly run: (query: Embeddings, gallery: Embeddings) => Measured;
  /** The metric of a model that knows nothing. */
  readonly chance: number;
};

/** A runner by the protocol of `evaluate`. @throws UserError if the set is too small for it. */
export function createMetricRunner({
  labels,
  families,
  metric,
  seed,
  resamples = RESAMPLES,
}: MeasureOptions): MetricRunner {
  const protocol = drawProtocol({ labels, families }, { seed });
  const runTest = createTestRunner(protocol, { resamples, rng: evaluationRng(seed).split('bootstrap') });
  const { verdict } = metrics.find(({ name }) => name === metric)!;
  return {
    run: (query, gallery) => runTest(query, gallery).measured.get(metric)!,
    chance: verdict!.chance(protocol.split.galleries.map(({ entries }) => entries.length)),
  };
}
type Embeddings = ReturnType<typeof unitEmbeddings>;

/**
 * Measures every query model on every gallery model. The embeddings of two models are in memory at a time.
 * @throws UserError if two models have one name, or embeddings are broken.
 */
export function measureMatrix(
  generations: readonly Generation[],
  options: MeasureOptions,
): { readonly matrix: Matrix<Measured>; readonly chance: number } {
  requireDistinctNames(generations.map(({ name }) => name));
  const { run, chance } = createMetricRunner(options);
  const count = options.labels.length;
  const matrix = generations.map((query, i) => {
    const queries = load(query, count);
    return generations.map((gallery, j) => {
      options.onTest?.(i * generations.length + j, generations.length ** 2, `${query.name} → ${gallery.name}`);
      if (query.dim !== gallery.dim) return null;
      return run(queries, i === j ? queries : load(gallery, count));
    });
  });
  return { matrix, chance };
}

function load({ name, dim, rows }: Generation, count: number): Embeddings {
  const read = rows();
  const unit = unitEmbeddings(read, dim, name, read);
  requireFewZeros(name, new Set(zeroRows(unit.rows, dim)), { of: count });
  return unit;
}
