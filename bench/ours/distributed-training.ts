// Our side of the distributed benchmark: two processes that train together. The first starts the second, and tells it how
// many steps to take.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import {
  buildInfo,
  dieWithParent,
  joinProcessGroup,
  scope,
  tensor,
  threads,
  toNumbers,
} from '../../src/torch/index.ts';
import { readWorkload } from '../workload.ts';
import { startTraining } from './training.ts';

const PROCESSES = 2;
const [workload, overlap, portOfFirst] = process.argv.slice(2) as [string, string, string | undefined];
const rank = portOfFirst === undefined ? 0 : 1;
dieWithParent();
const port = portOfFirst === undefined ? await startSecond() : Number(portOfFirst);
const distributed = joinProcessGroup({ rank, processes: PROCESSES, localRank: rank, address: '127.0.0.1', port });
const training = startTraining(
  readWorkload(workload),
  {},
  { group: distributed.group, overlap: overlap === 'overlap' },
);
const losses = Array.from({ length: readWorkload(workload).warmup }, () => training.step());

if (rank === 0) {
  const say = (answer: unknown): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);
  say({ torch: buildInfo().libtorch, threads: threads(), losses });
  for await (const line of createInterface({ input: process.stdin })) say({ seconds: run(Number(line.split(' ')[1])) });
  run(0);
} else while (run(0) > 0);
distributed.leave();

/** Takes as many steps as the first process says. @returns their seconds; 0 if there are none to take any more */
function run(asked: number): number {
  const steps = scope(() => {
    const told = tensor([asked], { dtype: 'int64' });
    distributed.group.broadcast(told).wait();
    return toNumbers(told)[0]!;
  });
  const startMs = performance.now();
  for (let i = 0; i < steps; i++) training.step();
  return steps === 0 ? 0 : (performance.now() - startMs) / 1000;
}

function startSecond(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = server.address() as { port: number };
      server.close(() => {
        const args = [...process.argv.slice(1, 4), String(free)];
        spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
        done(free);
      });
    });
  });
}
