import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes lines of a training's log for steps, into a folder that looks like that of a run. */
export function writeLog(run: string, steps: readonly number[], { append = false, totalSteps = 100 } = {}): void {
  mkdirSync(run, { recursive: true });
  const lines = steps.map((step) => ({
    ...{ step, epoch: Math.floor(step / 10), loss: 3 / step, terms: { classify: 2 / step, compare: 1 / step } },
    ...{ gradNorm: step % 7 === 0 ? null : 1 / step, lr: 0.1, samplesPerSecond: 100 + step, dataWaitShare: 0.1 },
    ...{ counts: {}, totalSteps, time: new Date(1.7e12 + 1000 * step).toISOString() },
  }));
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  const path = join(run, 'log.jsonl');
  if (append) appendFileSync(path, text);
  else writeFileSync(path, text);
}
