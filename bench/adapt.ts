import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { readNpy, writeFeatureSet } from '../src/features/index.ts';
import { add, fillNormal, generator, matmul, scope, selectRows, tensor, toFloat32, zeros } from '../src/torch/index.ts';
import { type Bench, type Measured, measured, median, tell, worst } from './bench.ts';
import { cleanEnvironment } from './contender.ts';
import { findNumpy, peerScript } from './python.ts';
import { benchFolder } from './room.ts';

/** Our time over NumPy's. */
const BAR = 1;
const [ROWS, DIM, PER_IDENTITY] = [100_000, 512, 20];
/** `--small` is this much of the rows. */
const SMALL = 1 / 10;

const MAPS = ['procrustes', 'ridge', 'low-rank'] as const;
/** Programs of bench/peer/adapt.py: the bars are against the first. */
const PEERS = ['lstsq', 'same'] as const;
const SIDES = ['ours', ...PEERS] as const;
type Side = (typeof SIDES)[number];

type Cost = { readonly seconds: number; readonly cpuSeconds: number };
type Report = {
  /** Reading, moments and each map. */
  readonly parts: Readonly<Record<string, Cost>>;
  readonly total: Cost;
  readonly strength: number;
  readonly rank: number;
  readonly peakMb: number;
};

/** Fitting the linear adapters, against NumPy's linear algebra. */
export const adapt: Bench = {
  summary: 'fit Procrustes, ridge and low rank to 100,000 pairs of 512 dimensions, against NumPy',
  async run({ runs, small }) {
    const python = findNumpy();
    const rows = Math.round(ROWS * (small ? SMALL : 1));
    const threads = process.env['OMP_NUM_THREADS'] ?? String(availableParallelism());
    const folder = mkdtempSync(join(benchFolder(2.2 * rows * DIM * 4 + 1e8), 'mixbct-bench-'));
    try {
      tell(`${rows} pairs of ${DIM} and ${DIM} dimensions, ${threads} threads, in ${folder}`);
      await writePairs(folder, rows);
      const measure = sides({ folder, python, threads });
      // all sides once, to see that they do the same and that the files are cached for all
      const first = measure.ours();
      for (const peer of PEERS) {
        measure[peer]();
        requireSameMaps(folder, peer);
      }
      tell(`  chosen by five-fold cross-validation: strength ${first.strength}, rank ${first.rank}`);
      const rounds = Array.from({ length: runs }, () => ({
        ours: measure.ours(),
        lstsq: measure.lstsq(),
        same: measure.same(),
      }));
      const middle = (of: (round: (typeof rounds)[number]) => number): number => median(rounds.map(of));
      for (const side of SIDES)
        show(
          side,
          rounds.map((round) => round[side]),
        );
      const against = (peer: Side, of: keyof Cost): Measured =>
        measured(
          middle((round) => round.ours.total[of] / round[peer].total[of]),
          BAR,
          'lower',
        );
      const bars = { wall: against('lstsq', 'seconds'), cpu: against('lstsq', 'cpuSeconds') };
      const same = { wall: against('same', 'seconds').ratio, cpu: against('same', 'cpuSeconds').ratio };
      for (const [name, { ratio, ok }] of Object.entries(bars))
        tell(`  ${name}: ${ratio.toFixed(2)}× the time of lstsq, bar ${BAR} ${ok ? 'met' : 'MISSED'}`);
      tell(`  against the same work in NumPy: wall ${same.wall.toFixed(2)}×, cpu ${same.cpu.toFixed(2)}×`);
      return { ...worst(Object.values(bars)), rows, dim: DIM, threads: Number(threads), runs, bars, same };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** Feature sets `x` and `y`: identities around centres, and a linear map of them with noise. */
async function writePairs(folder: string, count: number): Promise<void> {
  const classes = Math.ceil(count / PER_IDENTITY);
  const labels = Int32Array.from({ length: count }, (_, row) => Math.floor(row / PER_IDENTITY));
  const families = new Int32Array(count).fill(-1);
  const seeded = generator(0);
  const normal = (height: number): ReturnType<typeof zeros> => fillNormal(zeros([height, DIM]), seeded);
  const centres = normal(classes);
  const map = normal(DIM);
  const write = (name: string, rowsOf: (index: Int32Array) => Float32Array) =>
    writeFeatureSet(
      join(folder, name),
      { dim: DIM, classes, model: null, dataset: null, flip: 'none', labels, families },
      {},
      ({ append }) => {
        for (let from = 0; from < count; from += BLOCK) append(rowsOf(labels.subarray(from, from + BLOCK)));
      },
    );
  const around = (index: Int32Array) =>
    add(selectRows(centres, tensor(index)), fillNormal(zeros([index.length, DIM]), seeded, 0, 0.6));
  await write('x', (index) => scope(() => toFloat32(around(index))));
  await write('y', (index) => scope(() => toFloat32(matmul(around(index), map))));
  centres.dispose();
  map.dispose();
}
const BLOCK = 1 << 14;

type Place = { readonly folder: string; readonly python: string; readonly threads: string };

/** Runs each side in a process of its own, which measures itself from opening the features to having all maps. */
function sides({ folder, python, threads }: Place): Readonly<Record<Side, () => Report>> {
  const env = { ...cleanEnvironment(), OMP_NUM_THREADS: threads, OPENBLAS_NUM_THREADS: threads, MIXBCT_VERIFY_GB: '0' };
  const out = (side: Side): string => {
    const path = join(folder, side);
    mkdirSync(path, { recursive: true });
    return path;
  };
  let chosen: Report | undefined;
  const run = (program: string, args: readonly string[]): Report => {
    const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env });
    if (status !== 0) throw new Error(`${args.join(' ')}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`);
    return JSON.parse(stdout);
  };
  const peer = (name: (typeof PEERS)[number]) => (): Report =>
    run(python, [peerScript('adapt.py'), name, folder, out(name), `${chosen!.strength}`, `${chosen!.rank}`]);
  const program = resolve(import.meta.dirname, 'ours/adapt.js');
  return {
    ours: () => (chosen = run(process.execPath, [program, folder, out('ours')])),
    lstsq: peer('lstsq'),
    same: peer('same'),
  };
}

function show(side: Side, reports: readonly Report[]): void {
  const text = (of: (report: Report) => Cost): string =>
    `${median(reports.map((report) => of(report).seconds)).toFixed(2)} s`;
  const parts = Object.keys(reports[0]!.parts).map((name) => `${name} ${text(({ parts }) => parts[name]!)}`);
  const cpu = median(reports.map(({ total }) => total.cpuSeconds));
  const peak = median(reports.map(({ peakMb }) => peakMb));
  tell(
    `  ${side.padEnd(6)} ${text(({ total }) => total)}  ${cpu.toFixed(2)} CPU-s  ${peak.toFixed(0)} MB  (${parts.join(', ')})`,
  );
}

/** NumPy centres rows, we centre sums: largest difference of an entry, over the largest entry. */
const SAME_MAP = 1e-4;

/** @throws Error if a peer fitted other maps than ours. */
function requireSameMaps(folder: string, peer: Side): void {
  for (const name of MAPS) {
    const [ours, theirs] = (['ours', peer] as const).map(
      (side) => readNpy(join(folder, side, `${name}.npy`), ['<f8']).data,
    ) as [Float64Array, Float64Array];
    let [apart, largest] = [0, 0];
    for (let i = 0; i < ours.length; i++) {
      apart = Math.max(apart, Math.abs(ours[i]! - theirs[i]!));
      largest = Math.max(largest, Math.abs(theirs[i]!));
    }
    if (ours.length !== theirs.length || !(apart <= SAME_MAP * largest))
      throw new Error(`${name}: the map differs from NumPy's (${peer}) by ${apart}, its largest entry is ${largest}`);
    tell(`  ${name}: at most ${(apart / largest).toExponential(1)} of the largest entry from NumPy's (${peer})`);
  }
}
