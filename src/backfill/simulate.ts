import { Rng } from '../base/rng.ts';
import { numberClasses } from '../data/number-classes.ts';
import { estimate } from '../eval/bootstrap.ts';
import { type Calibration, calibrateOne } from '../eval/calibration.ts';
import { chooseCalibration } from '../eval/fit-calibration.ts';
import {
  drawProtocol,
  type Identities,
  type LabelledSetProtocol,
  type ProtocolOptions,
} from '../eval/labelled-set-protocol.ts';
import type { Embeddings } from '../eval/scores.ts';
import {
  BackfillEngine,
  endsOf,
  FAR,
  type GenuineAndImpostor,
  type MovingSpaces,
  movingPairs,
} from './backfill-engine.ts';
import { summarizeCurve } from './curve-summary.ts';
import { labelledOrder } from './labelled-order.ts';
import { sharesOf } from './move-steps.ts';
import {
  byDisagreement,
  byNearnessToMean,
  byPredictedDisagreement,
  type OrderInputs,
  randomOrder,
  uncertainFirst,
} from './orders.ts';
import { LEAST_IDENTITIES } from './predict-by-features.ts';
import { drawResampling } from './resampling.ts';
import { rising, type ScoreMap, type ScoreScales } from './score-scales.ts';
import type { BackfillCurve, BackfillOrderName, BackfillSimulation, ScoreMerge } from './simulation.ts';

export type SimulateOptions = Identities &
  MovingSpaces &
  ProtocolOptions & {
    /** Embeddings of the evaluation set, rows of length 1 or zeros, and the lengths that the old model gave its own. [N] */
    readonly old: Embeddings;
    readonly oldLength: Float64Array;
    readonly orders: readonly BackfillOrderName[];
    readonly merges: readonly ScoreMerge[];
    /** Of scores with rows that are not moved, and with those that are; absent: fitted on pairs of the set. */
    readonly calibrations?: { readonly old: Calibration; readonly new: Calibration } | undefined;
    /** Random orders, and parts into which a move is divided. */
    readonly draws: number;
    readonly steps: number;
    /** Bootstrap resamples of the identities. */
    readonly resamples: number;
    /** Bytes that the lists of entries may take. */
    readonly memoryBytes: number;
    /** Called as it goes, with a share of the work. */
    readonly onProgress?: (share: number, what: string) => void;
  };

export type SimulationResult = Pick<BackfillSimulation, 'protocol' | 'shares' | 'ends' | 'curves' | 'skipped'> & {
  /** Positions of rows, the first to move first; of the random orders the first. */
  readonly orders: readonly { readonly name: BackfillOrderName; readonly rows: Int32Array }[];
};

/** Pairs that a calibration is fitted on, at most of each kind. */
const MOST_CALIBRATED = 200_000;
/** Share of the work that the comparison of all probes with all entries is taken for. */
const COMPARING = 0.6;

/**
 * Simulates galleries that are moved to a new model row by row, in several orders, by the protocol of evaluations: queries are the new
 * model's at every moment. At both ends all metrics are those of `evaluate`.
 * @throws UserError if the set is too small to search, or the simulation takes too much memory.
 */
export function simulateBackfill(options: SimulateOptions): SimulationResult {
  const { merges, steps, draws, seed, resamples, memoryBytes, onProgress } = options;
  const rng = new Rng(seed).split('backfill');
  const protocol = drawProtocol(options, options);
  const shares = sharesOf(steps);
  const pairs = movingPairs(protocol, options);
  const calibrated = merges.includes('calibrated');
  const engine = new BackfillEngine(protocol, options, {
    pairs,
    calibration: calibrated ? (scalesOf(options.calibrations) ?? calibrationScales(protocol, pairs, rng.split('calibration'))) : undefined, // biome-ignore format: short
    rankFusion: merges.includes('rank-fusion'),
    memoryBytes,
    onProgress: (share) => onProgress?.(COMPARING * share, 'compare'),
  });
  const { ends, oldOld } = endsOf(protocol, options.old, engine, { resamples, seed });
  const resampling = drawResampling(protocol, resamples, seed);
  const skipped: { what: string; why: string }[] = [];
  const orders = options.orders.flatMap((name) => {
    const drawn = drawOrder(name, { ...options, engine, rng: rng.split(name) });
    if (!('why' in drawn)) return [{ name, draws: drawn }];
    skipped.push({ what: name, why: drawn.why });
    return [];
  });
  const total = orders.reduce((sum, order) => sum + order.draws.length, 0);
  let done = 0;
  const curves: BackfillCurve[] = orders.flatMap(({ name, draws: drawn }) => {
    const found = drawn.map((order) => {
      onProgress?.(COMPARING + ((1 - COMPARING) * done++) / total, name);
      return engine.curves(order, shares, merges);
    });
    return found[0]!.map(({ merge, metric, value }, i) => {
      const end = ends.find((one) => one.metric === metric)!;
      const draw = found.map((curvesOfDraw) => curvesOfDraw[i]!.value);
      const { worst, ...summary } = summarizeCurve(draw, shares, end);
      const there = engine.replicates(drawn[0]!, worst.share, { merge, metric }, resampling);
      const before = oldOld(metric);
      const difference = value[shares.indexOf(worst.share)]! - end.oldOld;
      const overOld = estimate(difference, there.map((x, r) => x - before[r]!)); // biome-ignore format: short
      return { order: name, merge, metric, ...summary, worst: { ...worst, overOld } };
    });
  });
  const { split } = protocol;
  return {
    protocol: {
      seed,
      genuinePairs: pairs.genuine.row.length,
      impostorPairs: pairs.impostor.row.length,
      probes: split.probes.length,
      galleries: split.galleries.map(({ entries }) => entries.length),
      draws,
    },
    shares,
    ends,
    curves,
    skipped,
    orders: orders.map(({ name, draws: [rows] }) => ({ name, rows: rows! })),
  };
}

const scalesOf = (given: SimulateOptions['calibrations']): ScoreScales | undefined =>
  given && { old: scaleOf(given.old), new: scaleOf(given.new) };

const scaleOf = (calibration: Calibration): ScoreMap => rising((score) => calibrateOne(calibration, score));

/** Calibrations of the scores before and after the move, fitted on pairs of the set. */
function calibrationScales({ labels, pairs }: LabelledSetProtocol, scores: GenuineAndImpostor, rng: Rng): ScoreScales {
  const { labels: identities, classes } = numberClasses(labels);
  const fit = (side: 'old' | 'new') => {
    const some = (kind: 'genuine' | 'impostor') => {
      const { gallery, query } = pairs[kind];
      const step = Math.max(1, Math.ceil(gallery.length / MOST_CALIBRATED));
      const kept = Int32Array.from({ length: Math.ceil(gallery.length / step) }, (_, i) => i * step);
      const identity = (rows: Int32Array) => kept.map((i) => identities[rows[i]!]!);
      return {
        score: Float32Array.from(kept, (i) => scores[kind][side][i]!),
        a: identity(gallery),
        b: identity(query),
      };
    };
    const { calibration } = chooseCalibration(some('genuine'), some('impostor'), { identities: classes, rng });
    return scaleOf(calibration);
  };
  return { old: fit('old'), new: fit('new') };
}

/** The rows in an order by name, of a random one all draws, or why there is nothing to order by. */
function drawOrder(
  name: BackfillOrderName,
  options: SimulateOptions & { readonly engine: BackfillEngine; readonly rng: Rng },
): readonly Int32Array[] | { readonly why: string } {
  const { labels, old, oldLength, meeting, merges, draws, engine, rng } = options;
  const inputs: OrderInputs = { old, oldLength, labels, meeting: { old: meeting.gallery, new: meeting.queries } };
  switch (name) {
    case 'random':
      return Array.from({ length: draws }, (_, draw) => randomOrder(labels.length, rng.split(draw)));
    case 'uncertain-first':
      return orWhy(uncertainFirst(inputs), 'all old embeddings have the same length, which tells nothing');
    case 'disagreement':
      return [byDisagreement(inputs)];
    case 'predicted-disagreement':
      return orWhy(byPredictedDisagreement(inputs, rng), `a prediction takes at least ${LEAST_IDENTITIES} identities`);
    case 'nearest-mean-first':
      return [byNearnessToMean(inputs, 'first')];
    case 'nearest-mean-last':
      return [byNearnessToMean(inputs, 'last')];
    case 'labelled-oracle': {
      const merge = merges.includes('direct') || !merges.includes('calibrated') ? 'direct' : 'calibrated';
      return [labelledOrder(labels.length, engine.galleries, engine.pairs, { far: FAR, merge })];
    }
  }
}

const orWhy = (order: Int32Array | null, why: string): readonly [Int32Array] | { readonly why: string } =>
  order ? [order] : { why };
