import { formatDuration } from '../base/progress.ts';

/** A difference of shares without a sign, in percentage points: `1.50 points`. */
export const points = (x: number): string => `${(100 * x).toFixed(2)} points`;

/** A duration in hours. */
export const hoursText = (hours: number): string => formatDuration(3_600_000 * hours);

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** `512 MB`, `1.02 GB`: powers of 1000, three digits. */
export function bytesText(bytes: number): string {
  const power = Math.min(UNITS.length - 1, bytes < 1 ? 0 : Math.floor(Math.log10(bytes) / 3 + 1e-9));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${UNITS[power]}`;
}

/** A cosine. */
export const cosineText = (x: number): string => x.toFixed(3);
