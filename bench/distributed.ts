import { type Bench, measured, median, tell } from './bench.ts';
import { alternate, Contender, speedup } from './contender.ts';
import { describe, distributedCommand, fullSize, oursCommand } from './workload.ts';

/** Throughput of two processes of one thread each, over that of one process of two threads. */
const BAR = 0.9;

/** What it costs to be two: gradients are sent, the batch is halved, each operator has one thread. */
export const distributed: Bench = {
  summary: 'two processes of one thread against one process of two, gradients sent during backward or after it',
  async run({ runs }) {
    tell(`${describe(fullSize)}, against two processes of one thread`);
    await using one = await Contender.start({ ...oursCommand(fullSize), name: '1 process, 2 threads' });
    const against = async (overlap: boolean) => {
      await using two = await Contender.start(distributedCommand({ ...fullSize, threads: 1 }, overlap));
      const pairs = await alternate(two, one, { runs, steps: 1 });
      const ratio = speedup(pairs);
      tell(`  ${two.name}: ${ratio.toFixed(3)}× the throughput of one process`);
      return { ratio, secondsPerStep: { two: median(pairs.ours), one: median(pairs.peer) } };
    };
    const [overlap, after] = [await against(true), await against(false)];
    return { ...measured(overlap.ratio, BAR, 'higher'), workload: fullSize, runs, overlap, after };
  },
};
