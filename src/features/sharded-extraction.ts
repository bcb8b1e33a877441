import { existsSync, rmSync } from 'node:fs';
import { canonicalJson } from '../artifacts/digest.ts';
import { referenceTo } from '../data/dataset-reference.ts';
import type { Dataset } from '../data/index.ts';
import type { Encoder } from '../encoders/index.ts';
import { type ExtractOptions, extractFeatures, plannedContent } from './extract.ts';
import { partPath, removeOtherParts } from './extraction-parts.ts';
import { FeatureSet } from './feature-set.ts';
import { type FeaturesInfo, featureSetArtifact } from './feature-set-artifact.ts';
import { type FeatureSetOptions, writeFeatureSet } from './feature-set-writer.ts';
import { reportMissingRows } from './missing-rows.ts';

/** The processes of a sharded extraction, such as a `DistributedContext`. */
export type ShardedExtraction = {
  readonly group: { readonly rank: number; readonly processes: number; barrier(): { wait(): void } };
  broadcastFromRankZero<T>(body: () => T): T;
};

/** What `claim` returns on rank 0, which holds it; null elsewhere. If it fails, every process fails. */
export function claimOnRankZero<T>(
  distributed: Pick<ShardedExtraction, 'broadcastFromRankZero'> | null,
  claim: () => T,
): T | null {
  if (!distributed) return claim();
  let claimed: T | null = null;
  distributed.broadcastFromRankZero(() => {
    claimed = claim();
    return null;
  });
  return claimed;
}

/** Rows copied at a time. */
const JOINED_ROWS = 4096;

/**
 * `extractFeatures` with several processes on one file system. Each embeds its shard of the dataset into a feature set beside
 * `out`; rank 0 then merges them in dataset order. An interrupted attempt resumes with the same number of processes. Every
 * process gets the manifest.
 */
export async function extractSharded(
  dataset: Dataset,
  encoder: Encoder,
  options: ExtractOptions,
  distributed: ShardedExtraction,
): Promise<FeaturesInfo> {
  const { rank, processes } = distributed.group;
  const { out, force = false, inputs = [] } = options;
  const replacing = { force, inputs: [dataset.path, ...inputs] };
  using lock = claimOnRankZero(distributed, () => featureSetArtifact.claim(out, replacing));
  if (lock) removeOtherParts(out, processes);
  const edges = Array.from({ length: processes + 1 }, (_, r) => Math.floor((dataset.size * r) / processes));
  const parts = edges.slice(0, -1).map((from, r) => ({
    out: partPath(out, r, processes),
    range: { from, to: edges[r + 1]! },
  }));
  const own = parts[rank]!;
  if (!holds(own.out, dataset, encoder, { ...options, ...own }))
    await extractFeatures(dataset, encoder, { ...options, ...own, force: true });
  distributed.group.barrier().wait();
  if (rank === 0) {
    const paths = parts.map((part) => part.out);
    await joinParts(out, dataset, paths, { ...replacing, lock: lock! });
    for (const path of paths) rmSync(path, { recursive: true });
  }
  distributed.group.barrier().wait();
  using set = FeatureSet.open(out, { verify: false });
  return set.info;
}

/** Whether an earlier attempt has finished this part. */
function holds(path: string, dataset: Dataset, encoder: Encoder, options: ExtractOptions): boolean {
  if (!existsSync(path)) return false;
  using set = FeatureSet.open(path);
  if (set.info.missing.length > 0 && !options.skipBadImages) return false;
  return rowsIdentity(set.info) === rowsIdentity(plannedContent(dataset, encoder, options));
}

/** All that decides what the rows of a part are. */
const rowsIdentity = ({
  model,
  dataset,
  flip,
  seed,
  preprocessing,
  dtype,
  precision,
}: Pick<FeaturesInfo, 'model' | 'dataset' | 'flip' | 'seed' | 'preprocessing' | 'dtype' | 'precision'>): string =>
  canonicalJson([model, dataset, flip, seed, preprocessing, dtype, precision]);

async function joinParts(
  out: string,
  dataset: Dataset,
  paths: readonly string[],
  options: FeatureSetOptions,
): Promise<void> {
  const sets = paths.map((path) => FeatureSet.open(path));
  const { model, dim, classes, flip, seed, preprocessing, dtype, precision } = sets[0]!.info;
  const content = {
    ...{ model, dim, classes, flip, preprocessing, dtype, precision },
    ...(seed !== undefined && { seed }),
    dataset: referenceTo(dataset),
    classKeys: sets[0]!.classKeys(),
    trainedClassKeys: sets[0]!.trainedClassKeys(),
    labels: dataset.labels(),
    families: dataset.families(),
    id: dataset.hasOwnIds ? (row: number) => dataset.id(row) : null,
  };
  await writeFeatureSet(out, content, options, ({ append, markMissing }) => {
    for (const set of sets)
      for (let from = 0; from < set.info.count; from += JOINED_ROWS)
        append(set.block(from, Math.min(JOINED_ROWS, set.info.count - from)));
    let first = 0;
    const missing = sets.flatMap(({ info }) => {
      const rows = info.missing.map((lost) => ({ ...lost, row: first + lost.row }));
      first += info.count;
      return rows;
    });
    reportMissingRows(out, missing, dataset.size);
    markMissing(missing);
  });
  for (const set of sets) set.close();
}
