import { type Estimate, estimate } from './bootstrap.ts';

/** One metric of one test: its value, and in each resample. */
export type Measured = { readonly value: number; readonly replicates: Float64Array };

/** How a metric judges one new model. Differences are paired: both sides see the same resamples. */
export type Comparison = {
  readonly metric: string;
  readonly oldOld: number;
  readonly newOld: number;
  readonly newNew: number;
  readonly oracle: number | null;
  /** M(new, old) - M(old, old): positive is the criterion of backward compatibility (methods.md 7.1). */
  readonly difference: Estimate;
  /**
   * `met`: the interval of the difference lies above 0, and puts M(new, old) above chance. `missed`: it lies below 0.
   * `withheld`: nothing can be concluded from it.
   */
  readonly criterion: 'met' | 'undecided' | 'missed' | 'withheld';
  /** Share of what the oracle gains over the old model that comes without re-embedding the gallery; null without an oracle. */
  readonly updateGain: Estimate | null;
  /** What compatibility costs: M(oracle, oracle) - M(new, new). */
  readonly tax: Estimate | null;
  /** The scores of AdvBCT (7.1), 0 … 100, 50 means parity. */
  readonly scores: { readonly up: number; readonly comp: number; readonly one: number } | null;
};

type Tests = {
  readonly oldOld: Measured;
  readonly newOld: Measured;
  readonly newNew: Measured;
  readonly oracle: Measured | null;
};

/**
 * What a headline metric is for a model that knows nothing, 0 … 1; `galleries` holds their numbers of entries. A collapsed old
 * model falls below it, because its ties are misses: beating that is no sign of compatibility.
 */
export function chanceLevel(metric: string, galleries: readonly number[]): number {
  const [name, level] = metric.split('=');
  const search = galleries.reduce((sum, entries) => sum + 1 / entries, 0) / galleries.length;
  switch (name) {
    case 'TAR@FAR':
      return Number(level);
    case 'rank-1':
      return search;
    case 'TPIR@FPIR':
      return Number(level) * search;
    default:
      throw new Error(`the chance level of ${metric} is not known`);
  }
}

/** Judges a new model by one metric, of which `chance` is the value without any knowledge. */
export function compare(metric: string, { oldOld, newOld, newNew, oracle }: Tests, chance: number): Comparison {
  const of = (f: (oo: number, no: number, nn: number, or: number) => number): Estimate =>
    estimate(
      f(oldOld.value, newOld.value, newNew.value, oracle?.value ?? Number.NaN),
      oldOld.replicates.map((oo, r) =>
        f(oo, newOld.replicates[r]!, newNew.replicates[r]!, oracle?.replicates[r] ?? Number.NaN),
      ),
    );
  const difference = of((oo, no) => no - oo);
  const met = difference.low > 0 && oldOld.value + difference.low > chance;
  return {
    metric,
    oldOld: oldOld.value,
    newOld: newOld.value,
    newNew: newNew.value,
    oracle: oracle?.value ?? null,
    difference,
    criterion: met ? 'met' : difference.high < 0 ? 'missed' : 'undecided',
    updateGain: oracle && of((oo, no, _, or) => updateGain({ oldOld: oo, newOld: no, oracle: or })),
    tax: oracle && of((_, __, nn, or) => or - nn),
    scores:
      oracle &&
      compatibilityScores([{ oldOld: oldOld.value, newOld: newOld.value, newNew: newNew.value, oracle: oracle.value }]),
  };
}

/** [M(new, old) - M(old, old)] / [M(oracle, oracle) - M(old, old)] */
export const updateGain = ({
  oldOld,
  newOld,
  oracle,
}: {
  readonly oldOld: number;
  readonly newOld: number;
  readonly oracle: number;
}): number => (newOld - oldOld) / (oracle - oldOld);

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));
const mean = (xs: readonly number[]): number => xs.reduce((sum, x) => sum + x, 0) / xs.length;

/** P_up, P_comp and P_1 over test sets (AdvBCT; methods.md 7.1). */
export function compatibilityScores(
  sets: readonly {
    readonly oldOld: number;
    readonly newOld: number;
    readonly newNew: number;
    readonly oracle: number;
  }[],
) {
  const up = sets.map(({ newNew, oracle }) => logistic((newNew - oracle) / oracle));
  const comp = sets.map((set) => logistic(updateGain(set)));
  return {
    up: 100 * mean(up),
    comp: 100 * mean(comp),
    one: 100 * mean(up.map((u, d) => (2 * u * comp[d]!) / (u + comp[d]!))),
  };
}
