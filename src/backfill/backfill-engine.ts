import { probeReplicates, tpirReplicates } from '../eval/bootstrap.ts';
import { createTestRunner } from '../eval/evaluate.ts';
import { evaluationRng, type LabelledSetProtocol } from '../eval/labelled-set-protocol.ts';
import { metrics } from '../eval/metrics/index.ts';
import { powerOfTen } from '../eval/metrics/metric.ts';
import { type Embeddings, pairScores } from '../eval/scores.ts';
import { moveSteps, ranksOf } from './move-steps.ts';
import { type MovingPairs, pairsForTar, resampledTar, type TarPairs, tarCurve } from './pair-curves.ts';
import type { Resampling } from './resampling.ts';
import { directScales, type ScaledMerge, type ScoreScales } from './score-scales.ts';
import {
  fusedCurves,
  type MovingGallery,
  type ScaledScores,
  scaleScores,
  scoredCurves,
  searchesAt,
} from './search-curves.ts';
import { buildSearchLists, type SearchLists } from './search-lists.ts';
import type { BackfillEnds, ScoreMerge } from './simulation.ts';

/** What is measured: metrics of evaluations by their names. */
const RANKS = [1, 5];
const FPIRS = [1e-1, 1e-2];
export const FAR = 1e-3;
const names = {
  ranks: RANKS.map((rank) => `rank-${rank}`),
  tpir: FPIRS.map((fpir) => `TPIR@FPIR=${powerOfTen(fpir)}`),
  tar: `TAR@FAR=${powerOfTen(FAR)}`,
};

/** Embeddings of an evaluation set, rows of length 1 or zeros. [N] each */
export type MovingSpaces = {
  /** New queries and old rows in the space in which they meet while a row is not moved. */
  readonly meeting: { readonly queries: Embeddings; readonly gallery: Embeddings };
  /** New embeddings: the queries on rows that are moved, and these rows. */
  readonly new: Embeddings;
};

/** Scores of the protocol's pairs before and after the gallery's side is moved. */
export type GenuineAndImpostor = { readonly genuine: MovingPairs; readonly impostor: MovingPairs };

export function movingPairs({ pairs }: LabelledSetProtocol, { meeting, new: moved }: MovingSpaces): GenuineAndImpostor {
  const of = (kind: 'genuine' | 'impostor'): MovingPairs => ({
    old: pairScores(meeting.queries, meeting.gallery, pairs[kind]),
    new: pairScores(moved, moved, pairs[kind]),
    row: pairs[kind].gallery,
    query: pairs[kind].query,
  });
  return { genuine: of('genuine'), impostor: of('impostor') };
}

/** What searches of one gallery depend on, and the rows of its entries. */
export type ListedGallery = { readonly lists: SearchLists; readonly entries: Int32Array };

export type EngineOptions = {
  readonly pairs: GenuineAndImpostor;
  /** Scales of calibrated scores; absent: there is no such merge. */
  readonly calibration?: ScoreScales | undefined;
  readonly rankFusion: boolean;
  /** Bytes that the lists of entries may take. */
  readonly memoryBytes: number;
  /** Called as probes are compared, with their share. */
  readonly onProgress?: (share: number) => void;
};

/** A metric at each share of a gallery. */
export type MetricCurve = { readonly merge: ScoreMerge; readonly metric: string; readonly value: Float64Array };

/**
 * Metrics of galleries that are moved in any order. All probes are compared with all entries twice, before and after the move, when
 * it is made; an order then costs what its rows change.
 */
export class BackfillEngine {
  readonly galleries: readonly ListedGallery[];
  readonly pairs: GenuineAndImpostor;
  readonly #rows: number;
  readonly #split: LabelledSetProtocol['split'];
  readonly #scaled: readonly (ScaledMerge & { readonly scores: readonly ScaledScores[]; readonly tar: TarPairs })[];

  /** @throws UserError if the lists of entries outgrow `memoryBytes`. */
  constructor({ labels, split }: LabelledSetProtocol, spaces: MovingSpaces, options: EngineOptions) {
    const { pairs, calibration, rankFusion, memoryBytes, onProgress } = options;
    const scaled: ScaledMerge[] = [
      { merge: 'direct', scales: directScales },
      ...(calibration ? [{ merge: 'calibrated', scales: calibration } as const] : []),
    ];
    const [first, second] = split.galleries;
    const positions = Int32Array.from([...first.entries, ...second.entries]);
    const { meeting, new: moved } = spaces;
    const lists = buildSearchLists(
      { probes: { ...meeting.queries, positions: split.probes }, entries: { ...meeting.gallery, positions } },
      { probes: { ...moved, positions: split.probes }, entries: { ...moved, positions } },
      {
        parts: [
          { start: 0, size: first.entries.length, enrolled: first.enrolled },
          { start: first.entries.length, size: second.entries.length, enrolled: second.enrolled },
        ],
        merges: scaled,
        rankFusion,
        mostRank: Math.max(...RANKS),
        memoryBytes,
        ...(onProgress && { onBlock: (done, total) => onProgress(done / total) }),
      },
    );
    this.galleries = lists.map((list, g) => ({ lists: list, entries: split.galleries[g]!.entries }));
    this.pairs = pairs;
    this.#rows = labels.length;
    this.#split = split;
    this.#scaled = scaled.map((merge) => ({
      ...merge,
      scores: lists.map((list) => scaleScores(list, merge.scales)),
      tar: pairsForTar(pairs, FAR, merge.scales),
    }));
  }

  /** All metrics at `shares` while rows move in an order [N]. Each gallery, and the rows of all pairs, have their own shares. */
  curves(order: Int32Array, shares: readonly number[], merges: readonly ScoreMerge[]): MetricCurve[] {
    const { moving, steps } = this.#steps(order, shares);
    const count = shares.length;
    return merges.flatMap((merge) =>
      merge === 'rank-fusion' ? this.#fused(moving, count) : this.#scored(moving, steps, count, merge),
    );
  }

  /** One metric in each resample of the identities, at one share of an order. [R] */
  replicates(
    order: Int32Array,
    share: number,
    { merge, metric }: Pick<MetricCurve, 'merge' | 'metric'>,
    resampling: Resampling,
  ): Float64Array {
    const { moving, steps } = this.#steps(order, [share, 1]); // step 0 is moved
    const { scores, tar } = this.#scaled.find((one) => merge === 'rank-fusion' || one.merge === merge)!;
    if (metric === names.tar) return resampledTar(tar, steps, resampling);
    const searches = moving.map((gallery, g) =>
      searchesAt({ ...gallery, scores: scores[g]! }, merge, this.#split.galleries[g]!.enrolled),
    );
    const identity = this.#split.probes.map((row) => resampling.identity[row]!);
    const fpir = FPIRS[names.tpir.indexOf(metric)];
    if (fpir !== undefined) return tpirReplicates(searches, identity, [fpir], resampling.drawn)[0]!;
    const rank = RANKS[names.ranks.indexOf(metric)]!;
    return probeReplicates(searches, identity, (ahead) => (ahead < rank ? 1 : 0), resampling.drawn);
  }

  /** The steps at which entries and rows move. */
  #steps(order: Int32Array, shares: readonly number[]) {
    const stepsOf = (members: Int32Array): Uint16Array => moveSteps(ranksOf(members, order, this.#rows), shares);
    return {
      moving: this.galleries.map(({ lists, entries }) => ({ lists, steps: stepsOf(entries) })),
      steps: stepsOf(Int32Array.from({ length: this.#rows }, (_, row) => row)),
    };
  }

  #fused(moving: readonly MovingGallery[], shares: number): MetricCurve[] {
    const { ranks } = fusedCurves(moving, { ranks: RANKS, shares });
    return ranks.map((value, k) => ({ merge: 'rank-fusion', metric: names.ranks[k]!, value }));
  }

  #scored(
    moving: readonly MovingGallery[],
    steps: Uint16Array,
    shares: number,
    merge: ScaledMerge['merge'],
  ): MetricCurve[] {
    const { scores, tar } = this.#scaled.find((one) => one.merge === merge)!;
    const galleries = moving.map((gallery, g) => ({ ...gallery, scores: scores[g]! }));
    const { ranks, tpir } = scoredCurves(galleries, merge, { ranks: RANKS, fpirs: FPIRS, shares });
    return [
      ...ranks.map((value, k) => ({ merge, metric: names.ranks[k]!, value })),
      ...tpir.map((value, f) => ({ merge, metric: names.tpir[f]!, value })),
      { merge, metric: names.tar, value: tarCurve(tar, steps, shares) },
    ];
  }
}

/** The three tests in which the gallery is of one model: two are the ends of any curve. `oldOld` [R]: resampled. */
export function endsOf(
  protocol: LabelledSetProtocol,
  old: Embeddings,
  engine: BackfillEngine,
  { resamples, seed }: { readonly resamples: number; readonly seed: number },
): { readonly ends: readonly BackfillEnds[]; readonly oldOld: (metric: string) => Float64Array } {
  const run = createTestRunner(protocol, { resamples, rng: evaluationRng(seed).split('bootstrap') });
  const { result, tests } = run(old, old);
  const test = { query: 'old', gallery: 'old', ...result };
  const anyOrder = Int32Array.from(protocol.labels.keys());
  const ends = engine.curves(anyOrder, [0, 1], ['direct']).map(({ metric, value }) => ({
    metric,
    oldOld: metrics.find(({ name }) => name === metric)!.stored!(test)!,
    newOld: value[0]!,
    newNew: value.at(-1)!,
  }));
  return { ends, oldOld: (metric) => replicatesOf(metric, tests) };
}

/** A metric of verdicts, or of their family, in each resample. [R] */
export function replicatesOf(
  name: string,
  tests: ReturnType<ReturnType<typeof createTestRunner>>['tests'],
): Float64Array {
  const metric = metrics.find((one) => one.name === name)!;
  const { replicates } = metric.test === 'verification' ? metric.measure(tests.verification) : metric.measure(tests.identification); // biome-ignore format: short
  return replicates!;
}
