import { judgeDifference } from '../eval/compatibility.ts';
import { differenceOf, type Estimate, estimateOf, type Measured } from '../eval/index.ts';
import type { Chain } from './chain-artifact.ts';
import {
  averageCompatibility,
  averageMultiModelAccuracy,
  type Matrix,
  olderGalleries,
} from './compatibility-matrix.ts';

/** What a matrix says of the generations `names`: from the oldest to the newest. `chance`: the metric of a model that knows nothing. */
export function judgeMatrix(
  names: readonly string[],
  matrix: Matrix<Measured>,
  chance: number,
): Pick<Chain, 'matrix' | 'averageCompatibility' | 'averageAccuracy' | 'pairs' | 'worst'> {
  const pairs = olderGalleries(names.length).map(([i, j]): Chain['pairs'][number] => {
    const [measured, own] = [matrix[i]![j]!, matrix[j]![j]!];
    const named = { query: names[i]!, gallery: names[j]! };
    if (!measured) return { ...named, overOld: null, criterion: 'not comparable' };
    const overOld = differenceOf(measured, own);
    return { ...named, overOld, criterion: judgeDifference(overOld, { oldOld: own.value, chance }) };
  });
  const worst = pairs.reduce((a, b) => (order(b.overOld) < order(a.overOld) ? b : a));
  const values = matrix.map((row) => row.map((one) => one?.value ?? null));
  return {
    matrix: matrix.map((row) => row.map((one) => one && estimateOf(one))),
    averageCompatibility: {
      value: averageCompatibility(values),
      pairs: pairs.length,
      met: pairs.filter(({ criterion }) => criterion === 'met').length,
    },
    averageAccuracy: estimateOf(meanOverGalleries(matrix)),
    pairs,
    worst: { query: worst.query, gallery: worst.gallery },
  };
}

const order = (overOld: Estimate | null): number => overOld?.value ?? Number.NEGATIVE_INFINITY;

/** Average multi-model accuracy, and in each resample. */
function meanOverGalleries(matrix: Matrix<Measured>): Measured {
  const of = (value: (one: Measured) => number): number =>
    averageMultiModelAccuracy(matrix.map((row) => row.map((one) => one && value(one))));
  const resamples = matrix[0]![0]!.replicates!.length;
  return {
    value: of(({ value }) => value),
    replicates: Float64Array.from({ length: resamples }, (_, r) => of(({ replicates }) => replicates![r]!)),
  };
}
