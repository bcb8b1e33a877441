// Kills a command at random moments, again and again, and lets it end: its files must be those of one that nobody disturbed.
import { spawn, spawnSync } from 'node:child_process';
import {
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
import { basename, dirname, join, resolve } from 'node:path';
import type { Rng } from '../../src/base/rng.ts';
import { packageRoot } from '../../src/base/version.ts';
import { importModel } from '../../src/train/import.ts';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { writeSmallIjb } from '../../test/helpers/ijb.ts';
import { writeTinySet } from '../../test/helpers/images.ts';

const main = join(packageRoot, 'dist/src/cli/main.js');
const packs = resolve(packageRoot, 'test/golden/packs');
const QUIET = ['--threads', '1', '--workers', '1'];

/** The command that fills `out`, in a folder with `set`, `run` and `ijb`. */
const commands: Readonly<Record<string, (out: string) => readonly string[]>> = {
  train: (out) => ['train', 'recipe.json', '--data', 'set', '--out', out, '--save-every', '3', ...QUIET],
  extract: (out) => ['extract', 'run', '--data', 'set', '--out', out, '--batch-size', '8', ...QUIET],
  import: (out) => ['data', 'import', 'photos', '--out', out],
  split: (out) => ['data', 'split', 'set', '--by', 'class', '--ratio', '0.4', '--out', out],
  pack: (out) => [
    ...['evaluate', 'pack', '--out', out, '--model', 'run', ...QUIET],
    ...['python2-protocol2.bin', 'python3-protocol4.bin'].flatMap((name) => ['--pack', join(packs, name)]),
  ],
  ijb: (out) => [
    ...['evaluate', 'ijb', '--data', 'ijb', '--model', 'run', '--out', out, '--features', `${out}-features`],
    ...['--resamples', '10', '--batch-size', '16', ...QUIET],
  ],
};
export const commandNames = Object.keys(commands);

/** What differs between two runs that make the same: when, where and how long. */
const TOLD = /"(seconds|dataWaitShare|name|path)": .*|.*\.jsonl?:.*/g;

/** Files whose path begins with `prefix`, by what follows, and what they hold. */
function filesAt(prefix: string): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (path: string): void => {
    if (statSync(path).isDirectory()) for (const name of readdirSync(path)) walk(join(path, name));
    else if (!path.endsWith('log.jsonl')) {
      const text = readFileSync(path, 'latin1');
      found.set(
        path.slice(prefix.length),
        /\.(json|html|md)$/.test(path) ? text.replaceAll(basename(prefix), 'OUT').replace(TOLD, '') : text,
      );
    }
  };
  for (const name of readdirSync(dirname(prefix)))
    if (name.startsWith(basename(prefix))) walk(join(dirname(prefix), name));
  return found;
}

/** @returns what went wrong, if anything did */
export async function killCommand(name: string, kills: number, rng: Rng): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-faults-'));
  const problems: string[] = [];
  try {
    await prepare(folder);
    const start = performance.now();
    const whole = spawnSync(process.execPath, [main, ...commands[name]!('whole')], { cwd: folder, encoding: 'utf8' });
    const tookMs = performance.now() - start;
    if (whole.status !== 0) return [`${name}: ${whole.stderr}`];
    let [killed, ended] = [0, 0];
    while (killed < kills) {
      const child = spawn(process.execPath, [main, ...again(name, folder)], { cwd: folder, stdio: 'ignore' });
      const exit = new Promise<number | null>((done) => child.once('exit', done));
      const timer = setTimeout(() => child.kill('SIGKILL'), tookMs * rng.uniform());
      const code = await exit;
      clearTimeout(timer);
      if (code === null) killed++;
      else if (code !== 0) problems.push(`${name}: exit code ${code} after ${killed} kills`);
      // a kill may come when all is done
      if (code === 0 || isFinished(folder)) {
        ended++;
        problems.push(...differences(name, folder));
        for (const left of readdirSync(folder))
          if (/^\.?cut/.test(left)) rmSync(join(folder, left), { recursive: true });
      }
      if (problems.length > 0) break;
    }
    const last = spawnSync(process.execPath, [main, ...again(name, folder)], { cwd: folder, encoding: 'utf8' });
    if (last.status !== 0) problems.push(`${name}: the last attempt ended with ${last.status}: ${last.stderr}`);
    else problems.push(...differences(name, folder));
    process.stdout.write(`${name}: ${killed} kills, ended ${ended + 1} times\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return problems;
}

/** Whether the output is there: a manifest or an index is written last. */
const isFinished = (folder: string): boolean =>
  existsSync(join(folder, 'cut/manifest.json')) || readdirSync(folder).some((file) => /^cut.*\.idx$/.test(file));

/** The command that goes on: a training has to be told so. */
function again(name: string, folder: string): readonly string[] {
  const begun = ['', '.previous'].some((old) => existsSync(join(folder, `cut/checkpoint${old}.safetensors`)));
  return [...commands[name]!('cut'), ...(name === 'train' ? (begun ? ['--resume'] : ['--force']) : [])];
}

function differences(name: string, folder: string): string[] {
  const [cut, whole] = [filesAt(join(folder, 'cut')), filesAt(join(folder, 'whole'))];
  const names = new Set([...cut.keys(), ...whole.keys()]);
  const differing = [...names].filter((file) => cut.get(file) !== whole.get(file));
  const left = readdirSync(folder).filter((file) => file.startsWith('.') && !file.endsWith('.lock')); // a dead holder's is taken over
  return [...differing.map((file) => `${name}: ${file} differs`), ...left.map((file) => `${name}: ${file} is left`)];
}

async function prepare(folder: string): Promise<void> {
  await writeTinySet(join(folder, 'set'), { perClass: new Array<number>(30).fill(12) });
  await writeSmallIjb(join(folder, 'ijb'), { subjects: 6 });
  const { file, ...about } = checkpoints.networks.find((network) => network.file === 'mbf.pt')!;
  await importModel(checkpointPath(file), about, join(folder, 'run'));
  const network = { name: 'vit_t', embeddingDim: 8, inputSide: 16, width: 1 / 32, dropPath: 0, maskRatio: 0 };
  writeFileSync(join(folder, 'recipe.json'), JSON.stringify({ network, batchSize: 12, epochs: 2 }));
  const pixels = Buffer.from(`P5 16 16 255\n${'\x40'.repeat(256)}`, 'latin1');
  for (let label = 0; label < 20; label++) {
    mkdirSync(join(folder, 'photos', `class ${label}`), { recursive: true });
    for (let i = 0; i < 20; i++) writeFileSync(join(folder, 'photos', `class ${label}`, `${i}.pgm`), pixels);
  }
}
