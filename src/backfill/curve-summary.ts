import type { BackfillCurve } from './simulation.ts';

/** The share of new → new that `reaches.most` asks for. */
const MOST = 0.95;

/** Draws of one curve [draws][shares], summed up. Differences between shares need not be equal. */
export function summarizeCurve(
  draws: readonly ArrayLike<number>[],
  shares: readonly number[],
  { oldOld, newNew }: { readonly oldOld: number; readonly newNew: number },
): Omit<BackfillCurve, 'order' | 'merge' | 'metric' | 'worst'> & {
  readonly worst: Omit<BackfillCurve['worst'], 'overOld'>;
} {
  const at = (s: number): number[] => draws.map((draw) => draw[s]!);
  // equal draws, as at both ends, must not be moved by the rounding of a mean
  const center = (values: readonly number[]): number =>
    values.every((x) => x === values[0]) ? values[0]! : values.reduce((sum, x) => sum + x, 0) / values.length;
  const value = shares.map((_, s) => center(at(s)));
  const worstAt = value.reduce((least, x, s) => (x < value[least]! ? s : least), 0);
  return {
    value,
    ...(draws.length > 1 && {
      low: shares.map((_, s) => Math.min(...at(s))),
      high: shares.map((_, s) => Math.max(...at(s))),
    }),
    area: trapezoidArea(shares, value),
    worst: { share: shares[worstAt]!, value: value[worstAt]! },
    belowOld: value[worstAt]! < oldOld,
    reaches: { most: firstReaching(shares, value, MOST * newNew), all: firstReaching(shares, value, newNew) },
  };
}

export function trapezoidArea(x: readonly number[], y: readonly number[]): number {
  let area = 0;
  for (let i = 1; i < x.length; i++) area += ((x[i]! - x[i - 1]!) * (y[i]! + y[i - 1]!)) / 2;
  return area;
}

/** Where a curve of straight lines first reaches `target`; null if nowhere. */
function firstReaching(x: readonly number[], y: readonly number[], target: number): number | null {
  const i = y.findIndex((value) => value >= target);
  if (i < 0) return null;
  if (i === 0) return x[0]!;
  const [from, to] = [y[i - 1]!, y[i]!];
  return x[i - 1]! + ((target - from) / (to - from)) * (x[i]! - x[i - 1]!);
}
