import { thresholdAtMost } from '../eval/roc.ts';
import type { GenuineAndImpostor, ListedGallery } from './backfill-engine.ts';
import { byFalling } from './orders.ts';
import { AHEAD, DEAD } from './search-lists.ts';

/**
 * The order of someone who knows the label of every probe: rows by what their move changes in rank-1, counted once where nothing
 * else is moved and once where all else is; equal ones by the genuine pairs that are accepted after it at FAR ≤ `far` and were not
 * before. It is greedy, so a better order may exist.
 */
export function labelledOrder(
  rowCount: number,
  galleries: readonly ListedGallery[],
  { genuine, impostor }: GenuineAndImpostor,
  { far, merge }: { readonly far: number; readonly merge: 'direct' | 'calibrated' },
): Int32Array {
  const gain = new Float64Array(rowCount);
  for (const gallery of galleries) addSearchGains(gallery, merge, gain);
  const accepted = new Float64Array(rowCount);
  const thresholds = [impostor.old, impostor.new].map((scores) => thresholdAtMost(scores.slice().sort(), far));
  for (const [i, row] of genuine.row.entries())
    accepted[row]! += (genuine.new[i]! > thresholds[1]! ? 1 : 0) - (genuine.old[i]! > thresholds[0]! ? 1 : 0);
  // whole searches count before pairs
  const most = accepted.reduce((a, b) => Math.max(a, Math.abs(b)), 1);
  return byFalling(gain.map((searches, row) => searches + accepted[row]! / (2 * most + 1)));
}

/** Adds to `gain` what the move of each row changes in the number of probes that are hits. */
function addSearchGains({ lists, entries }: ListedGallery, merge: 'direct' | 'calibrated', gain: Float64Array): void {
  const { own, dead, from, entry, ahead } = lists.mated;
  const direct = merge === 'direct';
  const [on, no] = direct ? [AHEAD.ON, AHEAD.NO] : [AHEAD.ON_CALIBRATED, AHEAD.NO_CALIBRATED];
  const [deadOld, deadNew] = direct ? [DEAD.OLD, DEAD.NEW] : [DEAD.OLD_CALIBRATED, DEAD.NEW_CALIBRATED];
  const hit = (count: number): number => (count === 0 ? 1 : 0);
  for (let probe = 0; probe < own.length; probe++) {
    const counts = new Map([on, no, AHEAD.OO, AHEAD.NN].map((bit) => [bit, 0]));
    for (let i = from[probe]!; i < from[probe + 1]!; i++)
      for (const bit of counts.keys()) if (ahead[i]! & bit) counts.set(bit, counts.get(bit)! + 1);
    const alive = (state: number, count: number): number => ((dead[probe]! & state) === 0 ? count : 1);
    const [oo, ownMoved] = [alive(deadOld, counts.get(AHEAD.OO)!), alive(deadNew, counts.get(no)!)];
    const [nn, ownLeft] = [alive(deadNew, counts.get(AHEAD.NN)!), alive(deadOld, counts.get(on)!)];
    gain[entries[own[probe]!]!]! += hit(ownMoved) - hit(oo) + hit(nn) - hit(ownLeft);
    for (let i = from[probe]!; i < from[probe + 1]!; i++) {
      const change = (bit: number): number => (ahead[i]! & bit ? 1 : 0);
      const row = entries[entry[i]!]!;
      if ((dead[probe]! & deadOld) === 0) gain[row]! += hit(oo - change(AHEAD.OO) + change(on)) - hit(oo);
      if ((dead[probe]! & deadNew) === 0) gain[row]! += hit(nn) - hit(nn - change(AHEAD.NN) + change(no));
    }
  }
}
