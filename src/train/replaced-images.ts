import { formatCount, logLine } from '../base/progress.ts';
import type { BadImage } from '../data/index.ts';

/** Images that a message names. */
const NAMED = 10;

/** Reports unreadable images of a training, which other images of their batches have replaced. */
export function reportReplacedImages(out: string, bad: readonly BadImage[]): void {
  if (bad.length === 0) return;
  const named = bad.slice(0, NAMED).map(({ name, problem }) => `\n  ${name} (${problem})`);
  const more = bad.length > NAMED ? '\n  …' : '';
  logLine(
    `${out}: ${formatCount(bad.length, 'unreadable image')}, each replaced by another image of its batch:${named.join('')}${more}`,
  );
}
