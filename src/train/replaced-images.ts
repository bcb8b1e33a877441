import { countOf, logLine } from '../base/progress.ts';
import type { BadImage } from '../data/index.ts';

/** Images that a message names. */
const NAMED = 10;

/** Says which images of a training could not be read, if any, and what was trained on in their places. */
export function announceReplaced(out: string, bad: readonly BadImage[]): void {
  if (bad.length === 0) return;
  const named = bad.slice(0, NAMED).map(({ name, problem }) => `\n  ${name} (${problem})`);
  const more = bad.length > NAMED ? '\n  …' : '';
  logLine(
    `${out}: ${countOf(bad.length, 'image')} could not be read; others of their batches took their places:${named.join('')}${more}`,
  );
}
