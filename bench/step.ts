import type { Precision } from '../src/models/precisions.ts';
import { bf16Instructions } from '../src/torch/index.ts';
import { type Bench, type BenchOptions, type Measured, measured, median, tell, worst } from './bench.ts';
import { alternate, Contender, ContenderFailed, requireSameWork, SAME_WORK_BF16, speedup } from './contender.ts';
import { compareOnDevice } from './device.ts';
import { findJemalloc, findPython } from './python.ts';
import { callBound, describe, deviceSize, fullSize, oursCommand, type PeerMode, peerCommand } from './workload.ts';

type Peer = {
  readonly mode: PeerMode;
  readonly name: string;
  /** What it computes in. */
  readonly precision: Precision;
  /** How many times faster we are to be. */
  readonly bar: number;
};

const TUNED = 'PyTorch tuned (channels-last, fused SGD, jemalloc)';

/** Whom we are compared with, by what we compute in. */
const peers: Readonly<Record<'float32' | 'bf16', readonly Peer[]>> = {
  float32: [
    { mode: 'stock', name: 'PyTorch eager', precision: 'float32', bar: 1.6 },
    { mode: 'tuned', name: TUNED, precision: 'float32', bar: 1.1 },
    { mode: 'compiled', name: 'torch.compile (channels-last)', precision: 'float32', bar: 1.1 },
  ],
  bf16: [
    { mode: 'tuned', name: TUNED, precision: 'float32', bar: 1.5 },
    { mode: 'tuned', name: `${TUNED} under bf16 autocast`, precision: 'bf16', bar: 1.0 },
  ],
};

/** The environment of a peer. @throws ContenderFailed if it cannot run here. */
function environmentOf({ mode }: Peer): Readonly<Record<string, string>> {
  if (mode !== 'tuned') return {};
  const jemalloc = findJemalloc();
  if (jemalloc) return { LD_PRELOAD: jemalloc, MALLOC_CONF: 'dirty_decay_ms:-1,muzzy_decay_ms:-1' }; // freed pages are kept
  throw new ContenderFailed(
    'jemalloc is not installed (Debian: libjemalloc2; or set MIXBCT_JEMALLOC to libjemalloc.so.2)',
  );
}

/** The whole training step against three ways to write it in PyTorch, on one fixed batch; in bf16, too, where the processor has it. */
export const step: Bench = {
  summary: 'a training step of iresnet18 at 112×112 against PyTorch: eager, tuned, compiled; in bf16',
  async run({ runs, small, device }) {
    const python = findPython();
    if (device !== 'cpu' || small) return stepOnDevice(python, { runs, device, small });
    tell(describe(fullSize));
    const results: Record<string, Measured & { readonly name: string; readonly secondsPerStep: object }> = {};
    const skipped: Record<string, string> = {};
    let torch = '';
    for (const precision of ['float32', 'bf16'] as const) {
      if (precision === 'bf16' && bf16Instructions().length === 0) {
        skipped[precision] = 'this processor has no instructions for it';
        tell(`SKIPPED ${precision}: ${skipped[precision]}`);
        continue;
      }
      const workload = { ...fullSize, precision };
      await using ours = await Contender.start(oursCommand(workload));
      torch = ours.ready.torch;
      for (const peer of peers[precision]) {
        const { mode, name, bar } = peer;
        const row = precision === 'bf16' ? `bf16, ${mode} ${peer.precision}` : mode;
        try {
          tell(`${precision} against ${name}`);
          const work = { ...fullSize, precision: peer.precision };
          await using other = await Contender.start(peerCommand(python, name, mode, work, environmentOf(peer)));
          requireSameWork(ours, other, precision === 'bf16' ? SAME_WORK_BF16 : undefined);
          const pairs = await alternate(ours, other, { runs, steps: 1 });
          const secondsPerStep = { ours: median(pairs.ours), peer: median(pairs.peer) };
          results[row] = { name, ...measured(speedup(pairs), bar, 'higher'), secondsPerStep };
          tell(
            `  ${results[row].ratio.toFixed(2)}× faster than ${name}; bar ${bar}: ${results[row].ok ? 'met' : 'MISSED'}`,
          );
        } catch (error) {
          if (mode === 'stock' || !(error instanceof ContenderFailed)) throw error;
          skipped[row] = error.message;
          tell(`SKIPPED ${name}: ${error.message}`);
        }
      }
    }
    return { ...worst(Object.values(results)), workload: fullSize, runs, torch, peers: results, skipped };
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
  // few steps before: in twenty a batch this small is learned by heart, and losses near 0 cannot be compared
  const workload = { ...(small ? { ...callBound, threads: 2, warmup: 3 } : deviceSize), device };
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
