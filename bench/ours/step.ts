// Our side of the step and binding benchmarks: warms up, then answers `run N` and `copy N` on standard input.
import { createInterface } from 'node:readline';
import { buildInfo, threads } from '../../src/torch/index.ts';
import { readWorkload } from '../workload.ts';
import { startTraining } from './training.ts';

const say = (answer: unknown): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);

const workload = readWorkload(process.argv[2]);
const training = startTraining(workload);
const losses = Array.from({ length: workload.warmup }, () => training.step());
say({ torch: buildInfo().libtorch, threads: threads(), losses });
const work = { run: training.step, copy: training.copy };
for await (const line of createInterface({ input: process.stdin })) {
  const [what, steps] = line.split(' ') as [keyof typeof work, string];
  const startMs = performance.now();
  for (let i = 0; i < Number(steps); i++) work[what]();
  say({ seconds: (performance.now() - startMs) / 1000 });
}
