import { nonMatedScores, type Searches, thresholdAtFpir } from '../eval/identification.ts';
import { mean } from '../eval/mean.ts';
import type { Rows } from '../eval/scores.ts';
import { type ScaledMerge, type ScoreScales, scaleAll } from './score-scales.ts';
import { AHEAD, DEAD, type SearchLists } from './search-lists.ts';
import type { ScoreMerge } from './simulation.ts';

/** Rates of searches at each share [S]: of ranks, and of TPIR at each FPIR. */
export type SearchCurves = {
  readonly ranks: readonly Float64Array[];
  readonly tpir: readonly Float64Array[];
};

/** What is measured. */
export type SearchMetrics = { readonly ranks: readonly number[]; readonly fpirs: readonly number[] };

/** A gallery in which each entry moves at a step. */
export type MovingGallery = {
  readonly lists: SearchLists;
  /** The step from which on each entry is moved. [size] */
  readonly steps: Uint16Array;
};

/** Scores of the lists of a gallery on the common scale of a merge: of mated probes' own entries [M], and of what others may find. */
export type ScaledScores = {
  readonly own: { readonly old: Rows; readonly new: Rows };
  readonly others: { readonly old: Rows; readonly new: Rows };
};

export function scaleScores({ mated, nonMated }: SearchLists, scales: ScoreScales): ScaledScores {
  const scaled = ({ oldScore, newScore }: { readonly oldScore: Float32Array; readonly newScore: Float32Array }) => ({
    old: scaleAll(oldScore, scales.old),
    new: scaleAll(newScore, scales.new),
  });
  return { own: scaled(mated), others: scaled(nonMated) };
}

/**
 * Rates at each of S = `shares` steps while galleries are moved, with scores compared as they are or calibrated. Each probe costs its
 * list and S, not the gallery.
 */
export function scoredCurves(
  galleries: readonly (MovingGallery & { readonly scores: ScaledScores })[],
  merge: ScaledMerge['merge'],
  { ranks, fpirs, shares }: SearchMetrics & { readonly shares: number },
): SearchCurves {
  const parts = galleries.map(({ lists, steps, scores }) => {
    const nobody = new Int32Array(lists.nonMated.count).fill(-1);
    const falling = bestByShare(lists, steps, scores.others, shares).map((best) =>
      nonMatedScores({ best, ahead: nobody }),
    );
    const thresholds = fpirs.map((fpir) => falling.map((others) => thresholdAtFpir(others, fpir)));
    const hits = ranks.map(() => new Float64Array(shares));
    const accepted = fpirs.map(() => new Float64Array(shares));
    const { own } = lists.mated;
    const ahead = new Int32Array(shares);
    for (let probe = 0; probe < own.length; probe++) {
      countAhead(lists, steps, probe, merge, ahead);
      const moves = steps[own[probe]!]!;
      for (let s = 0; s < shares; s++) {
        const found = ahead[s]!;
        for (let k = 0; k < ranks.length; k++) if (found < ranks[k]!) hits[k]![s]!++;
        if (found > 0) continue;
        const score = s < moves ? scores.own.old[probe]! : scores.own.new[probe]!;
        for (let f = 0; f < fpirs.length; f++) if (score > thresholds[f]![s]!) accepted[f]![s]!++;
      }
    }
    return { hits, accepted, mated: own.length };
  });
  return {
    ranks: pooledRates(parts, ranks.length, shares),
    tpir: fpirs.map((_, f) =>
      Float64Array.from({ length: shares }, (__, s) =>
        mean(parts.map(({ accepted, mated }) => accepted[f]![s]! / mated)),
      ),
    ),
  };
}

/** Rank rates at each share if each space is searched on its own, and rows are taken in turn by their ranks, moved ones first. */
export function fusedCurves(
  galleries: readonly MovingGallery[],
  { ranks, shares }: Pick<SearchMetrics, 'ranks'> & { readonly shares: number },
): Pick<SearchCurves, 'ranks'> {
  const parts = galleries.map(({ lists, steps }) => {
    const movedAt = new Int32Array(shares); // entries moved at each share
    for (const step of steps) movedAt[step]!++;
    for (let s = 1; s < shares; s++) movedAt[s]! += movedAt[s - 1]!;
    const hits = ranks.map(() => new Float64Array(shares));
    const { own } = lists.mated;
    const ahead = new Int32Array(shares);
    for (let probe = 0; probe < own.length; probe++) {
      countAhead(lists, steps, probe, 'rank-fusion', ahead);
      const moves = steps[own[probe]!]!;
      for (let s = 0; s < shares; s++) {
        const found = fusedAhead(ahead[s]!, s >= moves, movedAt[s]!, lists.size);
        for (let k = 0; k < ranks.length; k++) if (found < ranks[k]!) hits[k]![s]!++;
      }
    }
    return { hits, mated: own.length };
  });
  return { ranks: pooledRates(parts, ranks.length, shares) };
}

/** Entries ahead of an own one if rows of both spaces are taken in turn; `inSpace` are ahead of it in its own. */
const fusedAhead = (inSpace: number, isMoved: boolean, moved: number, size: number): number =>
  inSpace + (isMoved ? Math.min(inSpace, size - moved) : Math.min(inSpace + 1, moved));

/**
 * What the probes of a gallery find while the entries with step 0 are moved, as searches of an evaluation; ranks are right up to
 * those that the lists were made for. `enrolled` [P]: the entry of each probe, or -1.
 */
export function searchesAt(
  { lists, steps, scores }: MovingGallery & { readonly scores: ScaledScores },
  merge: ScoreMerge,
  enrolled: Int32Array,
): Searches {
  const count = enrolled.length;
  const found = {
    size: lists.size,
    own: new Float64Array(count).fill(Number.NaN),
    best: new Float64Array(count).fill(Number.NEGATIVE_INFINITY),
    ahead: new Int32Array(count).fill(-1),
    equal: new Int32Array(count),
  };
  const moved = steps.reduce((sum, step) => sum + (step === 0 ? 1 : 0), 0);
  const [best] = bestByShare(lists, steps, scores.others, 2);
  const ahead = new Int32Array(2);
  let [mated, nonMated] = [0, 0];
  for (let probe = 0; probe < count; probe++) {
    if (enrolled[probe]! < 0) {
      found.best[probe] = best![nonMated++]!;
      continue;
    }
    countAhead(lists, steps, mated, merge, ahead);
    const isMoved = steps[lists.mated.own[mated]!] === 0;
    found.own[probe] = isMoved ? scores.own.new[mated]! : scores.own.old[mated]!;
    found.ahead[probe] = merge === 'rank-fusion' ? fusedAhead(ahead[0]!, isMoved, moved, lists.size) : ahead[0]!;
    mated++;
  }
  return found;
}

/** Mean over the enrolled probes of all galleries, computed as evaluations do. */
function pooledRates(
  parts: readonly { readonly hits: readonly Float64Array[]; readonly mated: number }[],
  ranks: number,
  shares: number,
): Float64Array[] {
  const total = parts.reduce((sum, { mated }) => sum + mated, 0);
  return Array.from({ length: ranks }, (_, k) =>
    Float64Array.from(
      { length: shares },
      (__, s) => parts.reduce((sum, { hits, mated }) => sum + (hits[k]![s]! / mated) * mated, 0) / total,
    ),
  );
}

/** Ahead of an own entry that cannot be found, or not at any rank that matters. */
const MANY = 2 ** 30;

const stateBits = {
  direct: { dead: [DEAD.OLD, DEAD.NEW], across: [AHEAD.ON, AHEAD.NO] },
  calibrated: { dead: [DEAD.OLD_CALIBRATED, DEAD.NEW_CALIBRATED], across: [AHEAD.ON_CALIBRATED, AHEAD.NO_CALIBRATED] },
  'rank-fusion': { dead: [DEAD.OLD_ALWAYS, DEAD.NEW_ALWAYS], across: [0, 0] },
} as const satisfies Record<ScoreMerge, unknown>;

/** How many entries are ahead of a probe's own at each share; of the same space only, for the fusion of ranks. Into `ahead` [S]. */
function countAhead(
  { mated }: SearchLists,
  steps: Uint16Array,
  probe: number,
  merge: ScoreMerge,
  ahead: Int32Array,
): void {
  const { own, dead, from, entry, ahead: bits } = mated;
  const shares = ahead.length;
  const moves = steps[own[probe]!]!;
  const { dead: states, across } = stateBits[merge];
  const [old, moved] = [(dead[probe]! & states[0]) === 0, (dead[probe]! & states[1]) === 0];
  ahead.fill(0);
  // as differences: each entry counts from one share to before another
  const count = (first: number, end: number): void => {
    if (first >= end) return;
    ahead[first]!++;
    if (end < shares) ahead[end]!--;
  };
  for (let i = from[probe]!; i < from[probe + 1]!; i++) {
    const step = steps[entry[i]!]!;
    const mask = bits[i]!;
    if (old) {
      if (mask & AHEAD.OO) count(0, Math.min(step, moves));
      if (mask & across[0]) count(step, moves);
    }
    if (moved) {
      if (mask & across[1]) count(moves, step);
      if (mask & AHEAD.NN) count(Math.max(step, moves), shares);
    }
  }
  for (let s = 1; s < shares; s++) ahead[s]! += ahead[s - 1]!;
  if (!old) ahead.fill(MANY, 0, moves);
  if (!moved) ahead.fill(MANY, moves);
}

/** Score of the most similar entry of each probe that is not enrolled, at each share. [S][U] */
function bestByShare(
  { nonMated }: SearchLists,
  steps: Uint16Array,
  { old: before, new: after }: ScaledScores['others'],
  shares: number,
): Float64Array[] {
  const { count, from, entry } = nonMated;
  const best = Array.from({ length: shares }, () => new Float64Array(count));
  const none = Number.NEGATIVE_INFINITY;
  const [arriving, leaving] = [new Float64Array(shares + 1), new Float64Array(shares + 1)];
  for (let probe = 0; probe < count; probe++) {
    arriving.fill(none);
    leaving.fill(none);
    for (let i = from[probe]!; i < from[probe + 1]!; i++) {
      const step = steps[entry[i]!]!;
      if (after[i]! > arriving[step]!) arriving[step] = after[i]!;
      if (before[i]! > leaving[step]!) leaving[step] = before[i]!;
    }
    let stays = none; // best of the entries that move later
    for (let s = shares - 1; s >= 0; s--) {
      best[s]![probe] = stays;
      if (leaving[s]! > stays) stays = leaving[s]!;
    }
    let moved = none;
    for (let s = 0; s < shares; s++) {
      if (arriving[s]! > moved) moved = arriving[s]!;
      if (moved > best[s]![probe]!) best[s]![probe] = moved;
    }
  }
  return best;
}
