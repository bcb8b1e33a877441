import { resolve } from 'node:path';
import { UserError } from '../src/base/errors.ts';
import type { BackboneName } from '../src/models/index.ts';
import type { Precision } from '../src/models/precisions.ts';
import type { Command } from './contender.ts';
import { peerScript } from './python.ts';

/** A training run on one fixed batch, described to bench/ours/step.ts and bench/peer/step.py alike. */
export type Workload = {
  /** Default: r18. */
  readonly network?: BackboneName;
  /** Of the network; default: float32. */
  readonly precision?: Precision;
  /** Where it computes; default: cpu. */
  readonly device?: string;
  /** Share of the classes that a step sees; default: 1. */
  readonly sampleRate?: number;
  /** Multiplies the channels of the network. */
  readonly width: number;
  /** Height and width of the images, in pixels. */
  readonly side: number;
  /** B */
  readonly batch: number;
  /** D */
  readonly dim: number;
  /** C */
  readonly classes: number;
  readonly threads: number;
  /** Steps before the first measurement. */
  readonly warmup: number;
};

/** Both sides use as many threads as the bars were set for. */
const THREADS = 2;

/** The network of the bars: iresnet18 at 112×112, batch 32. */
export const fullSize: Workload = {
  width: 1,
  side: 112,
  batch: 32,
  dim: 512,
  classes: 1000,
  threads: THREADS,
  warmup: 3,
};
/** A network so small that calling operators costs more than computing them. */
export const callBound: Workload = { width: 0.125, side: 32, batch: 4, dim: 16, classes: 10, threads: 1, warmup: 20 };

/** A step of a graphics processor: iresnet50 at 112×112, batch 128, as many classes as MS1M-V3 has. */
export const deviceSize = { ...fullSize, network: 'r50', batch: 128, classes: 93_431, warmup: 5 } as const;

/** How a workload is named in the output. */
export const describe = ({ network = 'r18', width, side, batch, classes, dim, threads }: Workload): string =>
  `i${network.replace(/^r/, 'resnet')}${width === 1 ? '' : ` × ${width}`} ${side}×${side}, B ${batch}, D ${dim}, C ${classes}, ${threads} thread${threads === 1 ? '' : 's'}`;

const allThreads = ({ threads }: Workload): Record<string, string> => ({ OMP_NUM_THREADS: String(threads) });

export const oursCommand = (workload: Workload, env: Readonly<Record<string, string>> = {}): Command => ({
  name: 'mixbct',
  program: process.execPath,
  args: [resolve(import.meta.dirname, 'ours/step.js'), JSON.stringify(workload)],
  env: { ...allThreads(workload), ...env },
});

/** Two processes that share the batch; the first one answers for both. */
export const distributedCommand = (workload: Workload, overlap: boolean): Command => ({
  name: `2 processes, overlap ${overlap ? 'on' : 'off'}`,
  program: process.execPath,
  args: [
    resolve(import.meta.dirname, 'ours/distributed-training.js'),
    JSON.stringify(workload),
    overlap ? 'overlap' : 'after',
  ],
  env: allThreads(workload),
});

export type PeerMode = 'stock' | 'tuned' | 'compiled' | 'same-ops';

export const peerCommand = (
  python: string,
  name: string,
  mode: PeerMode,
  workload: Workload,
  env: Readonly<Record<string, string>> = {},
): Command => ({
  name,
  program: python,
  args: [peerScript('step.py'), mode, JSON.stringify(workload)],
  env: { ...allThreads(workload), ...env },
});

/** The JSON argument of a worker. */
export function readWorkload(text: string | undefined): Workload {
  if (text === undefined) throw new UserError('this program is started by npm run bench');
  return JSON.parse(text);
}
