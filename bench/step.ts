import { type Bench, type BenchOptions, type Measured, measured, median, tell, worst } from './bench.ts';
import { alternate, Contender, ContenderFailed, requireSameWork, speedup } from './contender.ts';
import { compareOnDevice } from './device.ts';
import { findJemalloc, findPython } from './python.ts';
import { callBound, describe, deviceSize, fullSize, oursCommand, type PeerMode, peerCommand } from './workload.ts';

type Peer = {
  readonly mode: PeerMode;
  readonly name: string;
  /** How many times faster we are to be. */
  readonly bar: number;
  /** Its environment, or why it cannot run here. */
  readonly env: Readonly<Record<string, string>> | string;
};

function peers(): readonly Peer[] {
  const jemalloc = findJemalloc();
  return [
    { mode: 'stock', name: 'PyTorch eager', bar: 1.6, env: {} },
    {
      mode: 'tuned',
      name: 'PyTorch tuned (channels-last, fused SGD, jemalloc)',
      bar: 1.0,
      env: jemalloc
        ? { LD_PRELOAD: jemalloc, MALLOC_CONF: 'dirty_decay_ms:-1,muzzy_decay_ms:-1' } // freed pages are kept
        : 'jemalloc is not installed (Debian: libjemalloc2; or set MIXBCT_JEMALLOC to libjemalloc.so.2)',
    },
    { mode: 'compiled', name: 'torch.compile (channels-last)', bar: 1.1, env: {} },
  ];
}

/** The whole training step against three ways to write it in PyTorch, on one fixed batch. */
export const step: Bench = {
  summary: 'a training step of iresnet18 at 112×112 against PyTorch: eager, tuned, compiled',
  async run({ runs, small, device }) {
    const python = findPython();
    if (device !== 'cpu' || small) return stepOnDevice(python, { runs, device, small });
    tell(describe(fullSize));
    await using ours = await Contender.start(oursCommand(fullSize));
    const results: Record<string, Measured & { readonly name: string; readonly secondsPerStep: object }> = {};
    const skipped: Record<string, string> = {};
    for (const { mode, name, bar, env } of peers()) {
      try {
        if (typeof env === 'string') throw new ContenderFailed(env);
        tell(name);
        await using peer = await Contender.start(peerCommand(python, name, mode, fullSize, env));
        requireSameWork(ours, peer);
        const pairs = await alternate(ours, peer, { runs, steps: 1 });
        const secondsPerStep = { ours: median(pairs.ours), peer: median(pairs.peer) };
        results[mode] = { name, ...measured(speedup(pairs), bar, 'higher'), secondsPerStep };
        tell(
          `  ${results[mode].ratio.toFixed(2)}× faster than ${name}; bar ${bar}: ${results[mode].ok ? 'met' : 'MISSED'}`,
        );
      } catch (error) {
        if (mode === 'stock' || !(error instanceof ContenderFailed)) throw error;
        skipped[mode] = error.message;
        tell(`SKIPPED ${name}: ${error.message}`);
      }
    }
    return {
      ...worst(Object.values(results)),
      workload: fullSize,
      runs,
      torch: ours.ready.torch,
      peers: results,
      skipped,
    };
  },
};

/** Peers on a graphics processor: what its user would take, then what takes long to start. */
const devicePeers = [
  { mode: 'tuned', name: 'PyTorch eager (channels-last, fused SGD)' },
  { mode: 'compiled', name: 'torch.compile (channels-last)' },
] as const;
const DEVICE_STEPS = 10;

/** Small on any device: a network of next to nothing, against eager PyTorch alone. */
async function stepOnDevice(python: string, { runs, device, small }: BenchOptions) {
  const workload = { ...(small ? { ...callBound, threads: 2 } : deviceSize), device };
  tell(`${describe(workload)}, on ${device}`);
  const copies: { readonly precision: string; readonly secondsPerCopy: number; readonly shareOfStep: number }[] = [];
  const compared = await compareOnDevice(small ? devicePeers.slice(0, 1) : devicePeers, {
    runs,
    steps: DEVICE_STEPS,
    ours: (precision) => oursCommand({ ...workload, precision }),
    peerOf: ({ mode, name }, precision) => peerCommand(python, name, mode, { ...workload, precision }),
    ownMeasure: async (own, precision) => {
      const [copy, step] = [await own.run(DEVICE_STEPS, 'copy'), await own.run(DEVICE_STEPS)];
      const row = { precision, secondsPerCopy: copy / DEVICE_STEPS, shareOfStep: copy / step };
      copies.push(row);
      tell(JSON.stringify({ copies: row }));
    },
  });
  return { ...worst(compared.rows), workload, runs, copies, ...compared };
}
