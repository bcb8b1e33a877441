import { estimate } from './bootstrap.ts';
import type { Comparison, Estimate, JudgedMetric, Measured } from './evaluation.ts';
import { mean } from './mean.ts';
import { judges, metrics } from './metrics/index.ts';
import type { ProtocolKind } from './metrics/metric.ts';

/** A metric of the tests that a new model is judged by. */
type Tests<T> = { readonly oldOld: T; readonly newOld: T; readonly newNew: T; readonly oracle: T };
type Measurements = Omit<Tests<Measured>, 'oracle'> & { readonly oracle: Measured | null };

/** A model's metrics in one test, by name; the test is named by its models. */
export type MeasuredTests = (query: string, gallery: string) => ReadonlyMap<string, Measured>;

/** Judges a new model by every metric that verdicts of the protocol use and that its tests measured. */
export function compareByMetrics(
  protocol: ProtocolKind,
  { old, oracle, model }: { readonly old: string; readonly oracle: string | undefined; readonly model: string },
  { tests, galleries }: { readonly tests: MeasuredTests; readonly galleries: readonly number[] },
): Comparison[] {
  return metrics.flatMap((metric) => {
    const of = (query: string, gallery: string): Measured => tests(query, gallery).get(metric.name)!;
    if (!judges(metric, protocol) || !tests(old, old).has(metric.name)) return [];
    const sides = {
      oldOld: of(old, old),
      newOld: of(model, old),
      newNew: of(model, model),
      oracle: oracle === undefined ? null : of(oracle, oracle),
    };
    return [compare(metric.name, sides, metric.verdict!.chance(galleries))];
  });
}

/**
 * Judges a new model by one metric. `chance` is the metric of a model that knows nothing. A collapsed old model is below
 * chance, because its ties are misses, so a new model that beats it must also be above chance.
 */
export function compare(metric: string, { oldOld, newOld, newNew, oracle }: Measurements, chance: number): Comparison {
  const of = (f: (oo: number, no: number, nn: number, or: number) => number): Estimate =>
    estimate(
      f(oldOld.value, newOld.value, newNew.value, oracle?.value ?? Number.NaN),
      replicatesOf(oldOld).map((oo, r) =>
        f(oo, replicatesOf(newOld)[r]!, replicatesOf(newNew)[r]!, oracle ? replicatesOf(oracle)[r]! : Number.NaN),
      ),
    );
  const difference = of((oo, no) => no - oo);
  const oracleGains = oracle !== null && of((oo, _, __, or) => or - oo).low > 0;
  return {
    metric,
    oldOld: oldOld.value,
    newOld: newOld.value,
    newNew: newNew.value,
    oracle: oracle?.value ?? null,
    difference,
    criterion: judgeDifference(difference, { oldOld: oldOld.value, chance }),
    updateGain: oracleGains ? of((oo, no, _, or) => updateGain({ oldOld: oo, newOld: no, oracle: or })) : null,
    tax: oracle && of((_, __, nn, or) => or - nn),
    scores:
      oracle &&
      compatibilityScores([{ oldOld: oldOld.value, newOld: newOld.value, newNew: newNew.value, oracle: oracle.value }]),
  };
}

/** The criterion of backward compatibility for a difference to old → old; `chance`: the metric of a model that knows nothing. */
export function judgeDifference(
  difference: Estimate,
  { oldOld, chance }: { readonly oldOld: number; readonly chance: number },
): 'met' | 'undecided' | 'missed' {
  if (difference.low > 0 && oldOld + difference.low > chance) return 'met';
  return difference.high < 0 ? 'missed' : 'undecided';
}

/** The metrics of a test that verdicts of the protocol use, each with its difference to old → old. */
export function judgedMetrics(
  protocol: ProtocolKind,
  measured: ReadonlyMap<string, Measured>,
  oldOld: ReadonlyMap<string, Measured>,
): JudgedMetric[] {
  return metrics.flatMap((metric) => {
    const [own, old] = [measured.get(metric.name), oldOld.get(metric.name)];
    if (!judges(metric, protocol) || !own || !old) return [];
    return [{ metric: metric.name, value: estimateOf(own), overOld: differenceOf(own, old) }];
  });
}

/** A metric that has replicates, with its interval. */
export const estimateOf = (measured: Measured): Estimate => estimate(measured.value, replicatesOf(measured));

/** What a metric is more than another: paired, both see the same resamples. */
export function differenceOf(one: Measured, other: Measured): Estimate {
  const replicates = replicatesOf(other);
  return estimate(
    one.value - other.value,
    replicatesOf(one).map((value, r) => value - replicates[r]!),
  );
}

function replicatesOf({ replicates }: Measured): Float64Array {
  if (!replicates) throw new Error('a metric without replicates has no part in verdicts');
  return replicates;
}

/** [M(new, old) - M(old, old)] / [M(oracle, oracle) - M(old, old)] */
export const updateGain = ({ oldOld, newOld, oracle }: Omit<Tests<number>, 'newNew'>): number =>
  (newOld - oldOld) / (oracle - oldOld);

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

/** P_up, P_comp and P_1 over test sets (AdvBCT; methods.md 7.1). */
export function compatibilityScores(sets: readonly Tests<number>[]) {
  const up = sets.map(({ newNew, oracle }) => logistic((newNew - oracle) / oracle));
  const comp = sets.map((set) => logistic(updateGain(set)));
  return {
    up: 100 * mean(up),
    comp: 100 * mean(comp),
    one: 100 * mean(up.map((u, d) => (2 * u * comp[d]!) / (u + comp[d]!))),
  };
}
