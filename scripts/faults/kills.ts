// Kills a command at random moments, again and again, and lets it end: its files must be those of an undisturbed command.
import type { Rng } from '../../src/base/rng.ts';
import { writers } from '../../test/helpers/writers.ts';
import { again, attempt, differences, isFinished, removeOutput, start, wrongEnd } from './attempts.ts';

const OUT = 'out-killed';
/** A difference in a lock or a temporary file, which a process that was killed when all was done leaves to the next one. */
const IS_HIDDEN = /\/\.[^ ]* differs$/;

/** @returns what was lost; `tookMs`: how long an undisturbed attempt takes */
export async function killed(name: string, folder: string, kills: number, rng: Rng, tookMs: number): Promise<string[]> {
  const lost: string[] = [];
  for (let kill = 0; kill < kills && lost.length === 0; ) {
    const running = start(folder, again(name, folder, OUT));
    const timer = setTimeout(running.kill, tookMs * rng.uniform());
    const ended = await running.ended;
    clearTimeout(timer);
    running.kill(); // of several processes some may be left
    if (ended.code === null || ended.code > 128) kill++;
    else lost.push(...wrongEnd(ended, [0]));
    if (ended.code !== 0 && !isFinished(folder, OUT, writers[name]!)) continue;
    // it may be killed when all is done
    if (ended.code === 0) lost.push(...differences(folder, OUT));
    else lost.push(...differences(folder, OUT).filter((line) => !line.endsWith(' is left') && !IS_HIDDEN.test(line)));
    if (lost.length === 0) removeOutput(folder, OUT);
  }
  if (lost.length === 0) {
    lost.push(...wrongEnd(await attempt(folder, again(name, folder, OUT)), [0]), ...differences(folder, OUT));
    removeOutput(folder, OUT);
  }
  return lost;
}
