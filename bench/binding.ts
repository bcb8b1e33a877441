import { resolve } from 'node:path';
import { UserError } from '../src/base/errors.ts';
import { type Bench, measured, median, tell } from './bench.ts';
import { alternate, Contender, requireSameWork, speedup } from './contender.ts';
import { findJemalloc, findPython } from './python.ts';
import { callBound, describe, fullSize, oursCommand, peerCommand, type Workload } from './workload.ts';

/** Time from TypeScript over time from Python, of the network that the bars are for. */
const BAR = 1.03;

/** The addon, from which the peer takes the operators that are ours. */
const addon = resolve(import.meta.dirname, '../../build/torch.node');

/**
 * jemalloc that keeps freed pages, on both sides, our own allocator off. glibc's malloc is the same library on both sides but not
 * the same allocator: with equal settings its heap served Python 1.2 times faster than Node.
 */
function sameAllocator(): Record<string, string> {
  const jemalloc = findJemalloc();
  if (jemalloc === null)
    throw new UserError('this benchmark runs both sides on jemalloc, which is not installed', {
      hint: 'Debian: libjemalloc2; or set MIXBCT_JEMALLOC to libjemalloc.so.2',
    });
  return { LD_PRELOAD: jemalloc, MALLOC_CONF: 'dirty_decay_ms:-1,muzzy_decay_ms:-1' };
}

type Row = { readonly workload: Workload; readonly steps: number; readonly bar: number | null };

/** The second has no bar: it shows what a call costs where there is next to nothing to compute. */
const rows: Readonly<Record<string, Row>> = {
  fullSize: { workload: fullSize, steps: 1, bar: BAR },
  callBound: { workload: callBound, steps: 50, bar: null },
};

/** What it costs to call libtorch from TypeScript: the same operators in the same order, layout and allocator from Python. */
export const binding: Bench = {
  summary: 'the same operators, layout and allocator from TypeScript and from Python',
  async run({ runs }) {
    const python = findPython();
    const allocator = sameAllocator();
    const results = await inTurn(Object.entries(rows), async ([row, { workload, steps, bar }]) => {
      tell(describe(workload));
      await using ours = await Contender.start(oursCommand(workload, { ...allocator, MIXBCT_ALLOCATOR: 'system' }));
      const environment = { ...allocator, MIXBCT_ADDON: addon };
      await using peer = await Contender.start(
        peerCommand(python, 'PyTorch, same operators', 'same-ops', workload, environment),
      );
      requireSameWork(ours, peer);
      const pairs = await alternate(ours, peer, { runs, steps });
      const ratio = 1 / speedup(pairs);
      tell(
        `  ${ratio.toFixed(3)}× the time of Python${bar === null ? '' : `; bar ${bar}: ${ratio <= bar ? 'met' : 'MISSED'}`}`,
      );
      const secondsPerStep = { ours: median(pairs.ours), peer: median(pairs.peer) };
      return [row, { ratio, bar, workload, secondsPerStep }] as const;
    });
    const byRow = Object.fromEntries(results);
    return { ...measured(byRow['fullSize']!.ratio, BAR, 'lower'), runs, rows: byRow };
  },
};

async function inTurn<T, U>(items: readonly T[], body: (item: T) => Promise<U>): Promise<U[]> {
  const results: U[] = [];
  for (const item of items) results.push(await body(item));
  return results;
}
