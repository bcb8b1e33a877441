import {
  type AdapterFit,
  type AdapterMap,
  type AdapterMethod,
  adapterMethods,
  adapterMetrics,
  fitAdapter,
  mapFlat,
  type PairedRows,
  testRows,
} from '../adapt/index.ts';
import { differenceOf, estimateOf, unitEmbeddings } from '../eval/index.ts';
import type { AdapterDirection } from '../features/feature-set-artifact.ts';
import { scope } from '../torch/index.ts';
import type { Chain } from './chain-artifact.ts';
import { createMetricRunner, type MeasureOptions } from './compatibility-matrix.ts';

/** A generation whose embeddings are in memory: no zeros, flat [N · D]. */
export type LoadedGeneration = { readonly name: string; readonly dim: number; readonly rows: Float32Array };

export type ChainOptions = MeasureOptions & {
  readonly direction: AdapterDirection;
  /** Default: all that fit. */
  readonly methods?: readonly AdapterMethod[] | undefined;
  readonly onFit?: (done: number, total: number, name: string) => void;
};

/**
 * Compares chained adapters with refitted ones for all pairs of models that are no neighbours. All adapters are fitted on the same
 * identities, and tested on the same others (`testRows`).
 * @throws UserError if there are too few identities.
 */
export function compareChainedAdapters(
  generations: readonly LoadedGeneration[],
  { labels, families, direction, metric, seed, resamples, methods, onFit }: ChainOptions,
): Pick<NonNullable<Chain['adapters']>, 'identities' | 'pairs'> {
  const chosenBy = adapterMetrics.find(({ name }) => name === metric)!;
  const rows = testRows(labels, seed);
  const column = (all: Int32Array): Int32Array => rows.map((row) => all[row]!);
  const { run } = createMetricRunner({ labels: column(labels), families: column(families), metric, seed, resamples });
  const tested = generations.map(({ name, dim, rows: all }) => unitEmbeddings(rowsAt(all, dim, rows), dim, name));
  const distances = generations.flatMap((_, a) => generations.slice(a + 1).map((_, k) => [a, a + 1 + k] as const));
  return scope(() => {
    const fits = new Map<string, AdapterFit>();
    for (const [i, [a, b]] of distances.entries()) {
      const [older, newer] = [generations[a]!, generations[b]!];
      onFit?.(i, distances.length, `${older.name} and ${newer.name}`);
      const [x, y] = direction === 'query' ? [newer, older] : [older, newer];
      const known = {
        labels,
        families,
        direction,
        metric: chosenBy,
        seed,
        ...(resamples !== undefined && { resamples }),
      };
      const fitting = methodsBetween(x.dim, y.dim, methods);
      fits.set(`${a},${b}`, fitAdapter({ ...known, pairs: inMemory(x, y), methods: fitting }));
    }
    const fitOf = (a: number, b: number): AdapterFit => fits.get(`${a},${b}`)!;
    const pairs = distances
      .filter(([a, b]) => b - a > 1)
      .map(([a, b]) => {
        const neighbours = Array.from({ length: b - a }, (_, k) => fitOf(a + k, a + k + 1));
        const steps = direction === 'query' ? neighbours.toReversed() : neighbours;
        const [older, newer] = [tested[a]!, tested[b]!];
        const through = (maps: readonly AdapterMap[]) =>
          direction === 'query' ? run(mapped(newer, maps), older) : run(newer, mapped(older, maps));
        const [chained, refitted] = [through(steps.map(({ map }) => map)), through([fitOf(a, b).map])];
        const [from, to] =
          direction === 'query' ? [generations[b]!, generations[a]!] : [generations[a]!, generations[b]!];
        return {
          from: from.name,
          to: to.name,
          methods: steps.map(({ method }) => method),
          chained: estimateOf(chained),
          refitted: { ...estimateOf(refitted), method: fitOf(a, b).method },
          difference: differenceOf(chained, refitted),
          old: estimateOf(run(older, older)),
        };
      });
    return { identities: new Set(column(labels)).size, pairs };
  });
}

type Embeddings = ReturnType<typeof unitEmbeddings>;

const mapped = (embeddings: Embeddings, maps: readonly AdapterMap[]): Embeddings =>
  maps.reduce((from, map) => {
    const rows = mapFlat(map, from.rows, from.dim);
    const count = from.rows.length / from.dim;
    return unitEmbeddings(rows, rows.length / count, 'embeddings through the adapter', rows);
  }, embeddings);

const methodsBetween = (p: number, q: number, wanted: readonly AdapterMethod[] = adapterMethods) =>
  wanted.filter((method) => method !== 'identity' || p === q);

const rowsAt = (all: Float32Array, dim: number, rows: Int32Array): Float32Array => {
  const chosen = new Float32Array(rows.length * dim);
  for (const [i, row] of rows.entries()) chosen.set(all.subarray(row * dim, (row + 1) * dim), i * dim);
  return chosen;
};

/** Embeddings of both models, of length 1. */
function inMemory(x: LoadedGeneration, y: LoadedGeneration): PairedRows {
  const unit = ({ name, dim, rows: all }: LoadedGeneration, rows: Int32Array): Float32Array => {
    const read = rowsAt(all, dim, rows);
    return unitEmbeddings(read, dim, name, read).rows;
  };
  return { dims: { x: x.dim, y: y.dim }, read: (rows) => ({ x: unit(x, rows), y: unit(y, rows) }) };
}
