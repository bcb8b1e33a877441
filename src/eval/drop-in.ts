import { differenceOf } from './compatibility.ts';
import { MIN_FALSE_ACCEPTS } from './defaults.ts';
import type { DropInTest } from './evaluation.ts';
import type { MeasuredOperatingPoint } from './operating-point.ts';

type Sides = { readonly oldOld: MeasuredOperatingPoint; readonly newOld: MeasuredOperatingPoint };

/**
 * Judges whether queries of a new model can be compared with the old gallery at the threshold that the old system runs at.
 *
 * `drop-in`: at the old threshold the interval of the difference in TAR lies above 0, and that of the difference in FAR does not, and excludes
 * a FAR of twice that of old → old. `new threshold`: the same FAR at another threshold has a TAR above that of old → old, with its interval. `no`: neither.
 */
export function dropInTest({ oldOld, newOld }: Sides, far: number): DropInTest {
  const tarDifference = differenceOf(newOld.tar, oldOld.tar);
  const farDifference = differenceOf(newOld.far, oldOld.far);
  const ownThresholdDifference = differenceOf(newOld.tarKeepingFar, oldOld.tarKeepingFar);
  const { tar, far: farThere } = newOld.result.atOldThreshold;
  const dropsIn =
    tarDifference.low > 0 &&
    farDifference.low <= 0 &&
    farDifference.high < oldOld.far.value &&
    oldOld.falseAccepts >= MIN_FALSE_ACCEPTS &&
    tar.low > farThere.high; // a model that accepts genuine and impostor pairs alike is at chance
  const beats = ownThresholdDifference.low > 0 && oldOld.tarKeepingFar.value + ownThresholdDifference.low > far;
  return {
    grade: dropsIn ? 'drop-in' : beats ? 'new threshold' : 'no',
    tarDifference,
    farDifference,
    falseAccepts: oldOld.falseAccepts,
    ownThresholdDifference,
  };
}
