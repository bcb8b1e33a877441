import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeFeatureSet } from '../src/features/index.ts';
import { freePort } from '../test/helpers/processes.ts';
import { type Bench, measured, tell, worst } from './bench.ts';
import { cleanEnvironment } from './contender.ts';
import { benchFolder } from './room.ts';
import { describe, type Workload } from './workload.ts';

/** A small network, so that classes and features are what memory goes to. */
const workload: Workload = { width: 0.25, side: 32, batch: 64, dim: 128, classes: 10_000, threads: 1, warmup: 0 };

export type FootprintCase = {
  readonly classes: number;
  readonly processes: number;
  readonly sampleRate: number;
  /** Folder of old features that every step reads rows of. */
  readonly features: string | null;
  readonly workload: Workload;
};

/** What memory grows by, over what the formula says; and by ten times the old features. */
const [FORMULA_BAR, FEATURES_BAR] = [1.15, 1.1];
const OLD_ROWS = [100_000, 1_000_000] as const;

type Bytes = { readonly kept: number; readonly peak: number };

/** Bytes that classes take in a process between two steps: weight and momentum. */
export const classBytes = ({ classes, processes }: Pick<FootprintCase, 'classes' | 'processes'>): number =>
  (4 * 2 * classes * workload.dim) / processes;

/** What others are compared with. */
const FEW_CLASSES = 1_000;
const cases = [
  [100_000, 1, 1],
  [100_000, 2, 1],
  [100_000, 4, 1],
  [1_000_000, 1, 0.1],
  [1_000_000, 2, 0.1],
] as const;

/** Resident memory of each process, by classes, processes and old features. */
export const footprint: Bench = {
  summary: 'resident memory of a process by classes, processes and old features, against the formula',
  async run() {
    tell(`${describe(workload)} unless told`);
    const rows = [];
    for (const [classes, processes, sampleRate] of cases) {
      const one = { classes, processes, sampleRate, features: null, workload };
      const few = { ...one, classes: FEW_CLASSES, sampleRate: 1 };
      const [more, less] = [await memoryOf(one), await memoryOf(few)];
      const formula = classBytes(one) - classBytes(few);
      const grown = { kept: more.kept - less.kept, peak: more.peak - less.peak };
      rows.push({
        classes,
        processes,
        sampleRate,
        grown,
        formula,
        ...measured(grown.kept / formula, FORMULA_BAR, 'lower'),
      });
      tell(
        `  ${classes.toLocaleString('en-US')} classes, ${processes} process${processes > 1 ? 'es' : ''}, sample rate ${sampleRate}: ` +
          `${mb(grown.kept)} MB between steps (formula ${mb(formula)}), ${mb(grown.peak)} MB at most`,
      );
    }
    const [few, many] = await oldFeatures();
    const features = measured(many / few, FEATURES_BAR, 'lower');
    tell(
      `  ${OLD_ROWS.map((n) => n.toLocaleString('en-US')).join(' and ')} old features: ${mb(few)} and ${mb(many)} MB in all`,
    );
    return { ...worst([...rows, features]), workload, rows, oldFeatures: { few, many, ...features } };
  },
};

const mb = (bytes: number): string => (bytes / 1e6).toFixed(0);

async function oldFeatures(): Promise<[number, number]> {
  const { dim } = workload;
  const folder = mkdtempSync(join(benchFolder(1.2 * OLD_ROWS[1] * dim * 4), 'mixbct-bench-'));
  const BLOCK = 10_000;
  try {
    const found: number[] = [];
    for (const rows of OLD_ROWS) {
      const features = join(folder, `${rows}`);
      const labels = new Int32Array(rows);
      const content = { dim, classes: 1, model: null, dataset: null, flip: 'none', labels, families: labels } as const;
      await writeFeatureSet(features, content, {}, ({ append }) => {
        for (let row = 0; row < rows; row += BLOCK) append(new Float32Array(BLOCK * dim).fill(row + 1));
      });
      const one = { classes: FEW_CLASSES, processes: 1, sampleRate: 1, features, workload };
      found.push((await memoryOf(one)).peak);
    }
    return found as [number, number];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Bytes of the largest process. */
async function memoryOf(one: FootprintCase): Promise<Bytes> {
  const port = String(await freePort());
  const program = resolve(import.meta.dirname, 'ours/footprint.js');
  const told = await Promise.all(
    Array.from(
      { length: one.processes },
      (_, rank) =>
        new Promise<Bytes>((done, fail) => {
          const shared = { WORLD_SIZE: `${one.processes}`, MASTER_ADDR: '127.0.0.1', MASTER_PORT: port };
          const child = spawn(process.execPath, [program, JSON.stringify(one)], {
            env: { ...cleanEnvironment(), ...shared, RANK: `${rank}`, OMP_NUM_THREADS: '1' },
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          let out = '';
          child.stdout.on('data', (text) => (out += text));
          child.once('close', (code) =>
            code === 0 ? done(JSON.parse(out)) : fail(new Error(`process ${rank} ended with ${code}`)),
          );
        }),
    ),
  );
  return { kept: Math.max(...told.map(({ kept }) => kept)), peak: Math.max(...told.map(({ peak }) => peak)) };
}
