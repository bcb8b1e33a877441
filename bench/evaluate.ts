import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bench, type Measured, measured, tell, worst } from './bench.ts';
import { type CommandCost, commandCost } from './command-cost.ts';
import { DIM, writeSyntheticSets } from './synthetic-sets.ts';

type Size = { readonly name: string; readonly rows: number; readonly largest: number; readonly classes: number };

/** The bars: seconds of a wall clock on two cores, and megabytes at most. */
const sizes: readonly (Size & { readonly bars: { readonly seconds?: number; readonly peakMb: number } })[] = [
  { name: 'one class of 5,000', rows: 200_000, largest: 5_000, classes: 20_000, bars: { seconds: 60, peakMb: 2_000 } },
  { name: '100,000 classes', rows: 1_000_000, largest: 10, classes: 100_000, bars: { peakMb: 4_000 } },
];

/** Whether `evaluate` ends in bounded memory and time, whatever the sizes of classes are. */
export const evaluateBench: Bench = {
  summary: 'evaluate of a labelled set: a class of 5,000 among 200,000 images, and 1,000,000 images of 100,000 classes',
  async run({ small }) {
    const rows: (Size & CommandCost)[] = [];
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

async function costOf({ rows, largest, classes }: Size): Promise<CommandCost> {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-bench-'));
  try {
    const labels = Int32Array.from({ length: rows }, (_, i) => (i < largest ? 0 : 1 + ((i - largest) % (classes - 1))));
    await writeSyntheticSets(folder, labels, classes);
    const [old, newer, out] = ['old', 'new', 'out'].map((name) => join(folder, name));
    return commandCost(folder, ['evaluate', '--old', old!, '--new', `new=${newer}`, '--out', out!]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
