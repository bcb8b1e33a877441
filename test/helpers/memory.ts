// Run as a process of its own by runtime.test.ts: 200 training steps, and what they left in memory, as JSON.
import { setImmediate } from 'node:timers/promises';
import { Rng } from '../../src/base/rng.ts';
import { allocatorStats, liveTensors, setThreads, trimMemory } from '../../src/torch/index.ts';
import { noOldModelInputs } from '../../src/train/old-model-inputs.ts';
import { openSession } from '../../src/train/session.ts';
import { trainStep } from '../../src/train/train-step.ts';
import { tinyRecipe } from './recipes.ts';

setThreads(1);
const [batch, side, classes] = [16, 16, 10];
const session = openSession(tinyRecipe(), classes, new Rng(1));
const [rss, live]: [number[], number[]] = [[], []];
const rng = new Rng('batch');
const images = Uint8Array.from({ length: batch * side * side * 3 }, () => rng.integer(256));
const labels = Int32Array.from({ length: batch }, () => rng.integer(classes));
for (let step = 0; step < 200; step++) {
  trainStep(session, { images, labels, indices: labels }, noOldModelInputs, {
    progress: 0,
    epoch: 0,
    epochs: 1,
    rng,
    count: () => undefined,
    lr: 1e-3,
    clipNorm: 5,
    side,
  });
  await setImmediate(); // as the trainer awaits its next batch: Node frees what handles leave behind between events
  rss.push(process.memoryUsage.rss());
  live.push(liveTensors());
}
const allocator = allocatorStats();
trimMemory();
process.stdout.write(JSON.stringify({ rss, live, allocator: { ...allocator, afterTrim: allocatorStats().idleBytes } }));
