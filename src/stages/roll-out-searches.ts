import { Rng } from '../base/rng.ts';
import { allowsSearch, readThresholds } from '../eval/thresholds.ts';
import { FeatureSet } from '../features/index.ts';
import { describeGallery } from './galleries.ts';
import type { SearchCounts, SearchesAt } from './roll-out-artifact.ts';
import { pairAsIs, searchGallery } from './search.ts';

type SearchesOptions = Readonly<Record<'url' | 'old' | 'new' | 'thresholds', string>> & {
  readonly queries: number;
  readonly seed: number;
};

/** Searches a gallery for rows of its own, with the vectors of each model that may be compared with what is there now. */
export async function searchesAt({ url, thresholds, queries, seed, ...sets }: SearchesOptions): Promise<SearchesAt> {
  const { stamp, migration } = await describeGallery(url);
  const there = [stamp!, ...(migration?.phase === 'moving' ? [migration.target] : [])];
  const known = readThresholds(thresholds);
  const found: { old: SearchCounts | null; new: SearchCounts | null; withheld?: true } = { old: null, new: null };
  for (const which of ['old', 'new'] as const) {
    using set = FeatureSet.open(sets[which]);
    const { digest } = set.info.model!;
    const others = there.filter(({ model }) => model.digest !== digest).map((space) => pairAsIs(known, digest, space));
    if (others.some((pair) => pair?.grade === 'withheld')) found.withheld = true;
    if (!others.every((pair) => pair && allowsSearch(pair))) continue;
    const present = Array.from({ length: set.info.count }, (_, row) => row).filter((row) => !set.missing().has(row));
    const rows = new Rng(seed).split('searched rows').sample(present, Math.min(queries, present.length));
    const hits = await searchGallery({ url, features: sets[which], rows, thresholds, k: 2, fields: ['label'] });
    const labels = set.labels();
    const counts = { right: 0, wrong: 0, none: 0 };
    for (const [i, row] of rows.entries()) {
      const other = hits[i]!.hits.find(({ id }) => id !== (set.id(row) ?? String(row)));
      counts[!other ? 'none' : other.fields['label'] === labels[row] ? 'right' : 'wrong']++;
    }
    found[which] = counts;
  }
  return found;
}
