import { firstIndexWhere } from '../eval/binary-search.ts';
import { impostorsKept, type ScoredPairs, sortPairsByScore, tarReplicates } from '../eval/bootstrap.ts';
import { atMostCount } from '../eval/roc.ts';
import { NO_SCORE, type Rows } from '../eval/scores.ts';
import type { Resampling } from './resampling.ts';
import { type ScoreScales, scaleAll } from './score-scales.ts';

/** Scores of pairs before and after the gallery's side is moved, the row of that side, and that of the query. [K] each */
export type MovingPairs = {
  readonly old: Rows;
  readonly new: Rows;
  readonly row: Int32Array;
  readonly query: Int32Array;
};

/** The pairs that decide the true accept rate at one FAR while rows move in any order, on one scale. */
export type TarPairs = {
  /** Impostor pairs that some mixture lets reach the threshold. */
  readonly impostors: MovingPairs;
  readonly far: number;
  readonly impostorsInAll: number;
  /** Impostor pairs that may lie above the threshold: ⌊FAR · all⌋. */
  readonly allowed: number;
  /** Scores below this are below the threshold in any mixture. */
  readonly least: number;
  readonly genuines: MovingPairs;
};

const scaled = ({ old, new: moved, ...sides }: MovingPairs, scales: ScoreScales): MovingPairs => ({
  old: scaleAll(old, scales.old),
  new: scaleAll(moved, scales.new),
  ...sides,
});

/**
 * Keeps the impostor pairs that matter. A mixture's score of a pair is at least min(old, new), so its threshold, in resamples, too, is at
 * least that of these minima, and a pair whose scores are both below has no part in it.
 */
export function pairsForTar(
  { genuine, impostor }: { readonly genuine: MovingPairs; readonly impostor: MovingPairs },
  far: number,
  scales: ScoreScales,
): TarPairs {
  const { old, new: moved, row, query } = scaled(impostor, scales);
  const minima = new Float64Array(row.length);
  for (let i = 0; i < row.length; i++) minima[i] = Math.min(old[i]!, moved[i]!);
  minima.sort();
  const allowed = atMostCount(far, row.length);
  const least = minima[row.length - impostorsKept(far, row.length) - 1] ?? Number.NEGATIVE_INFINITY;
  const kept = new Int32Array(row.length);
  let count = 0;
  for (let i = 0; i < row.length; i++) if (old[i]! >= least || moved[i]! >= least) kept[count++] = i;
  const impostors = {
    ...{ old: new Float64Array(count), new: new Float64Array(count) },
    ...{ row: new Int32Array(count), query: new Int32Array(count) },
  };
  for (let k = 0; k < count; k++) {
    const i = kept[k]!;
    impostors.old[k] = old[i]!;
    impostors.new[k] = moved[i]!;
    impostors.row[k] = row[i]!;
    impostors.query[k] = query[i]!;
  }
  const genuines = scaled(genuine, scales);
  return { far, impostors, impostorsInAll: row.length, allowed, least, genuines };
}

/**
 * The largest true accept rate at FAR ≤ target at each of `shares` steps, as `tarAtMost` computes it. `steps` [N]: the step from
 * which on each row is moved.
 */
export function tarCurve(
  { impostors, genuines, allowed, least }: TarPairs,
  steps: Uint16Array,
  shares: number,
): Float64Array {
  const scores = new Float64Array(impostors.row.length);
  return Float64Array.from({ length: shares }, (_, s) => {
    let count = 0;
    for (let i = 0; i < impostors.row.length; i++) {
      const score = steps[impostors.row[i]!]! <= s ? impostors.new[i]! : impostors.old[i]!;
      if (score >= least) scores[count++] = score;
    }
    const sorted = scores.subarray(0, count).sort();
    const threshold = sorted[count - 1 - allowed] ?? Number.NEGATIVE_INFINITY;
    let accepted = 0;
    for (let i = 0; i < genuines.row.length; i++) {
      const score = steps[genuines.row[i]!]! <= s ? genuines.new[i]! : genuines.old[i]!;
      if (score > threshold) accepted++;
    }
    return accepted / genuines.row.length;
  });
}

/** The rate of `tarCurve` in each resample of the identities, at the share at which the rows with step 0 are moved. [R] */
export function resampledTar(
  { impostors, genuines, far, impostorsInAll }: TarPairs,
  steps: Uint16Array,
  { drawn, totals, identity }: Resampling,
): Float64Array {
  const scoresOf = ({ old, new: moved, row }: MovingPairs): Float64Array =>
    Float64Array.from(row, (at, i) => (steps[at] === 0 ? moved[i]! : old[i]!));
  const [ofGenuines, ofImpostors] = [scoresOf(genuines), scoresOf(impostors)];
  // places in the order of all, which single precision holds exactly: only the order matters
  const all = new Float64Array(ofGenuines.length + ofImpostors.length);
  all.set(ofGenuines);
  all.set(ofImpostors, ofGenuines.length);
  all.sort();
  const place = (score: number): number =>
    score === NO_SCORE ? NO_SCORE : firstIndexWhere(all.length, (i) => all[i]! >= score);
  const sorted = ({ row, query }: MovingPairs, scores: Float64Array): ScoredPairs =>
    sortPairsByScore({
      score: Float32Array.from(scores, place),
      a: row.map((at) => identity[at]!),
      b: query.map((at) => identity[at]!),
    });
  return tarReplicates(
    sorted(genuines, ofGenuines),
    sorted(impostors, ofImpostors),
    [far],
    drawn,
    totals,
    impostorsInAll,
  )[0]!;
}
