import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import type { Conv2dOptions } from '../../src/nn/index.ts';

export type Layer = readonly [inputs: number, outputs: number, options: Conv2dOptions, side?: number];

/** For channels c and images of a side: the layer, and the side of what enters it where it is another. */
export const kinds: Readonly<Record<string, (c: number, side: number) => Layer>> = {
  stem: (c) => [3, c, { kernel: 3, padding: 1 }],
  'stem, stride 2': (c) => [3, c, { kernel: 3, padding: 1, stride: 2 }],
  '3×3': (c) => [c, c, { kernel: 3, padding: 1 }],
  '3×3, wider': (c) => [c, 2 * c, { kernel: 3, padding: 1 }],
  '3×3, stride 2': (c) => [c, c, { kernel: 3, padding: 1, stride: 2 }],
  '1×1': (c) => [c, 2 * c, { kernel: 1 }],
  '1×1, narrower': (c) => [2 * c, c, { kernel: 1 }],
  '1×1, stride 2': (c) => [c, 2 * c, { kernel: 1, stride: 2 }],
  '1×1, stride 2, as wide': (c) => [c, c, { kernel: 1, stride: 2 }],
  depthwise: (c) => [c, c, { kernel: 3, padding: 1, groups: c }],
  'depthwise, stride 2': (c) => [c, c, { kernel: 3, padding: 1, stride: 2, groups: c }],
  grouped: (c) => [2 * c, 2 * c, { kernel: 3, padding: 1, groups: c }],
  'whole map': (c, side) => [c, c, { kernel: side / 16, groups: c }, side / 16],
  patches: (c) => [3, c, { kernel: 9, stride: 9, bias: true }],
};

/** What is swept; each list by each other. */
export type Sweep = {
  readonly kinds: readonly string[];
  readonly channels: readonly number[];
  readonly sides: readonly number[];
  readonly batches: readonly number[];
  readonly dtype: 'float32' | 'bfloat16';
  readonly threads: number;
};

/** glibc's own checks of every block, where they are installed: they end the process. */
const WATCHFUL = { LD_PRELOAD: 'libc_malloc_debug.so.0', MALLOC_CHECK_: '3' };

/** Sweeps in a process of its own. → what differs from float64 line by line, or how the process ended; '' if all is well */
export function checkConvolutions(sweep: Sweep, env: Readonly<Record<string, string>> = {}): string {
  const script = resolve(import.meta.dirname, 'convolution-check.js');
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, JSON.stringify(sweep)], {
    encoding: 'utf8',
    env: { ...process.env, OMP_NUM_THREADS: String(sweep.threads), ...WATCHFUL, ...env },
  });
  return status === 0 ? stdout : `${stdout}${stderr}ended with ${signal ?? status}`;
}
