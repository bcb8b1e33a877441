import type { Estimate } from '../eval/index.ts';

/** A whole number with its thousands separated. */
export const groupDigits = (x: number): string => x.toLocaleString('en-US');
/** A share as percent with two digits. */
export const percent = (x: number): string => (Number.isFinite(x) ? (100 * x).toFixed(2) : '–');
/** Replaces the hyphen by a minus sign, which is as wide as a plus. */
export const withMinusSign = (number: string): string => number.replace(/^-/, '−');
/** A difference of shares, in percentage points, with its sign. */
export const percentagePoints = (x: number): string =>
  Number.isFinite(x) ? withMinusSign(`${x >= 0 ? '+' : ''}${(100 * x).toFixed(2)}`) : '–';
export const interval = (show: (x: number) => string, { low, high }: Estimate): string =>
  `[${show(low)}, ${show(high)}]`;
