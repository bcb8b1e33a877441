import type { Rng } from '../base/rng.ts';
import type { Enrolment } from '../data/index.ts';
import { type Resamples, totalWeights } from './bootstrap.ts';
import { type DecidedPairs, decisionChanges, searchChanges } from './changes.ts';
import type { PairChanges, SearchChanges } from './evaluation.ts';
import type { Searches } from './identification.ts';
import type { Pairs } from './labelled-set-protocol.ts';
import { cosine } from './scores.ts';
import { type Templates, templatePositions } from './templates.ts';

/** FAR at which genuine pairs are decided: that of the published comparisons. */
export const CHANGES_FAR = 1e-4;

/** The searches of the old galleries by the queries of one model. */
export type RanTemplateSearches = {
  readonly query: Templates;
  readonly gallery: Templates;
  readonly searches: readonly Searches[];
};

/** Searches of the galleries that the new model's queries repair and break; examples and their entries are ids of templates. */
export function templateSearchChanges(
  { old, fresh }: { readonly old: RanTemplateSearches; readonly fresh: RanTemplateSearches },
  {
    galleries,
    probes,
    identity,
    drawn,
    rng,
  }: {
    readonly galleries: readonly Enrolment[];
    readonly probes: Enrolment;
    /** Resampled identity of each probe. [P] */
    readonly identity: Int32Array;
    readonly drawn: Resamples;
    readonly rng: Rng;
  },
): SearchChanges {
  const count = probes.templates.length;
  const entries = galleries.flatMap(({ templates }) => Array.from(templates));
  let start = count;
  // probes are numbered first, then the entries of all galleries
  const split = {
    probes: Int32Array.from({ length: count }, (_, i) => i),
    galleries: galleries.map(({ templates, subjects }) => {
      const at = new Map(Array.from(subjects, (subject, i) => [subject, i]));
      const from = start;
      start += templates.length;
      return {
        entries: Int32Array.from(templates, (_, i) => from + i),
        enrolled: Int32Array.from(probes.subjects, (subject) => at.get(subject) ?? -1),
      };
    }),
  };
  const ran = ({ query, gallery, searches }: RanTemplateSearches) => {
    const [asProbe, asEntry] = [templatePositions(query, probes.templates), templatePositions(gallery, entries)];
    const similarity = (probe: number, entry: number): number =>
      cosine(query.rows, asProbe[probe]!, gallery.rows, asEntry[entry - count]!, query.dim);
    return { searches, similarity };
  };
  return searchChanges(
    { old: ran(old), fresh: ran(fresh) },
    {
      ...{ labels: Int32Array.from(probes.subjects), identity, drawn, rng, split },
      positions: Int32Array.from([...probes.templates, ...entries]),
    },
  );
}

/** Genuine pairs that both models decide differently, each at its own threshold for the FAR; `cluster` [K]: their enrolled templates, which `drawn` resamples. */
export function templatePairChanges(
  { old, fresh }: { readonly old: DecidedPairs; readonly fresh: DecidedPairs },
  {
    genuine,
    cluster,
    drawn,
  }: {
    readonly genuine: Pairs;
    readonly cluster: Int32Array;
    readonly drawn: Resamples;
  },
): PairChanges {
  const weights = (chosen: Int32Array): Float64Array => totalWeights(chosen.map((k) => cluster[k]!), drawn); // biome-ignore format: short
  return {
    far: CHANGES_FAR,
    oldThreshold: old.threshold,
    newThreshold: fresh.threshold,
    genuine: decisionChanges('genuine', genuine, { old, fresh, weights, total: totalWeights(cluster, drawn) }),
  };
}
