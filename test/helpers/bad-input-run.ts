import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { packageRoot } from '../../src/base/version.ts';
import { encodePgm } from '../../src/data/decode.ts';
import { writeOddities } from './bad-input.ts';
import { oddCheckpointPath, scriptedPath } from './checkpoints.ts';
import { mixbct } from './cli.ts';
import { pattern, writeTinySet } from './images.ts';
import { onnxPath } from './onnx.ts';
import { writeTwoModels } from './paired-rows.ts';
import { writeSqliteGallery } from './sqlite-gallery.ts';

/** How one case ended. */
export type BadOutcome = {
  readonly i: number;
  readonly words: readonly string[];
  readonly what: string;
  readonly code: number | null;
  readonly text: string;
  /** Files that stood there before and are other ones now, and files that are new. */
  readonly changed: readonly string[];
  readonly left: readonly string[];
  readonly ms: number;
};

/** One of everything that commands read and write, small, and things that are no good for any. */
export async function writeSandbox(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await writeTinySet(join(folder, 'set'), { perClass: new Array(6).fill(4), families: 2 });
  for (const [name, label] of [['a', 0], ['b', 1], ['c', 2]] as const) {
    mkdirSync(join(folder, 'photos', name), { recursive: true });
    for (const i of [1, 2]) writeFileSync(join(folder, 'photos', name, `${i}.pgm`), encodePgm(pattern(label, i, 16), 16, 16)); // biome-ignore format: short
  } // biome-ignore format: a table
  writeFileSync(
    join(folder, 'recipe.yaml'),
    'network: { name: r18, embeddingDim: 8, inputSide: 16, width: 0.0625 }\nepochs: 1\nbatchSize: 8\n',
  );
  writeFileSync(
    join(folder, 'tiny.yaml'),
    'title: tiny\nstages:\n  data: { do: split, of: ./set, by: class, ratio: 0.5 }\n  old: { do: train, on: data.first, recipe: recipe.yaml }\n',
  );
  cpSync(oddCheckpointPath('half_legacy.pt'), join(folder, 'model.pt'));
  cpSync(onnxPath('rgb_nchw.onnx'), join(folder, 'model.onnx'));
  writeTwoModels(folder);
  cpSync(scriptedPath, join(folder, 'net.pt'));
  for (const line of [
    'import-model model.onnx --pixels imagenet --out theirs',
    'train recipe.yaml --data set --out model --threads 1',
    'extract model --data set --out features --threads 1',
    'embed model photos --out photos.npy --shard 1/1 --threads 1',
    'denoise features --out credible --threads 1',
    'average features --out prototypes --threads 1',
    'import-features first.npy --labels two-labels.npy --out first',
    'import-features second.npy --labels two-labels.npy --out second',
    'adapt fit --old first --new second --direction query --metric rank-1 --candidates ridge --resamples 10 --out adapter --threads 1',
    'evaluate --old features --new a=features --resamples 10 --impostors 50 --out judged',
  ]) {
    const { code, err } = mixbct(folder, ...line.split(' '));
    if (code !== 0) throw new Error(`mixbct ${line}: ${err}`);
  }
  writeFileSync(join(folder, 'model/events.jsonl'), '{"step":1,"time":"2026-01-01T00:00:00.000Z","message":"news"}\n');
  await writeSqliteGallery(join(folder, 'gallery.db'));
  cpSync(join(packageRoot, 'test/golden/parquet/snappy.parquet'), join(folder, 'rows.parquet'));
  writeFileSync(join(folder, 'list.jsonl'), '{"id":"1","path":"photos/a/1.pgm"}\n');
  const ids = Array.from({ length: 24 }, (_, i) => `${JSON.stringify(`${i}.pgm`)}\n`);
  writeFileSync(join(folder, 'set.ids.jsonl'), ids.join(''));
  writeOddities(folder);
}

/** Runs cases `from` … `to` in a process of their own; one that dies or hangs is an outcome too, and the next go on without it. */
export async function runBadInput(
  sandbox: string,
  {
    seed,
    from,
    to,
    onOutcome,
    caseMs = 180_000,
  }: {
    readonly seed: string;
    readonly from: number;
    readonly to: number;
    readonly onOutcome: (outcome: BadOutcome) => void;
    readonly caseMs?: number;
  },
): Promise<void> {
  const worker = join(import.meta.dirname, 'bad-input-worker.js');
  for (let next = from; next < to; ) {
    const child = spawn(process.execPath, [worker, sandbox, seed, String(next), String(to)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // without a path there is no npm and no apt-get, without a region no object storage: nothing is fetched
      env: { ...withoutStorage(process.env), PATH: '', NO_COLOR: '1', OMP_NUM_THREADS: '1' },
    });
    let open: Pick<BadOutcome, 'i' | 'words' | 'what'> | undefined;
    let [stderr, hung] = ['', false];
    child.stderr.on('data', (chunk) => (stderr += chunk));
    let timer: NodeJS.Timeout | undefined;
    const watch = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        hung = true;
        child.kill('SIGKILL');
      }, caseMs);
    };
    watch();
    createInterface({ input: child.stdout }).on('line', (line) => {
      const told = JSON.parse(line);
      watch();
      if ('words' in told) open = told;
      else if (open) {
        onOutcome({ ...open, ...told });
        next = open.i + 1;
        open = undefined;
      }
    });
    await new Promise((resolve) => child.once('close', resolve));
    clearTimeout(timer);
    if (!open && next < to)
      throw new Error(`the process of the cases ${hung ? `said nothing for ${caseMs} ms` : `ended (${child.signalCode ?? child.exitCode})`}: ${stderr}`); // biome-ignore format: short
    if (!open) return;
    const how = hung
      ? `did not end within ${caseMs} ms`
      : `died: ${child.signalCode ?? child.exitCode} ${stderr.slice(0, 2000)}`;
    onOutcome({ ...open, code: null, text: how, changed: [], left: [], ms: caseMs });
    next = open.i + 1;
  }
}

/** An environment that names no object storage, and no files that do. */
const withoutStorage = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('AWS_'))),
  ...{ AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_EC2_METADATA_DISABLED: 'true' },
});

/** What is wrong with how a case ended; null if nothing is. */
export function complaint({ code, text, changed, left }: BadOutcome): string | null {
  if (code === null) return text;
  if (/internal error|\n\s+at .*(node:|\.js:|file:)/.test(text)) return `a stack: ${text.slice(0, 1500)}`;
  if (code !== 0 && code !== 2) return `exit code ${code}: ${text.slice(0, 500)}`;
  if (changed.length > 0) return `changed ${changed.slice(0, 5).join(', ')}: ${text.slice(0, 300)}`;
  if (code === 2 && left.length > 0) return `left ${left.slice(0, 5).join(', ')}: ${text.slice(0, 300)}`;
  return text.trim() === '' ? 'not a word' : null;
}
