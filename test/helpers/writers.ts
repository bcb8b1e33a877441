import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/base/version.ts';
import { importModel } from '../../src/runs/import-model.ts';
import { checkpointPath, checkpoints, scriptedPath } from './checkpoints.ts';
import { mixbct } from './cli.ts';
import { foreignNpy } from './foreign.ts';
import { writeSmallIjb } from './ijb.ts';
import { writeTinySet } from './images.ts';
import { onnxPath } from './onnx.ts';
import { writeTwoModels } from './paired-rows.ts';

/** A command that writes, in a folder that `writeInputs` has filled. */
export type Writer = {
  /** The command that makes everything whose path begins with `out`. */
  readonly make: (out: string) => readonly string[];
  /** What it reads. */
  readonly inputs: readonly string[];
  /** What it makes; of a set the prefix. */
  readonly makes: 'folder' | 'set' | 'files';
  /** The file, behind `out`, that appears last: then the command is done. None: it can be given again at any time. */
  readonly last?: string;
  /** Whether a failed attempt keeps its work for the next one; default: if it makes a folder. */
  readonly resumes?: boolean;
  /** What has to be said to a second attempt: of a training that has begun, of one that has not. */
  readonly again?: readonly [begun: string, fresh: string];
};

const QUIET = ['--threads', '1', '--workers', '1'];
const one = ['--threads', '1'];
const packs = ['python2-protocol2.bin', 'python3-protocol4.bin'].map((name) =>
  join(packageRoot, 'test/golden/packs', name),
);
const parquet = join(packageRoot, 'test/golden/parquet/gzip.parquet');
const checkpoint = checkpoints.networks.find(({ file }) => file === 'mbf.pt')!;
const ofCheckpoint = [
  ...['--network', checkpoint.network, '--side', `${checkpoint.side}`],
  ...['--width', `${checkpoint.width}`],
];

/** Every command that writes files, but `data get`, which fetches. */
export const writers: Readonly<Record<string, Writer>> = {
  import: { make: (out) => ['data', 'import', 'photos', '--out', out], inputs: ['photos'], makes: 'set', last: '.idx' },
  split: {
    make: (out) => ['data', 'split', 'set', '--by', 'class', '--ratio', '0.4', '--out', out],
    inputs: ['set'],
    makes: 'set',
    last: '/set_part_60_class.idx',
  },
  'hold-out': {
    make: (out) => ['data', 'split', 'set', '--hold-out', '9', '--out', out],
    inputs: ['set'],
    makes: 'set',
    last: '/set_train.idx',
  },
  sample: {
    make: (out) => ['data', 'sample', 'set', '--per-class', '5', '--out', out],
    inputs: ['set'],
    makes: 'set',
    last: '/set_sample_5.idx',
  },
  train: {
    make: (out) => ['train', 'recipe.json', '--data', 'set', '--out', out, '--save-every', '3', ...QUIET],
    inputs: ['set', 'recipe.json'],
    makes: 'folder',
    last: '/manifest.json',
    again: ['--resume', '--force'],
  },
  run: { make: (out) => ['run', 'experiment.json', '--out', out, ...QUIET], inputs: ['set'], makes: 'folder' },
  'import-model': {
    make: (out) => ['import-model', checkpointPath(checkpoint.file), ...ofCheckpoint, '--out', out],
    inputs: [checkpointPath(checkpoint.file)],
    makes: 'folder',
    last: '/manifest.json',
  },
  'import-onnx': {
    make: (out) => ['import-model', onnxPath('rgb_nchw.onnx'), '--pixels', 'imagenet', '--out', out],
    inputs: [onnxPath('rgb_nchw.onnx')],
    makes: 'folder',
    last: '/manifest.json',
  },
  'import-scripted': {
    make: (out) => ['import-model', scriptedPath, '--network', 'torchscript', '--side', '16', '--out', out],
    inputs: [scriptedPath],
    makes: 'folder',
    last: '/manifest.json',
  },
  export: {
    make: (out) => ['export', 'run', '--to', 'onnx', '--out', `${out}.onnx`, ...one],
    inputs: ['run'],
    makes: 'files',
    last: '.onnx',
  },
  extract: {
    make: (out) => ['extract', 'run', '--data', 'set', '--out', out, '--batch-size', '8', ...QUIET],
    inputs: ['run', 'set'],
    makes: 'folder',
    last: '/manifest.json',
  },
  'launch-extract': {
    make: (out) => ['launch', '--nproc', '2', '--', ...writers['extract']!.make(out)],
    inputs: ['run', 'set'],
    makes: 'folder',
    last: '/manifest.json',
  },
  embed: {
    make: (out) => ['embed', 'run', 'photos', '--out', `${out}.npy`, '--batch-size', '32', ...QUIET],
    inputs: ['run', 'photos'],
    makes: 'files',
    resumes: true,
    last: '.npy',
  },
  'embed-shard': {
    make: (out) => ['embed', 'run', 'photos', '--out', `${out}.npy`, '--shard', '1/1', '--batch-size', '32', ...QUIET],
    inputs: ['run', 'photos'],
    makes: 'files',
    resumes: true,
    last: '.npy.shard-1-of-1/manifest.json',
  },
  merge: {
    make: (out) => ['features', 'merge', 'photos.npy.shard-1-of-1', '--out', `${out}.parquet`],
    inputs: ['photos.npy.shard-1-of-1'],
    makes: 'files',
    last: '.parquet',
  },
  'import-features': {
    make: (out) => ['import-features', 'rows.npy', '--labels', 'labels.npy', '--out', out],
    inputs: ['rows.npy', 'labels.npy'],
    makes: 'folder',
    last: '/manifest.json',
  },
  'import-parquet': {
    make: (out) => ['import-features', parquet, '--vector', 'vector', '--label', 'person', '--out', out],
    inputs: [parquet],
    makes: 'folder',
    last: '/manifest.json',
  },
  ...Object.fromEntries(
    ['denoise', 'average', 'boundaries'].map((name): [string, Writer] => [
      name,
      {
        make: (out) => [name, 'features', '--out', out, ...(name === 'boundaries' ? [] : one)],
        inputs: ['features'],
        makes: 'folder',
        last: '/manifest.json',
      },
    ]),
  ),
  'adapt-fit': {
    make: (out) => [
      ...['adapt', 'fit', '--old', 'first', '--new', 'second', '--direction', 'gallery', '--metric', 'rank-1'],
      ...['--resamples', '10', '--out', out, ...one],
    ],
    inputs: ['first', 'second'],
    makes: 'folder',
    last: '/manifest.json',
  },
  'adapt-apply': {
    make: (out) => ['adapt', 'apply', 'adapter', 'first', '--out', out, ...one],
    inputs: ['adapter', 'first'],
    makes: 'folder',
    last: '/manifest.json',
  },
  backfill: {
    make: (out) => [
      ...['backfill', 'simulate', '--old', 'first', '--new', 'second', '--draws', '2', '--steps', '4'],
      ...['--resamples', '10', '--out', out],
      ...one,
    ],
    inputs: ['first', 'second'],
    makes: 'folder',
    last: '/manifest.json',
  },
  evaluate: {
    make: (out) => [
      ...['evaluate', '--old', 'features', '--new', 'new=mirrored', '--out', out],
      ...['--resamples', '10', '--impostors', '2000', '--figures'],
    ],
    inputs: ['features', 'mirrored'],
    makes: 'folder',
    last: '/manifest.json',
  },
  plan: {
    make: (out) => ['plan', 'judged', '--metric', 'rank-1', '--gallery', 'features', '--out', out],
    inputs: ['judged', 'features'],
    makes: 'folder',
    last: '/manifest.json',
  },
  pack: {
    make: (out) => [
      ...['evaluate', 'pack', '--out', out, '--model', 'run', ...QUIET],
      ...packs.flatMap((path) => ['--pack', path]),
    ],
    inputs: ['run'],
    makes: 'folder',
    last: '/manifest.json',
  },
  ijb: {
    make: (out) => [
      ...['evaluate', 'ijb', '--data', 'ijb', '--model', 'run', '--out', out, '--features', `${out}-features`],
      ...['--resamples', '10', '--batch-size', '16', ...QUIET],
    ],
    inputs: ['run', 'ijb'],
    makes: 'folder',
    last: '/manifest.json',
  },
  thresholds: {
    make: (out) => ['thresholds', 'judged', '--out', `${out}.json`],
    inputs: ['judged'],
    makes: 'files',
    last: '.json',
    again: ['--force', '--force'],
  },
  report: {
    make: (out) => [
      ...['report', 'judged', '--html', `${out}.html`, '--markdown', `${out}.md`, '--figures', `${out}-figures`],
    ],
    inputs: ['judged'],
    makes: 'files',
    again: ['--force', '--force'],
  },
};

/** Writes what the commands read: small, so that each takes a second. */
export async function writeInputs(folder: string): Promise<void> {
  await writeTinySet(join(folder, 'set'), { perClass: new Array<number>(30).fill(12) });
  await writeSmallIjb(join(folder, 'ijb'), { subjects: 6 });
  const { file, ...about } = checkpoint;
  await importModel(checkpointPath(file), about, join(folder, 'run'));
  const network = { name: 'vit_t', embeddingDim: 8, inputSide: 16, width: 1 / 32, dropPath: 0, maskRatio: 0 };
  const recipe = { network, batchSize: 12, epochs: 2 };
  writeFileSync(join(folder, 'recipe.json'), JSON.stringify(recipe));
  const small = { ...recipe, epochs: 1 };
  const stages = {
    classes: { do: 'hold-out', of: './set', classes: 9 },
    some: { do: 'sample', of: 'classes.train', perClass: 6 },
    old: { do: 'train', on: 'some', recipe: small },
    'old-features': { do: 'extract', model: 'old', of: 'some' },
    credible: { do: 'denoise', features: 'old-features' },
    means: { do: 'average', features: 'old-features' },
    new: { do: 'train', on: 'some', recipe: { ...small, method: { kind: 'l2' } }, old: { features: 'old-features' } },
    'old-eval': { do: 'extract', model: 'old', of: 'classes.eval' },
    'new-eval': { do: 'extract', model: 'new', of: 'classes.eval' },
    judge: { do: 'evaluate', old: 'old-eval', new: { l2: 'new-eval' }, resamples: 10, impostors: 2000 },
  };
  writeFileSync(join(folder, 'experiment.json'), JSON.stringify({ title: 'small', stages }));
  const pixels = Buffer.from(`P5 16 16 255\n${'\x40'.repeat(256)}`, 'latin1');
  for (let label = 0; label < 20; label++) {
    mkdirSync(join(folder, 'photos', `class ${label}`), { recursive: true });
    for (let i = 0; i < 20; i++) writeFileSync(join(folder, 'photos', `class ${label}`, `${i}.pgm`), pixels);
  }
  const [count, dim] = [600, 16];
  const rows = Array.from({ length: count * dim }, (_, i) => Math.sin(i) + Math.cos(Math.floor(i / (12 * dim))));
  writeFileSync(join(folder, 'rows.npy'), foreignNpy('<f4', [count, dim], rows));
  const labels = Array.from({ length: count }, (_, i) => Math.floor(i / 12));
  writeFileSync(join(folder, 'labels.npy'), foreignNpy('<i4', [count], labels));
  writeTwoModels(folder);
  for (const words of [
    ...['first', 'second'].map((name) => [
      'import-features',
      `${name}.npy`,
      '--labels',
      'two-labels.npy',
      '--out',
      name,
    ]),
    writers['adapt-fit']!.make('adapter'),
    ['extract', 'run', '--data', 'set', '--out', 'features', ...QUIET],
    ['extract', 'run', '--data', 'set', '--out', 'mirrored', '--flip', 'mean', ...QUIET],
    writers['evaluate']!.make('judged'),
    writers['embed-shard']!.make('photos'),
  ]) {
    const { code, err } = mixbct(folder, ...words);
    if (code !== 0) throw new Error(`mixbct ${words.join(' ')}: ${err}`);
  }
}
