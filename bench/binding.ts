import { type Bench, measured, median, tell, worst } from './bench.ts';
import { alternate, Contender, requireSameWork, speedup } from './contender.ts';
import { findPython } from './python.ts';
import { callBound, describe, fullSize, oursCommand, peerCommand, type Workload } from './workload.ts';

/** Time from TypeScript over time from Python. */
const BAR = 1.03;

/** glibc's malloc on both sides, as native/torch/binding.cc sets it for ours. */
const sameMalloc = {
  MALLOC_MMAP_THRESHOLD_: String(2 ** 30),
  MALLOC_TRIM_THRESHOLD_: String(2 ** 30),
  MALLOC_TOP_PAD_: String(64 * 2 ** 20),
};

const rows: Readonly<Record<string, { readonly workload: Workload; readonly steps: number }>> = {
  fullSize: { workload: fullSize, steps: 1 },
  callBound: { workload: callBound, steps: 50 },
};

/** What it costs to call libtorch from TypeScript: the same operators in the same order, layout and allocator from Python. */
export const binding: Bench = {
  summary: 'the same operators, layout and allocator from TypeScript and from Python',
  async run({ runs }) {
    const python = findPython();
    const results = await inTurn(Object.entries(rows), async ([row, { workload, steps }]) => {
      tell(describe(workload));
      await using ours = await Contender.start(oursCommand(workload, { ...sameMalloc, MIXBCT_ALLOCATOR: 'system' }));
      await using peer = await Contender.start(
        peerCommand(python, 'PyTorch, same operators', 'same-ops', workload, sameMalloc),
      );
      requireSameWork(ours, peer);
      const pairs = await alternate(ours, peer, { runs, steps });
      const result = measured(1 / speedup(pairs), BAR, 'lower');
      tell(`  ${result.ratio.toFixed(3)}× the time of Python; bar ${BAR}: ${result.ok ? 'met' : 'MISSED'}`);
      return [
        row,
        { ...result, workload, secondsPerStep: { ours: median(pairs.ours), peer: median(pairs.peer) } },
      ] as const;
    });
    return { ...worst(results.map(([, result]) => result)), runs, rows: Object.fromEntries(results) };
  },
};

async function inTurn<T, U>(items: readonly T[], body: (item: T) => Promise<U>): Promise<U[]> {
  const results: U[] = [];
  for (const item of items) results.push(await body(item));
  return results;
}
