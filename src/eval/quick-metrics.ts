import type { Rng } from '../base/rng.ts';
import { searchParts } from './gallery-search.ts';
import { cumulativeMatchCurve } from './identification.ts';
import { type Identities, identificationSplit, type VerificationProtocol, verificationPairs } from './labelled-set-protocol.ts'; // biome-ignore format: short
import { powerOfTen } from './metrics/metric.ts';
import { tarAtMost } from './roc.ts';
import { type Embeddings, pairScores } from './scores.ts';

/** FAR of the true accept rate; names of the metrics. */
const FAR = 1e-3;
export const quickMetricNames = ['rank-1', `TAR@FAR=${powerOfTen(FAR)}`] as const;
export type QuickMetric = (typeof quickMetricNames)[number];

/** Most pairs and probes: a validation takes seconds. */
const MOST = { genuines: 100_000, impostors: 200_000, probes: 10_000 } as const;

/** Measures one test of a small labelled set without intervals. */
export type QuickTest = (queries: Embeddings, entries: Embeddings) => Readonly<Record<QuickMetric, number>>;

/**
 * Draws pairs and galleries as an evaluation does. Embeddings are of the images of the set in its order, rows of length 1.
 * @throws UserError if the set is too small
 */
export function quickTest(identities: Identities, rng: Rng): QuickTest {
  const pairs = verificationPairs(identities, { ...MOST, rng: rng.split('1:1') });
  const { probes, galleries } = identificationSplit(identities, rng.split('1:N'), { most: MOST.probes });
  return (queries, entries) => {
    const searches = galleries.flatMap(({ entries: positions, enrolled }) =>
      searchParts({ ...queries, positions: probes }, { ...entries, positions }, [
        { start: 0, size: positions.length, enrolled },
      ]),
    );
    return {
      'rank-1': cumulativeMatchCurve(searches, 1).rate[0]!,
      'TAR@FAR=1e-3': tarAtMost(sortedScores(queries, entries, pairs), FAR),
    };
  };
}

const sortedScores = (queries: Embeddings, entries: Embeddings, { genuine, impostor }: VerificationProtocol) => ({
  genuine: pairScores(queries, entries, genuine).sort(),
  impostor: pairScores(queries, entries, impostor).sort(),
});
