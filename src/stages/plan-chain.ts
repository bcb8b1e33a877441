import { join } from 'node:path';
import { type AdapterMethod, rowsOfBoth } from '../adapt/index.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { writeJson } from '../artifacts/json-file.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import { judges, metrics } from '../eval/metrics/index.ts';
import type { AdapterDirection } from '../features/feature-set-artifact.ts';
import { FeatureSet } from '../features/index.ts';
import { judgeMatrix } from '../plan/chain.ts';
import { CHAIN_FILE, type Chain, chainArtifact } from '../plan/chain-artifact.ts';
import { compareChainedAdapters } from '../plan/chained-adapters.ts';
import { measureMatrix } from '../plan/compatibility-matrix.ts';
import { presentRows, readRows } from './evaluate-sets.ts';
import { openSameImages } from './same-images.ts';

export type PlanChainOptions = {
  /** Folders of feature sets of one evaluation set, from the oldest model to the newest. */
  readonly chain: readonly { readonly name: string; readonly features: string }[];
  readonly metric: string;
  readonly seed?: number;
  readonly resamples?: number;
  /** Compare chained adapters with refitted ones. */
  readonly adapt?: AdapterDirection | undefined;
  readonly candidates?: readonly AdapterMethod[] | undefined;
  /** Folder of the comparison; absent: nothing is written. */
  readonly out?: string | undefined;
  readonly force?: boolean;
};

/**
 * Compares generations of models: each one's queries on each one's gallery and, if asked, chained adapters with refitted ones.
 * @throws UserError if sets do not belong together, or are of one model, or `out` may not be replaced.
 */
export async function planChain({
  chain,
  metric: metricName,
  seed = 0,
  resamples,
  adapt,
  candidates,
  out,
  force = false,
}: PlanChainOptions): Promise<Chain> {
  const metric = metrics.find(({ name }) => name === metricName);
  if (!metric || !judges(metric, 'labelled set'))
    throw new UserError(`metric ${metricName} is none of labelled sets`, {
      hint: `choose one of ${metrics
        .filter((one) => judges(one, 'labelled set'))
        .map(({ name }) => name)
        .join(', ')}`,
    });
  const paths = chain.map(({ features }) => features);
  if (paths.length < 2)
    throw new UserError(
      `${paths.length} generation, wanted name=features of two or more, from the oldest to the newest`,
    );
  if (candidates && adapt === undefined)
    throw new UserError(`candidates ${candidates.join(', ')}: maps are tried only where adapters are compared`, {
      hint: optionHint('--adapt gallery, or --adapt query'),
    });
  using described = openSameImages(paths);
  const named = chain.map((one) => ({ ...one, dim: generationOf(one, chain).dim }));
  const { dataset, count } = described.info;
  const present = presentRows(count, paths);
  const [allLabels, allFamilies] = [described.labels(), described.families()];
  const column = (all: Int32Array, rows: Int32Array | null): Int32Array => rows?.map((row) => all[row]!) ?? all;
  const columns = (rows: Int32Array | null) => ({
    labels: column(allLabels, rows),
    families: column(allFamilies, rows),
  });
  const set = columns(present);
  const how = { metric: metricName, seed, resamples };
  if (out === undefined) return compare();
  let report: Chain | undefined;
  await chainArtifact.write(out, { force, inputs: paths }, (directory) => {
    report = compare();
    const file = join(directory, CHAIN_FILE);
    writeJson(file, report);
    return { metric: metricName, seed, digest: fileDigest(file) };
  });
  return report!;

  function compare(): Chain {
    const bar = progress('compare', chain.length ** 2);
    const { matrix, chance } = measureMatrix(
      named.map(({ name, features, dim }) => ({ name, dim, rows: () => readRows(features, present) })),
      { ...how, ...set, onTest: (done, _, name) => bar.update(done, name) },
    );
    bar.stop();
    const names = named.map(({ name }) => name);
    return {
      kind: 'chain',
      version: 1,
      metric: metricName,
      data: {
        path: dataset?.path ?? paths[0]!,
        digest: dataset?.digest ?? described.digest,
        images: set.labels.length,
        classes: new Set(set.labels).size,
      },
      seed,
      models: named.map(({ name, dim }) => ({ name, dim })),
      ...judgeMatrix(names, matrix, chance),
      adapters: adapt === undefined ? null : adaptersOf(adapt),
    };
  }

  function adaptersOf(direction: AdapterDirection): NonNullable<Chain['adapters']> {
    const rows = withSets(paths, (sets) => rowsOfBoth(...sets));
    const loaded = named.map(({ name, features, dim }) => ({ name, dim, rows: readRows(features, rows) }));
    const fitting = progress('adapt', (chain.length * (chain.length - 1)) / 2);
    const compared = compareChainedAdapters(loaded, {
      ...{ ...how, ...columns(rows), direction, methods: candidates },
      onFit: (done, _, name) => fitting.update(done, name),
    });
    fitting.stop();
    return { direction, ...compared };
  }
}

function withSets<T>(paths: readonly string[], use: (sets: readonly FeatureSet[]) => T): T {
  const sets = paths.map((path) => FeatureSet.open(path));
  try {
    return use(sets);
  } finally {
    for (const set of sets) set.close();
  }
}

/** @throws UserError if a set went through an adapter, or is of the model of an earlier one. */
function generationOf(
  { name, features }: PlanChainOptions['chain'][number],
  chain: PlanChainOptions['chain'],
): { readonly dim: number } {
  using set = FeatureSet.open(features);
  const { adapter, model, dim } = set.info;
  if (adapter)
    throw new UserError(`${features} holds features that went through an adapter`, {
      hint: 'give the features as the model made them',
    });
  for (const earlier of chain.slice(
    0,
    chain.findIndex((one) => one.name === name),
  )) {
    using other = FeatureSet.open(earlier.features);
    if (other.digest === set.digest || (model && other.info.model?.digest === model.digest))
      throw new UserError(`${earlier.features} and ${features} are features of one model, wanted one set of each`);
  }
  return { dim };
}
