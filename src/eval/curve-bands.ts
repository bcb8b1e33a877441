import { estimate, probeReplicates, type Resamples, tpirReplicates } from './bootstrap.ts';
import type { Band } from './evaluation.ts';
import { FPIR_CURVE, type Searches } from './identification.ts';

/** FAR, FPIR and ranks at which bands are known. Smaller rates rest on too few pairs and probes, and a larger FAR says little. */
export const BAND_FARS: readonly number[] = Array.from({ length: 21 }, (_, i) => 10 ** (-4 + i / 10));
/** Of protocols of templates, which have millions of impostors. */
export const TEMPLATE_BAND_FARS: readonly number[] = Array.from({ length: 31 }, (_, i) => 10 ** (-5 + i / 10));
const BAND_FPIRS = FPIR_CURVE.filter((_, i) => i >= 50 && i % 5 === 0);
const BAND_RANKS = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50];

/** The middle 95 % of the replicates at each point. */
export function bandOf(x: readonly number[], replicates: readonly Float64Array[]): Band {
  const estimates = replicates.map((of) => estimate(Number.NaN, of));
  return { x, low: estimates.map(({ low }) => low), high: estimates.map(({ high }) => high) };
}

/** Bands of TPIR over FPIR, and of the identification rate over ranks up to `most`; `identity` [P] of each probe. */
export function identificationBands(
  searches: readonly Searches[],
  identity: Int32Array,
  resamples: Resamples,
  most: number,
): { readonly band: Band; readonly cmcBand: Band } {
  const ranks = BAND_RANKS.filter((rank) => rank <= most);
  const rates = ranks.map((rank) => probeReplicates(searches, identity, (ahead) => (ahead < rank ? 1 : 0), resamples));
  return {
    band: bandOf(BAND_FPIRS, tpirReplicates(searches, identity, BAND_FPIRS, resamples)),
    cmcBand: bandOf(ranks, rates),
  };
}
