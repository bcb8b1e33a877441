import { UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { RESAMPLES } from '../eval/defaults.ts';
import type { Estimate, Measured } from '../eval/evaluation.ts';
import { compare, createTestRunner, identificationSplit, unitEmbeddings, verificationPairs } from '../eval/index.ts';
import { judges, metrics } from '../eval/metrics/index.ts';
import type { Metric } from '../eval/metrics/metric.ts';
import type { AdapterDirection } from '../features/feature-set-artifact.ts';
import type { AdapterFields, AdapterMethod } from './adapter-artifact.ts';
import { type AdapterMap, mapFlat } from './adapter-map.ts';
import type { Candidate, FittedMap, TrainingPairs } from './candidate.ts';
import { identity } from './identity.ts';
import { lowRank } from './low-rank.ts';
import { momentsOf } from './moments.ts';
import type { PairedRows } from './paired-rows.ts';
import { procrustes } from './procrustes.ts';
import { residualMlp } from './residual-mlp.ts';
import { ridge } from './ridge.ts';
import { slerpRows } from './slerp.ts';

/** Every candidate, from the most rigid to the most flexible one. To add one: write its file, and add it here. */
export const candidates: readonly Candidate[] = [identity, procrustes, ridge, lowRank, residualMlp];

/** Metrics that an adapter can be chosen by. */
export const adapterMetrics: readonly Metric[] = metrics.filter((metric) => judges(metric, 'labelled set'));

/** Shares of the identities to choose and to test by; the others are fitted on. */
const HELD_OUT = 0.2;
const LEAST_IDENTITIES = 20;
const FOLDS = 5;
/** Shares of the way from a query as it is to the mapped one that `blend` chooses from. */
const BLENDS: readonly number[] = Array.from({ length: 11 }, (_, i) => i / 10);
/** Pairs and probes at most: a share of those of an evaluation, for each candidate is measured. */
const MOST = { genuines: 200_000, impostors: 500_000, probes: 20_000 } as const;

export type FitOptions = {
  /** x: embeddings to map; y: those of the other model. Labels and families of the rows. [N] */
  readonly pairs: PairedRows;
  readonly labels: Int32Array;
  readonly families: Int32Array;
  readonly direction: AdapterDirection;
  readonly methods: readonly AdapterMethod[];
  readonly metric: Metric;
  /** Interpolate between embeddings as they are and mapped ones, for P = Q; how far is chosen with the candidate. */
  readonly blend?: boolean;
  readonly seed: number;
  readonly resamples?: number;
  readonly onCandidate?: (done: number, method: string) => void;
};

/** What was fitted. Its tensors belong to the caller's scope. */
export type AdapterFit = FittedMap &
  Pick<AdapterFields, 'method' | 'blend' | 'identities' | 'chosenBy' | 'test' | 'beatsOld'>;

/**
 * Fits each candidate on some identities, chooses the best by the metric on others, fits it again on all of these, and tests
 * that map, which is the one returned, on identities that had no part in it. Call it in a scope.
 * @throws UserError if there are too few identities, or nothing to compare among those held out.
 */
export function fitAdapter(options: FitOptions): AdapterFit {
  const { pairs, labels, methods, metric, blend: blends = false, seed, onCandidate } = options;
  const rng = adapterRng(seed);
  const parts = splitIdentities(labels, rng.split('identities'));
  const training = trainingPairs(pairs, parts.folds, rng.split('fit'));
  const chosenOn = metricOf({ ...options, rows: parts.choose, rng: rng.split('choose') });
  const judged = candidates
    .filter(({ method }) => methods.includes(method))
    .map((candidate, i) => {
      onCandidate?.(i, candidate.method);
      const { map } = candidate.fit(training);
      const blend = blends && candidate !== identity ? { blend: chosenOn.bestBlend(map) } : {};
      return { candidate, blend, ...resultOf(metric, chosenOn, chosenOn.of(map, blend)) };
    });
  const best = judged.reduce((a, b) => (b.value > a.value ? b : a));
  onCandidate?.(judged.length, `${best.candidate.method} with all identities`);
  const choose = { rows: parts.choose, moments: momentsOf(pairs, parts.choose) };
  const fitted = best.candidate.fit({ ...training, folds: [...training.folds, choose] });
  const testedOn = metricOf({ ...options, rows: parts.test, rng: rng.split('test') });
  const { value, difference, beatsOld } = resultOf(metric, testedOn, testedOn.of(fitted.map, best.blend));
  return {
    ...fitted,
    method: best.candidate.method,
    ...best.blend,
    identities: parts.sizes,
    chosenBy: {
      old: chosenOn.old.value,
      candidates: judged.map(({ candidate: { method }, blend, value, difference }) => ({
        method,
        ...blend,
        value,
        difference,
      })),
    },
    test: { value, difference, old: testedOn.old.value },
    beatsOld,
  };
}

/** Positions of the rows that an adapter of this seed is tested on: they have no part in fitting or choosing it. */
export const testRows = (labels: Int32Array, seed: number): Int32Array =>
  splitIdentities(labels, adapterRng(seed).split('identities')).test;

const adapterRng = (seed: number): Rng => new Rng(seed).split('adapt');

/** Draws which identities are fitted on, in folds, chosen by and tested on. → positions of their rows */
function splitIdentities(labels: Int32Array, rng: Rng) {
  const identities = [...new Set(labels)].sort((a, b) => a - b);
  if (identities.length < LEAST_IDENTITIES)
    throw new UserError(
      `${identities.length} identities have embeddings by both models, wanted at least ${LEAST_IDENTITIES}`,
      {
        hint: 'an adapter is fitted on some identities, chosen by others and tested on others again: give feature sets of more',
      },
    );
  const order = rng.sample(identities, identities.length);
  const heldOut = Math.ceil(HELD_OUT * identities.length);
  const fit = order.slice(2 * heldOut);
  const partOf = new Map(order.map((label, i) => [label, i < heldOut ? -1 : i < 2 * heldOut ? -2 : i % FOLDS]));
  const rowsOf = (part: number): Int32Array =>
    Int32Array.from(labels.keys()).filter((row) => partOf.get(labels[row]!) === part);
  return {
    sizes: { fit: fit.length, choose: heldOut, test: heldOut },
    test: rowsOf(-1),
    choose: rowsOf(-2),
    folds: Array.from({ length: FOLDS }, (_, fold) => rowsOf(fold)),
  };
}

const trainingPairs = (pairs: PairedRows, folds: readonly Int32Array[], rng: Rng): TrainingPairs => ({
  pairs,
  folds: folds.map((rows) => ({ rows, moments: momentsOf(pairs, rows) })),
  rng,
});

type MetricOf = {
  /** Of the old model's queries on its gallery. */
  readonly old: Measured;
  /** Of queries and gallery of which one went through the map. */
  readonly of: (map: AdapterMap, how: { readonly blend?: number }) => Measured;
  /** The share among `BLENDS` whose value is best; the smallest of equal ones. */
  readonly bestBlend: (map: AdapterMap) => number;
  readonly chance: number;
};

/** Measures the metric by the protocol of evaluations on some rows. */
function metricOf({
  pairs,
  labels,
  families,
  direction,
  metric,
  resamples = RESAMPLES,
  rows,
  rng,
}: FitOptions & { readonly rows: Int32Array; readonly rng: Rng }): MetricOf {
  const identities = { labels: rows.map((row) => labels[row]!), families: rows.map((row) => families[row]!) };
  const { genuines, impostors, probes } = MOST;
  const split = identificationSplit(identities, rng.split('1:N'), { most: probes });
  const protocol = {
    ...identities,
    pairs: verificationPairs(identities, { genuines, impostors, rng: rng.split('1:1') }),
    split,
  };
  const run = createTestRunner(protocol, { resamples, rng: rng.split('bootstrap') });
  const { x, y } = pairs.read(rows);
  const unit = (from: Float32Array, dim: number) => unitEmbeddings(from, dim, 'embeddings through the adapter');
  const [source, target] = [unit(x, pairs.dims.x), unit(y, pairs.dims.y)];
  const old = direction === 'query' ? target : source;
  const measure = (test: typeof run, rows: Float32Array): Measured => {
    const mapped = unit(rows, pairs.dims.y);
    const { measured } = direction === 'query' ? test(mapped, target) : test(target, mapped);
    return measured.get(metric.name)!;
  };
  return {
    old: run(old, old).measured.get(metric.name)!,
    of: (map, { blend }) => measure(run, mapFlat(map, x, pairs.dims.x, blend)),
    bestBlend(map) {
      const withoutIntervals = createTestRunner(protocol, { resamples: 0, rng });
      const mapped = mapFlat(map, x, pairs.dims.x);
      const values = BLENDS.map(
        (share) => measure(withoutIntervals, slerpRows(x, mapped, { share, dim: pairs.dims.x })).value,
      );
      return BLENDS[values.indexOf(Math.max(...values))]!;
    },
    chance: metric.verdict!.chance(split.galleries.map(({ entries }) => entries.length)),
  };
}

/** A metric with the adapter, and what it gains over the old model. */
function resultOf(
  { name }: Metric,
  { old, chance }: MetricOf,
  adapted: Measured,
): { readonly value: number; readonly difference: Estimate; readonly beatsOld: boolean } {
  const sides = { oldOld: old, newOld: adapted, newNew: adapted, oracle: null };
  const { newOld, difference, criterion } = compare(name, sides, chance);
  return { value: newOld, difference, beatsOld: criterion === 'met' };
}
