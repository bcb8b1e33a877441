import { allocatorStats } from '../src/torch/index.ts';
import { type Bench, measured, median, tell } from './bench.ts';
import { startTraining } from './ours/training.ts';
import { describe, fullSize, type Workload } from './workload.ts';

/** One more forward pass in a step of three: a third more time, and no more than a tenth on top. */
const BAR = 1.45;
const workload: Workload = { ...fullSize, batch: 8 };

/** What activation checkpointing costs in time and saves in memory. */
export const checkpointing: Bench = {
  summary: 'a checkpointed training step of iresnet50 against a plain one: time and peak memory',
  async run({ runs }) {
    tell(describe(workload).replace('iresnet18', 'iresnet50'));
    // the smaller peak first: the allocator's only ever rises
    const sides = [1, 0].map((checkpointEvery) => {
      const { step } = startTraining(workload, { network: { name: 'r50', checkpointEvery } });
      return { step, peakBytes: peakOf(step), seconds: [] as number[] };
    }) as [Side, Side];
    for (let run = 0; run < runs; run++)
      for (const { step, seconds } of sides) {
        const start = performance.now();
        step();
        seconds.push((performance.now() - start) / 1000);
      }
    const [saving, plain] = sides;
    const ratio = median(saving.seconds.map((s, i) => s / plain.seconds[i]!));
    const [plainMb, savingMb] = [plain, saving].map(({ peakBytes }) => peakBytes / 2 ** 20) as [number, number];
    tell(`  ${ratio.toFixed(2)}× the time; bar ${BAR}`);
    tell(`  ${savingMb.toFixed(0)} MB beyond weights and optimiser at the peak, instead of ${plainMb.toFixed(0)}`);
    return { ...measured(ratio, BAR, 'lower'), workload, runs, plainMb, savingMb };
  },
};

type Side = { readonly step: () => number; readonly peakBytes: number; readonly seconds: number[] };

/** The most that a step holds at once beyond what stands before it. The first step makes what stays. */
function peakOf(step: () => number): number {
  step();
  const before = allocatorStats().inUseBytes;
  step();
  return allocatorStats().peakBytes - before;
}
