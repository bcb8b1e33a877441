import { setImmediate as tick } from 'node:timers/promises';
import { allocatorStats, liveTensors } from '../src/torch/index.ts';
import { type Bench, measured, tell } from './bench.ts';
import { startTraining } from './ours/training.ts';
import { describe, fullSize } from './workload.ts';

/** Resident memory after step 50 over that after step 10. */
const BAR = 1.02;
/** A quarter of the batch of the bars: the same network in a quarter of the time. */
const workload = { ...fullSize, batch: 8 };
const STEPS = 200;

type Sample = { readonly step: number; readonly rssMb: number; readonly tensors: number; readonly idleMb: number };

/** Whether training holds its memory: handles from step 2 on, resident memory from step 10 on. */
export const memory: Bench = {
  summary: `${STEPS} training steps: live tensors and resident memory stay flat`,
  async run() {
    tell(describe(workload));
    const { step } = startTraining(workload);
    const samples = new Map<number, Sample>();
    const handles: number[] = [];
    for (let done = 1; done <= STEPS; done++) {
      step();
      await tick(); // as the trainer does between batches: V8 frees what belongs to dead handles in the event loop only
      handles.push(liveTensors());
      if (done !== 2 && done % 10 !== 0) continue;
      const rssMb = process.memoryUsage().rss / 2 ** 20;
      samples.set(done, { step: done, rssMb, tensors: handles.at(-1)!, idleMb: allocatorStats().idleBytes / 2 ** 20 });
      tell(`  step ${String(done).padStart(3)}  ${rssMb.toFixed(0)} MB resident, ${handles.at(-1)} tensors`);
    }
    const rssAt = (done: number): number => samples.get(done)!.rssMb;
    const result = measured(rssAt(50) / rssAt(10), BAR, 'lower');
    const atEnd = measured(rssAt(STEPS) / rssAt(10), BAR, 'lower');
    const leaked = Math.max(...handles.slice(1)) - handles[1]!;
    tell(
      `  step 50 / step 10: ${result.ratio.toFixed(4)}; step ${STEPS} / step 10: ${atEnd.ratio.toFixed(4)}; bar ${BAR}; tensors leaked: ${leaked}`,
    );
    return {
      ...result,
      ok: result.ok && atEnd.ok && leaked === 0,
      workload,
      steps: STEPS,
      atEnd: atEnd.ratio,
      leaked,
      samples: [...samples.values()],
    };
  },
};
