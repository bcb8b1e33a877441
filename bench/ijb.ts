import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cropsDigest, openIjb } from '../src/data/index.ts';
import type { Evaluation } from '../src/eval/index.ts';
import { writeFeatureSet } from '../src/features/index.ts';
import { type Bench, measured, median, tell, worst } from './bench.ts';
import { cleanEnvironment } from './contender.ts';
import { embeddings, type IjbSizes, scaled, writeProtocol } from './ijb-protocol.ts';
import { findNumpy, peerScript } from './python.ts';
import { benchFolder } from './room.ts';

/** CPU time of NumPy over ours once the lists are kept as arrays, which the first evaluation does; and what we may hold in memory. */
const [CHEAPER_BAR, MEMORY_BAR_MB] = [10, 2560];
const DIM = 512;
/** How much of a model's embeddings is noise. */
const NOISE = { new: 1.2, old: 1.6 } as const;
/** `--small` is this much of IJB-C. */
const SMALL = 1 / 10;
/** Bytes of text that a pair takes. */
const PAIR_BYTES = 14;
/** Threads of both sides: CPU time is what is compared, and a thread that waits costs some. */
const THREADS = 1;

type Cost = { readonly seconds: number; readonly cpuSeconds: number; readonly peakMb: number };

/** IJB-C scored from features that are kept, 1:1 and 1:N, by the command line, against NumPy. */
export const ijb: Bench = {
  summary: 'IJB-C 1:1 and 1:N at full size from cached features against NumPy: CPU time and memory; cost as sizes grow',
  async run({ runs, small }) {
    const python = findNumpy();
    const sizes = scaled(small ? SMALL : 1);
    const own = await protocolOf(sizes, ['new', 'old'], (place) => {
      const first = compareResults(place, python);
      tell(`  the first evaluation, which reads the lists as text: ${told(first)}`);
      const pairs = Array.from({ length: runs }, (_, run) => {
        const pair = { ours: evaluate(place, ['new'], UNCHECKED), numpy: numpy(place, python) };
        tell(`  ${run + 1}/${runs}  ours ${told(pair.ours)}   NumPy ${told(pair.numpy)}`);
        return pair;
      });
      const checked = evaluate(place, ['new']);
      tell(`  with digests checked, as without settings: ${told(checked)}`);
      const cross = evaluate(place, ['new'], { old: 'old' });
      tell(`  the whole matrix of an old and a new model (three tests): ${told(cross)}`);
      return { first, pairs, checked, cross };
    });
    const cheaper = measured(
      median(own.pairs.map(({ ours, numpy: peer }) => peer.cpuSeconds / ours.cpuSeconds)),
      CHEAPER_BAR,
      'higher',
    );
    const memory = measured(Math.max(...own.pairs.map(({ ours }) => ours.peakMb)), MEMORY_BAR_MB, 'lower');
    tell(`  ${cheaper.ratio.toFixed(2)}× less CPU time, bar ${CHEAPER_BAR}: ${cheaper.ok ? 'met' : 'MISSED'}`);
    tell(`  ${memory.ratio.toFixed(0)} MB, bar ${MEMORY_BAR_MB}: ${memory.ok ? 'met' : 'MISSED'}`);
    const growth: Record<string, Cost> = {};
    for (const factor of small ? [] : [2, 4]) {
      growth[`x${factor}`] = await protocolOf(scaled(factor), ['new'], (place) => {
        evaluate(place, ['new']); // keeps the lists
        return evaluate(place, ['new']);
      });
      tell(`  ${factor} times the images, templates and pairs: ${told(growth[`x${factor}`]!)}`);
    }
    const middle = (side: 'ours' | 'numpy'): Cost => ({
      seconds: median(own.pairs.map((pair) => pair[side].seconds)),
      cpuSeconds: median(own.pairs.map((pair) => pair[side].cpuSeconds)),
      peakMb: median(own.pairs.map((pair) => pair[side].peakMb)),
    });
    return {
      ...worst([cheaper, memory]),
      sizes,
      dim: DIM,
      runs,
      cheaper,
      memory,
      first: own.first,
      checked: own.checked,
      ours: middle('ours'),
      numpy: middle('numpy'),
      matrix: own.cross,
      growth,
    };
  },
};

const told = ({ seconds, cpuSeconds, peakMb }: Cost): string =>
  `${cpuSeconds.toFixed(2)} CPU-s (${seconds.toFixed(1)} s, ${peakMb.toFixed(0)} MB)`;

/** Folders of a protocol and its features. */
type Place = { readonly folder: string; readonly data: string };

/** Writes a protocol and a feature set for each model, and removes them after `use`. */
async function protocolOf<T>(
  sizes: IjbSizes,
  models: readonly (keyof typeof NOISE)[],
  use: (place: Place) => T,
): Promise<T> {
  const base = benchFolder(1.1 * (models.length * sizes.images * DIM * 4 + sizes.impostors * PAIR_BYTES));
  const folder = mkdtempSync(join(base, 'mixbct-bench-'));
  try {
    const place = { folder, data: join(folder, 'data') };
    const { templates } = writeProtocol(place.data, sizes);
    const opened = openIjb(place.data, 'IJBC');
    const dataset = { path: opened.path, digest: cropsDigest(opened), count: sizes.images, classes: templates.length };
    for (const [i, name] of models.entries())
      await writeFeatureSet(
        join(folder, name),
        {
          dim: DIM,
          classes: dataset.classes,
          model: null,
          dataset,
          flip: 'mean',
          labels: new Int32Array(sizes.images),
          families: new Int32Array(sizes.images),
        },
        {},
        ({ append }) => {
          for (const rows of embeddings(templates, sizes, { dim: DIM, noise: NOISE[name], seed: 10 + 1000 * i }))
            append(rows);
        },
      );
    return use(place);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Variation = { readonly old?: string; readonly environment?: Readonly<Record<string, string>> };

/** NumPy does not check digests either. */
const UNCHECKED: Variation = { environment: { MIXBCT_VERIFY_GB: '0' } };

/** The command as a user types it. */
function evaluate({ folder, data }: Place, models: readonly string[], { old, environment }: Variation = {}): Cost {
  const cost = join(folder, 'cost.json');
  const args = [
    ...['--import', pathToFileURL(resolve(import.meta.dirname, 'ours/cost.js')).href],
    resolve(import.meta.dirname, '../src/cli/main.js'),
    ...['evaluate', 'ijb', '--data', data, '--protocol', '11,1N', '--threads', `${THREADS}`],
    ...models.flatMap((name) => ['--model', `${name}=${join(folder, name)}`]),
    ...(old === undefined ? [] : ['--old', `${old}=${join(folder, old)}`]),
    ...['--features', join(folder, 'kept'), '--out', join(folder, 'out'), '--force'],
  ];
  const seconds = run(process.execPath, args, { MIXBCT_COST: cost, ...environment });
  return { seconds, ...JSON.parse(readFileSync(cost, 'utf8')) };
}

function numpy({ folder, data }: Place, python: string): Cost {
  const out = join(folder, 'numpy.json');
  const seconds = run(python, [
    peerScript('ijb.py'),
    join(data, 'IJBC', 'meta'),
    join(folder, 'new', 'features.npy'),
    out,
  ]);
  return { seconds, ...JSON.parse(readFileSync(out, 'utf8')).cost };
}

/** Seconds from a program's start to its end. */
function run(program: string, args: readonly string[], more: Readonly<Record<string, string>> = {}): number {
  const start = performance.now();
  const { status, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...cleanEnvironment(), OMP_NUM_THREADS: `${THREADS}`, OPENBLAS_NUM_THREADS: `${THREADS}`, ...more },
  });
  if (status !== 0) throw new Error(`${args.join(' ')}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`);
  return (performance.now() - start) / 1000;
}

/** Both sides sum in double precision, in another order: a pair of nearly equal scores may change places. */
const SAME_RATE = 1e-3;

/** → the cost of our first evaluation. @throws Error if the two sides do not find the same rates. */
function compareResults(place: Place, python: string): Cost {
  const first = evaluate(place, ['new']);
  numpy(place, python);
  const [test] = (JSON.parse(readFileSync(join(place.folder, 'out/evaluation.json'), 'utf8')) as Evaluation).tests;
  const peer = JSON.parse(readFileSync(join(place.folder, 'numpy.json'), 'utf8'));
  const { verification, identification } = test!;
  const same = (what: string, ours: readonly number[], theirs: readonly number[]): void => {
    const apart = Math.max(...ours.map((value, i) => Math.abs(value - theirs[i]!)));
    if (!(apart <= SAME_RATE)) throw new Error(`${what}: [${ours}], NumPy has [${theirs}]`);
  };
  same(
    '1:1',
    [verification!.auc, ...verification!.tar.map(({ nearest }) => nearest)],
    [peer.verification.auc, ...peer.verification.tar],
  );
  for (const [i, { name, ranks }] of identification!.galleries!.entries())
    same(
      name,
      ranks.map(({ rate }) => rate),
      peer.identification[i].top,
    );
  const both = peer.identification as readonly { readonly tpir: readonly number[] }[];
  same(
    '1:N',
    identification!.curve.tpir,
    both[0]!.tpir.map((rate, i) => (rate + both[1]!.tpir[i]!) / 2),
  );
  return first;
}
