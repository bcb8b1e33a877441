// Two processes that write one output at once: one makes it whole, the other makes the same or is refused.
import type { Rng } from '../../src/base/rng.ts';
import { writers } from '../../test/helpers/writers.ts';
import { differences, removeOutput, start, wrongEnd } from './attempts.ts';

const OUT = 'out-pair';
/** Most milliseconds between the starts of both. */
const APART_MS = 150;

/** @returns what was lost */
export async function paired(name: string, folder: string, pairs: number, rng: Rng): Promise<string[]> {
  const lost: string[] = [];
  for (let pair = 0; pair < pairs && lost.length === 0; pair++) {
    const words = writers[name]!.make(OUT);
    const first = start(folder, words);
    await new Promise((done) => setTimeout(done, APART_MS * rng.uniform()));
    const both = await Promise.all([first.ended, start(folder, words).ended]);
    for (const ended of both) lost.push(...wrongEnd(ended, [0, 2]));
    if (!both.some(({ code }) => code === 0)) lost.push(`both were refused: ${both[0]!.err.slice(-300)}`);
    for (const { code, err } of both)
      if (code === 2 && !/is writing it since|exists already|stands there/.test(err)) lost.push(err.slice(-300));
    lost.push(...differences(folder, OUT));
    if (lost.length === 0) removeOutput(folder, OUT);
  }
  return lost;
}
