// node dist/scripts/compare-bytes.js --with FOLDER [--keep]: a small experiment with the compiled checkout in FOLDER and with this one, each
// command in a folder of its own; then every file of both is compared. Exit code 1: something but the stated fields differs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { packageRoot } from '../src/base/version.ts';
import { GLYPH_SHEET, readGlyphs } from '../test/helpers/glyphs.ts';

/** Fields of manifests and logs that differ between two runs, or between two versions. */
const VARYING = ['seconds', 'dataWaitShare', 'samplesPerSecond', 'mixbct'];
/** Of the records of stages: digests of manifests, which change with any new field of a manifest. */
const VARYING_OF_STAGES = ['inputs', 'of'];
/** The training that is killed, its first checkpoint, and where that is kept for the comparison. */
const KILLED = {
  command: 'train old.yaml',
  checkpoint: 'old/checkpoint.safetensors',
  kept: 'first-checkpoint.safetensors',
};

/** Differences of one file that are printed. */
const MOST_SHOWN = 8;

const NETWORK = { name: 'r18', embeddingDim: 16, inputSide: 32, width: 0.125 };
const COMMON = {
  optimizer: { kind: 'adamw', lr: 3e-3 },
  augment: { flip: false, rotateDeg: 8 },
  epochs: 2,
  batchSize: 16,
};
const recipe = (method: object) => ({ network: NETWORK, head: { kind: 'arcface' }, method, ...COMMON });
const recipes = {
  old: { network: NETWORK, head: { kind: 'softmax' }, ...COMMON },
  mixbct: recipe({ kind: 'mixbct', ratio: 0.4 }),
  bct: recipe({ kind: 'bct' }),
  nccl: recipe({ kind: 'nccl', queueSize: 64 }),
  l2: {
    ...recipe({ kind: 'l2' }),
    network: { ...NETWORK, embeddingDim: 24 },
    projection: { dim: 16 },
    precision: 'bf16',
  },
};
const experiment = {
  title: 'Bytes',
  stages: {
    classes: { do: 'hold-out', of: './set', classes: 12 },
    data: { do: 'split', of: 'classes.train', by: 'data', ratio: 0.5 },
    old: { do: 'train', on: 'data.first', recipe: './old.yaml' },
    features: { do: 'extract', model: 'old', of: 'data.second', flip: 'mean' },
    prototypes: { do: 'average', features: 'features' },
    new: {
      do: 'train',
      on: 'data.second',
      old: { prototypes: 'prototypes' },
      recipe: './bct.yaml',
    },
    'old-eval': { do: 'extract', model: 'old', of: 'classes.eval' },
    'new-eval': { do: 'extract', model: 'new', of: 'classes.eval' },
    judge: { do: 'evaluate', old: 'old-eval', new: { bct: 'new-eval' }, resamples: 50 },
  },
};

const old = (...names: readonly string[]): string => names.map((name) => `--old-${name} ${name}`).join(' ');
const NEW = '--data set_train_part_70_class';
const commands = [
  'data import photos --out set',
  'data split set --hold-out 20 --seed 1',
  'data split set_train --by class --ratio 0.3',
  'train old.yaml --data set_train_part_30_class --out old --save-every 3', // killed at its first checkpoint
  'train old.yaml --data set_train_part_30_class --out old --save-every 3 --resume',
  `extract old ${NEW} --out features`,
  'denoise features --keep 0.8 --out credible',
  'average features --out prototypes',
  'boundaries features --out boundaries',
  `train mixbct.yaml ${NEW} ${old('features', 'credible')} --out mixbct --workers 2`,
  `train bct.yaml ${NEW} ${old('prototypes')} --out bct`,
  `train nccl.yaml ${NEW} ${old('features')} --out nccl`,
  `train l2.yaml ${NEW} ${old('features')} --out l2`,
  `launch --nproc 2 -- train mixbct.yaml ${NEW} ${old('features', 'credible')} --out launched`,
  'extract old --data set_eval --out old-eval',
  'extract mixbct --data set_eval --out mixbct-eval --flip mean',
  'extract l2 --data set_eval --out l2-eval --space old',
  'launch --nproc 2 -- extract bct --data set_eval --out bct-eval',
  'evaluate --old old-eval --new mixbct=mixbct-eval --new bct=bct-eval --new l2=l2-eval --resamples 50 --out judged',
  'report judged --markdown report.md --figures figures',
  'run experiment.yaml --out experiment',
];

const main = (root: string): string => join(root, 'dist/src/cli/main.js');

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Where two documents differ, as `path: a → b`; `new …` where only the second has a field. */
function* differences(a: Json, b: Json, varying: readonly string[], at = ''): Generator<string> {
  if (
    typeof a !== 'object' ||
    typeof b !== 'object' ||
    a === null ||
    b === null ||
    Array.isArray(a) !== Array.isArray(b)
  ) {
    if (a !== b) yield `${at}: ${JSON.stringify(a)} → ${JSON.stringify(b)}`;
    return;
  }
  const [x, y] = [a, b] as readonly Readonly<Record<string, Json>>[];
  for (const key of new Set([...Object.keys(x!), ...Object.keys(y!)])) {
    if (varying.includes(key)) continue;
    const path = at === '' ? key : `${at}.${key}`;
    if (!(key in x!)) yield `new ${path}: ${JSON.stringify(y![key])}`;
    else if (!(key in y!)) yield `${path} is gone`;
    else yield* differences(x![key]!, y![key]!, varying, path);
  }
}

const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort();

/** What differs between two files of one name. */
function compared(a: string, b: string): string[] {
  const [x, y] = [readFileSync(a), readFileSync(b)];
  if (x.equals(y)) return [];
  const documents = (bytes: Buffer): Json =>
    a.endsWith('.jsonl')
      ? bytes
          .toString()
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as Json)
      : (JSON.parse(bytes.toString()) as Json);
  const varying = a.includes('/.stages/') ? [...VARYING, ...VARYING_OF_STAGES] : VARYING;
  if (/\.jsonl?$/.test(a)) return [...differences(documents(x), documents(y), varying)];
  return [`${x.length} and ${y.length} bytes, the first other one at ${x.findIndex((byte, i) => byte !== y[i])}`];
}

/** Writes what both begin with: drawings as photographs, recipes and the experiment. */
async function writeInputs(folder: string): Promise<void> {
  const glyphs = await readGlyphs();
  const { subjects, faces, side } = GLYPH_SHEET;
  for (let subject = 0; subject < subjects; subject++)
    for (let face = 0; face < faces; face++) {
      const path = join(folder, 'photos', `${String(subject).padStart(2, '0')}`, `${face}.png`);
      mkdirSync(dirname(path), { recursive: true });
      const raw = { width: side, height: side, channels: 3 } as const;
      await sharp(glyphs(subject, face), { raw }).toColourspace('b-w').png().toFile(path);
    }
  for (const [name, content] of Object.entries({ ...recipes, experiment }))
    writeFileSync(join(folder, `${name}.yaml`), JSON.stringify(content));
}

/** Runs a command of the build in `root`; with `kill`, until its first checkpoint. @throws Error if it fails. */
async function run(root: string, cwd: string, words: string, kill: boolean): Promise<void> {
  const env = { ...process.env, OMP_NUM_THREADS: '1', NO_COLOR: '1' };
  const child = spawn(process.execPath, [main(root), ...words.split(' ')], { cwd, env });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  const ended = once(child, 'close');
  while (kill && child.exitCode === null && !existsSync(join(cwd, KILLED.checkpoint))) await setTimeout(2);
  if (kill) child.kill('SIGKILL');
  const [code, signal] = await ended;
  if (kill ? signal !== 'SIGKILL' : code !== 0)
    throw new Error(`mixbct ${words} in ${root} ended with ${signal ?? code}\n${said}`);
  if (kill) copyFileSync(join(cwd, KILLED.checkpoint), join(cwd, KILLED.kept));
}

const { values } = parseArgs({ options: { with: { type: 'string' }, keep: { type: 'boolean', default: false } } });
const other = resolve(values.with ?? '');
if (values.with === undefined || !existsSync(main(other))) {
  process.stderr.write(`--with ${values.with ?? ''}: wanted the folder of a compiled checkout\n`);
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), 'mixbct-bytes-'));
const [before, now] = [join(folder, 'before'), join(folder, 'now')];
const counts = { equal: 0, newFields: 0, differ: 0, gone: 0 };
try {
  for (const [root, into] of [
    [other, before],
    [packageRoot, now],
  ] as const) {
    mkdirSync(into);
    await writeInputs(into);
    for (const [i, words] of commands.entries()) {
      const start = performance.now();
      await run(root, into, words, i === commands.findIndex((one) => one.startsWith(KILLED.command)));
      process.stderr.write(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  mixbct ${words}\n`);
    }
  }
  const [a, b] = [filesOf(before), filesOf(now)];
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  for (const name of b.filter((one) => !a.includes(one))) say(`${name}: new`);
  for (const name of a) {
    const found = b.includes(name) ? compared(join(before, name), join(now, name)) : ['is gone'];
    const kind = found.length === 0 ? 'equal' : found.every((one) => one.startsWith('new ')) ? 'newFields' : 'differ';
    counts[b.includes(name) ? kind : 'gone']++;
    for (const one of found.slice(0, MOST_SHOWN)) say(`${name}: ${one}`);
  }
  say(`without ${[...VARYING, ...VARYING_OF_STAGES].join(', ')}: ${counts.equal} files are equal`);
  say(`${counts.newFields} have new fields, ${counts.differ} differ, ${counts.gone} are gone`);
} finally {
  if (values.keep) process.stderr.write(`kept ${folder}\n`);
  else rmSync(folder, { recursive: true, force: true });
}
process.exit(counts.differ + counts.gone > 0 ? 1 : 0);
