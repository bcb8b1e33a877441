import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Rng } from '../src/base/rng.ts';
import { writeFeatureSet } from '../src/features/index.ts';
import { type Bench, type Measured, measured, tell, worst } from './bench.ts';

const DIM = 128;
/** Noise of the two models around the centre of a class. */
const NOISE = { old: 1.4, new: 1.1 };
/** Rows made at a time. */
const BLOCK = 4096;

type Size = { readonly name: string; readonly rows: number; readonly largest: number; readonly classes: number };
type Cost = { readonly seconds: number; readonly cpuSeconds: number; readonly peakMb: number };

/** The bars: seconds of a wall clock on two cores, and megabytes at most. */
const sizes: readonly (Size & { readonly bars: { readonly seconds?: number; readonly peakMb: number } })[] = [
  { name: 'one class of 5,000', rows: 200_000, largest: 5_000, classes: 20_000, bars: { seconds: 60, peakMb: 2_000 } },
  { name: '100,000 classes', rows: 1_000_000, largest: 10, classes: 100_000, bars: { peakMb: 4_000 } },
];

/** Whether `evaluate` ends in bounded memory and time, whatever the sizes of classes are. */
export const evaluateBench: Bench = {
  summary: 'evaluate of a labelled set: a class of 5,000 among 200,000 images, and 1,000,000 images of 100,000 classes',
  async run({ small }) {
    const rows: (Size & Cost)[] = [];
    const ratios: Measured[] = [];
    for (const { bars, ...size } of small ? sizes.map(tenth) : sizes) {
      const cost = await costOf(size);
      tell(
        `${size.name}: ${size.rows} × ${DIM}, ${cost.seconds.toFixed(0)} s, ${cost.cpuSeconds.toFixed(0)} CPU-s, ${cost.peakMb.toFixed(0)} MB`,
      );
      rows.push({ ...size, ...cost });
      ratios.push(measured(cost.peakMb / bars.peakMb, 1, 'lower'));
      if (bars.seconds !== undefined) ratios.push(measured(cost.seconds / bars.seconds, 1, 'lower'));
    }
    return { ...worst(ratios), rows };
  },
};

const tenth = <S extends Size>(size: S): S => ({
  ...size,
  rows: size.rows / 10,
  largest: Math.min(size.largest, size.rows / 40),
  classes: size.classes / 10,
});

async function costOf({ rows, largest, classes }: Size): Promise<Cost> {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-bench-'));
  try {
    const labels = Int32Array.from({ length: rows }, (_, i) => (i < largest ? 0 : 1 + ((i - largest) % (classes - 1))));
    const families = new Int32Array(rows).fill(-1);
    const content = { dim: DIM, classes, model: null, dataset: null, flip: 'none' as const, labels, families };
    for (const name of ['old', 'new'] as const)
      await writeFeatureSet(join(folder, name), content, {}, ({ append }) => {
        for (let from = 0; from < rows; from += BLOCK)
          append(embeddings(labels.subarray(from, Math.min(rows, from + BLOCK)), name, from));
      });
    const cost = join(folder, 'cost.json');
    const start = performance.now();
    const { status, stderr } = spawnSync(
      process.execPath,
      [
        ...['--import', pathToFileURL(resolve(import.meta.dirname, 'ours/cost.js')).href],
        resolve(import.meta.dirname, '../src/cli/main.js'),
        ...['evaluate', '--old', join(folder, 'old'), '--new', `new=${join(folder, 'new')}`],
        ...['--out', join(folder, 'out')],
      ],
      { encoding: 'utf8', env: { ...process.env, MIXBCT_COST: cost, OMP_NUM_THREADS: `${availableParallelism()}` } },
    );
    if (status !== 0) throw new Error(stderr);
    const seconds = (performance.now() - start) / 1000;
    return { seconds, ...(JSON.parse(readFileSync(cost, 'utf8')) as Omit<Cost, 'seconds'>) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A direction for each class, and noise of each model's own. */
export function embeddings(labels: Int32Array, model: keyof typeof NOISE, from: number): Float32Array {
  const noise = new Rng(model).split(from);
  const rows = new Float32Array(labels.length * DIM);
  for (const [i, label] of labels.entries()) {
    const centre = new Rng('centre').split(label);
    for (let d = 0; d < DIM; d++) rows[i * DIM + d] = centre.uniform() - 0.5 + NOISE[model] * (noise.uniform() - 0.5);
  }
  return rows;
}
