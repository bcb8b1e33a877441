import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Rng } from '../src/base/rng.ts';
import { openBoundaries, openCredible, openPrototypes, readNpy, writeFeatureSet } from '../src/features/index.ts';
import { add, fillNormal, generator, scope, selectRows, tensor, toFloat32, zeros } from '../src/torch/index.ts';
import { type Bench, measured, median, tell, worst } from './bench.ts';
import { cleanEnvironment } from './contender.ts';
import { findNumpy, peerScript } from './python.ts';
import { benchFolder } from './room.ts';

/**
 * What we may hold in memory, and bars of the time. Denoising and averaging do little more than read: their bar is what `cat FILE > /dev/null`
 * takes, over our time. Masks need two passes. Boundaries compute: theirs is NumPy's time over ours.
 */
const MEMORY_BAR_MB = 1024;
const TIME_BARS = {
  denoise: { than: 'cat', ratio: 0.4 },
  average: { than: 'cat', ratio: 0.8 },
  boundaries: { than: 'walk', ratio: 10 },
} as const;
/** MS1M-V3's, and the embeddings of the published old models. */
const [ROWS, CLASSES, DIM] = [5_179_510, 93_431, 128];
/** `--small` is this much of it. */
const SMALL = 1 / 20;

const COMMANDS = ['denoise', 'average', 'boundaries'] as const;
type CommandName = (typeof COMMANDS)[number];
type Cost = { readonly seconds: number; readonly cpuSeconds: number; readonly peakMb: number };

/** What is derived from old features, at the size of MS1M-V3, against NumPy. */
export const features: Bench = {
  summary: 'denoise, average and boundaries of 5.18 M × 128 features against NumPy: time and memory',
  async run({ runs, small }) {
    const python = findNumpy();
    const [rows, classes] = [ROWS, CLASSES].map((n) => Math.round(n * (small ? SMALL : 1))) as [number, number];
    const folder = mkdtempSync(join(benchFolder(1.2 * rows * DIM * 4 + 1e8), 'mixbct-bench-'));
    try {
      const set = join(folder, 'features');
      tell(
        `${rows} features of ${DIM} dimensions in ${classes} classes, in ${folder} (MIXBCT_BENCH_DIR names another)`,
      );
      await writeFeatures(set, rows, classes);
      const results = Object.fromEntries(COMMANDS.map((name) => [name, compare(name, { python, folder, set, runs })]));
      const all = Object.values(results);
      return {
        ...worst(all.flatMap(({ faster, memory }) => [faster, memory])),
        rows,
        classes,
        runs,
        commands: results,
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** Classes of 1 … 2 × the mean size, sorted; each around a centre of its own, as embeddings of a trained model are. */
async function writeFeatures(path: string, count: number, classes: number): Promise<void> {
  const rng = new Rng('bench').split('sizes');
  const shares = Float64Array.from({ length: classes }, () => 0.1 + rng.uniform());
  const total = shares.reduce((sum, share) => sum + share, 0);
  const labels = new Int32Array(count);
  for (let label = 0, row = 0, ends = 0; label < classes; label++) {
    ends += (shares[label]! / total) * (count - classes);
    for (const end = label === classes - 1 ? count : Math.round(ends) + label + 1; row < end; row++)
      labels[row] = label;
  }
  const seeded = generator(0);
  const families = new Int32Array(count).fill(-1);
  await writeFeatureSet(
    path,
    { dim: DIM, classes, model: null, dataset: null, flip: 'none', labels, families },
    {},
    ({ append }) => {
      const centres = fillNormal(zeros([classes, DIM]), seeded);
      for (let from = 0; from < count; from += BLOCK) {
        const index = labels.subarray(from, from + BLOCK);
        append(
          scope(() =>
            toFloat32(
              add(selectRows(centres, tensor(index)), fillNormal(zeros([index.length, DIM]), seeded, 0, SPREAD)),
            ),
          ),
        );
      }
      centres.dispose();
    },
  );
}
const BLOCK = 1 << 16;
/** Of a class around its centre, whose dimensions have a deviation of 1. */
const SPREAD = 0.6;

type Place = { readonly python: string; readonly folder: string; readonly set: string; readonly runs: number };

/** Programs of bench/peer/features.py: the first works as the reference's tools do. */
const PEERS = ['walk', 'slices'] as const;

/** All sides once, to see that they do the same and that the file is cached for all; then by turns. */
function compare(name: CommandName, { python, folder, set, runs }: Place) {
  const [ours, theirs] = [join(folder, 'ours'), join(folder, 'numpy')];
  mkdirSync(theirs, { recursive: true });
  const measure = {
    ours: () => {
      rmSync(ours, { recursive: true, force: true });
      return run(process.execPath, [resolve(import.meta.dirname, 'ours/features.js'), name, set, ours]);
    },
    walk: () => run(python, [peerScript('features.py'), 'walk', name, set, theirs]),
    slices: () => run(python, [peerScript('features.py'), 'slices', name, set, theirs]),
  };
  measure.ours();
  for (const peer of PEERS) {
    measure[peer]();
    requireSameResults[name](ours, (file) => join(theirs, `${file}.npy`));
  }
  const rounds = Array.from({ length: runs }, () => ({
    ours: measure.ours(),
    walk: measure.walk(),
    slices: measure.slices(),
    cat: { seconds: readAll(join(set, 'features.npy')) },
  }));
  const middle = (of: (round: (typeof rounds)[number]) => number): number => median(rounds.map(of));
  const show = (side: keyof typeof measure): Cost => {
    const [seconds, cpuSeconds, peakMb] = (['seconds', 'cpuSeconds', 'peakMb'] as const).map((key) =>
      middle((round) => round[side][key]),
    ) as [number, number, number];
    const ratio = side === 'ours' ? '' : `  ${middle((round) => round[side].seconds / round.ours.seconds).toFixed(2)}×`;
    tell(
      `  ${name.padEnd(10)} ${side.padEnd(6)} ${seconds.toFixed(2)} s  ${cpuSeconds.toFixed(2)} CPU-s  ${peakMb.toFixed(0)} MB${ratio}`,
    );
    return { seconds, cpuSeconds, peakMb };
  };
  const costs = { ours: show('ours'), walk: show('walk'), slices: show('slices') };
  const { than, ratio } = TIME_BARS[name];
  const overOurs = (side: keyof typeof measure | 'cat'): number =>
    middle((round) => round[side].seconds / round.ours.seconds);
  const faster = measured(overOurs(than), ratio, 'higher');
  const memory = measured(Math.max(...rounds.map((round) => round.ours.peakMb)), MEMORY_BAR_MB, 'lower');
  const cat = middle((round) => round.cat.seconds);
  tell(`  ${name.padEnd(10)} cat    ${cat.toFixed(2)} s  ${overOurs('cat').toFixed(2)}×`);
  tell(`  bars: ${ratio}× the speed of ${than} ${shown(faster)}, ${MEMORY_BAR_MB} MB ${shown(memory)}`);
  return {
    faster,
    memory,
    cpuRatio: middle((round) => round.walk.cpuSeconds / round.ours.cpuSeconds),
    walkRatio: overOurs('walk'),
    slicesRatio: overOurs('slices'),
    catSeconds: cat,
    costs,
  };
}

const shown = ({ ok }: { readonly ok: boolean }): string => (ok ? 'met' : 'MISSED');

/** One command in a process of its own, which measures itself from opening the features to having written its results. */
function run(program: string, args: readonly string[]): Cost {
  const env = { ...cleanEnvironment(), MIXBCT_VERIFY_GB: '0' }; // NumPy does not check digests either
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${args.join(' ')}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`);
  return JSON.parse(stdout);
}

/** Seconds in which `cat` reads a file. */
function readAll(path: string): number {
  const start = performance.now();
  const { status } = spawnSync('cat', [path], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`cat ${path} ended with ${status}`);
  return (performance.now() - start) / 1000;
}

/** NumPy computes in float32, so that a row at the edge may fall on the other side: in this share of cases at most. */
const AT_THE_EDGE = 1e-4;
/** Numbers of a length about 1. */
const SAME_NUMBER = 1e-5;

const requireSameResults: Readonly<Record<CommandName, (ours: string, theirs: (file: string) => string) => void>> = {
  denoise(ours, theirs) {
    requireSame('mask', openCredible(ours).mask, readNpy(theirs('mask'), ['|b1']).data, {
      within: 0,
      but: AT_THE_EDGE,
    });
  },
  average(ours, theirs) {
    requireSame('prototypes', openPrototypes(ours).rows, readNpy(theirs('prototypes'), ['<f4']).data);
  },
  boundaries(ours, theirs) {
    const { centres, largest, kept } = openBoundaries(ours);
    requireSame('centres', centres, readNpy(theirs('centres'), ['<f4']).data);
    requireSame('radii', largest, readNpy(theirs('radii'), ['<f4']).data, { but: AT_THE_EDGE });
    requireSame('kept', kept, readNpy(theirs('kept'), ['<i4']).data, { within: 0, but: AT_THE_EDGE });
  },
};

/** @throws Error if more than the share `but` of numbers are further apart than `within`. */
function requireSame(
  what: string,
  ours: ArrayLike<number>,
  theirs: ArrayLike<number>,
  { within = SAME_NUMBER, but = 0 } = {},
): void {
  let apart = ours.length === theirs.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < ours.length; i++) if (!(Math.abs(ours[i]! - theirs[i]!) <= within)) apart++;
  if (apart > but * ours.length) throw new Error(`${what}: ${apart} of ${ours.length} differ from NumPy's`);
  tell(`  ${what}: ${apart} of ${ours.length} differ from NumPy's by more than ${within}`);
}
