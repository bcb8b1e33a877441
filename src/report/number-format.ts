import type { Estimate } from '../eval/index.ts';

/** A whole number with its thousands separated. */
export const groupDigits = (x: number): string => x.toLocaleString('en-US');
/** A share as percent with two digits. */
export const percent = (x: number): string => (Number.isFinite(x) ? (100 * x).toFixed(2) : '–');
/** Replaces the hyphen by a minus sign, which is as wide as a plus. */
const withMinusSign = (number: string): string => number.replace(/^-/, '−');
/** A rare share as percent with three significant digits, such as a FAR. */
export const rateText = (x: number): string => (Number.isFinite(x) ? (x === 0 ? '0' : (100 * x).toPrecision(3)) : '–');
/** A score or a threshold: a cosine. */
export const scoreText = (x: number | null): string =>
  x !== null && Number.isFinite(x) ? withMinusSign(x.toFixed(4)) : '–';
/** A number and its interval if it has one; by default shares as percent. */
export const percentWithInterval = ({ value, low, high }: Estimate, text = percent): string =>
  Number.isFinite(low ?? Number.NaN) || Number.isFinite(high ?? Number.NaN)
    ? `${text(value)} [${text(low)}, ${text(high)}]`
    : text(value);
/** A difference of shares, in percentage points, with its sign. */
export const percentagePoints = (x: number): string =>
  Number.isFinite(x) ? withMinusSign(`${x >= 0 ? '+' : ''}${(100 * x).toFixed(2)}`) : '–';
/** A difference of shares and its interval, in percentage points. */
export const pointsWithInterval = ({ value, low, high }: Estimate): string =>
  `${percentagePoints(value)} [${percentagePoints(low)}, ${percentagePoints(high)}]`;
/** An update gain, in whole percent. */
export const gainText = (gain: Estimate | null): string =>
  gain ? `${withMinusSign((100 * gain.value).toFixed(0))} %` : '–';
