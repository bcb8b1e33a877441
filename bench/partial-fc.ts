import { spawnSync } from 'node:child_process';
import { type Bench, measured, median, tell } from './bench.ts';
import { Contender } from './contender.ts';
import { callBound, oursCommand, type Workload } from './workload.ts';

/** Classes of each measurement, and what fewer ones are for: to try it. */
const [CLASSES, FEW] = [[1_000_000, 10_000_000] as const, [20_000, 200_000] as const];
/** A network of next to nothing, 512 dimensions, a tenth of the classes in a step: what is left is the head's. */
const workload: Workload = { ...callBound, batch: 128, dim: 512, sampleRate: 0.1, threads: 4, warmup: 2 };
const STEPS = 5;

/** A step of a head that samples its classes, at one and at ten million of them, and the memory of the device. */
export const partialFc: Bench = {
  summary:
    'a step with 1 and 10 million classes of 512 dimensions, of which a tenth is sampled, and its memory on a device',
  async run({ runs, small, device }) {
    const rows = [];
    for (const classes of small ? FEW : CLASSES) {
      const startMs = performance.now();
      await using ours = await Contender.start(oursCommand({ ...workload, classes, device }));
      const startSeconds = (performance.now() - startMs) / 1000;
      const times: number[] = [];
      for (let run = 0; run < runs; run++) times.push((await ours.run(STEPS)) / STEPS);
      const row = { classes, secondsPerStep: median(times), startSeconds, deviceMb: deviceMemory(device) };
      rows.push(row);
      tell(JSON.stringify({ row }));
    }
    const [few, many] = rows.map(({ secondsPerStep }) => secondsPerStep) as [number, number];
    return { ...measured(many / few, 10, 'lower'), workload: { ...workload, device }, runs, rows };
  },
};

/** Megabytes that are taken on the device, by anybody; null on the CPU. */
function deviceMemory(device: string): number | null {
  if (device === 'cpu') return null;
  const { stdout } = spawnSync('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits'], {
    encoding: 'utf8',
  });
  return Number(stdout.split('\n')[0]);
}
