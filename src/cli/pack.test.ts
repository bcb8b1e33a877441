// Verification packs from pickles to accuracies, with every kind of backbone.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { packDataset, readPack } from '../data/index.ts';
import { foldedAccuracy, packEmbeddings, pairDistances, requireFoldablePairs } from '../eval/index.ts';
import { embedFaces } from '../features/index.ts';
import { importModel } from '../runs/import-model.ts';
import { openEncoder } from '../runs/open-encoder.ts';

const packs = resolve(import.meta.dirname, '../../../test/golden/packs');
const [one, other] = ['python2-protocol2.bin', 'python3-protocol4.bin'].map((name) => join(packs, name)) as [
  string,
  string,
];

test('every backbone is judged, on itself and on the old gallery, and the folds are kept', async (t) => {
  const folder = testFolder(t);
  const networks = checkpoints.networks.filter(({ file }) => ['r18.pt', 'mbf.pt', 'vit_t.pt'].includes(file));
  for (const { file, ...about } of networks)
    await importModel(checkpointPath(file), about, join(folder, about.network));
  const [r18, ...news] = networks.map(({ network }) => network) as [string, ...string[]];
  const { code, out, err } = mixbct(
    folder,
    ...['evaluate', 'pack', '--pack', one, '--pack', other, '--old', r18, '--threads', '1', '--json'],
    ...news.flatMap((name) => ['--model', name]),
    ...['--out', 'accuracy', '--workers', '0'],
  );
  assert.equal(code, 0, err);
  const results = JSON.parse(out) as readonly {
    readonly pack: string;
    readonly query: string;
    readonly gallery: string;
    readonly mean: number;
    readonly std: number;
    readonly folds: readonly number[];
    readonly thresholds: readonly number[];
    readonly meanNorm: number;
  }[];
  assert.equal(
    results.length,
    2 * (1 + 2 * 2),
    'both packs: the old model on itself, two new ones on themselves and on it',
  );
  assert.deepEqual(JSON.parse(readFileSync(join(folder, 'accuracy/accuracy.json'), 'utf8')), results);
  const exported = mixbct(folder, 'export', r18, '--to', 'safetensors', '--out', 'old.safetensors', '--evaluation', 'accuracy', '--threads', '1'); // biome-ignore format: short
  assert.equal(exported.code, 0, exported.err);
  const card = readFileSync(join(folder, 'old.safetensors.model-card.md'), 'utf8');
  assert.match(card, /\n## Evaluation\n\nThat these figures are of this model was not checked/);
  const { mean, std, thresholds } = results[0]!;
  const cosines = thresholds.map((distance) => 1 - distance / 2);
  const [low, high] = [Math.min(...cosines), Math.max(...cosines)].map((cosine) => cosine.toFixed(3));
  const row = `| ${r18} → ${r18} | ${(100 * mean).toFixed(2)} ± ${(100 * std).toFixed(2)} % | ${low === high ? low : `${low} to ${high}`} |`;
  assert.ok(card.includes(row), `${card}\n${row}`);
  const pack = readPack(one);
  using images = packDataset(pack);
  const rowsOf = async (run: string) => {
    using encoder = await openEncoder(join(folder, run));
    const faces = await embedFaces(images, encoder, { workers: 0 });
    return { ...packEmbeddings(faces), dim: faces.dim };
  };
  const old = await rowsOf(r18);
  for (const name of news) {
    const rows = await rowsOf(name);
    for (const [gallery, from] of [
      [name, rows],
      [r18, old],
    ] as const) {
      const found = results.find(
        (r) => r.pack === 'python2-protocol2.bin' && r.query === name && r.gallery === gallery,
      )!;
      const expected = foldedAccuracy(pairDistances(from.rows, rows.rows, rows.dim), pack.same);
      assert.deepEqual([found.mean, found.std, found.folds], [expected.mean, expected.std, expected.folds]);
      assert.equal(found.meanNorm, rows.meanNorm);
    }
  }
});

test('an evaluation of packs that was killed goes on behind the last pack it had embedded, to the same bytes', async (t) => {
  const folder = testFolder(t);
  const { file, ...about } = checkpoints.networks.find((network) => network.file === 'mbf.pt')!;
  await importModel(checkpointPath(file), about, join(folder, 'run'));
  const args = [
    'evaluate',
    'pack',
    '--pack',
    one,
    '--pack',
    other,
    '--model',
    'run',
    '--threads',
    '1',
    '--workers',
    '0',
  ];
  assert.equal(mixbct(folder, ...args, '--out', 'whole').code, 0);
  const main = resolve(import.meta.dirname, 'main.js');
  const child = spawn(process.execPath, [main, ...args, '--out', 'cut'], { cwd: folder, stdio: 'ignore' });
  const kept = () => {
    const part = readdirSync(folder).find((name) => /^\.cut\.[0-9a-f]{16}\.part$/.test(name));
    return part ? readdirSync(join(folder, part)).filter((name) => /^kept-.*npy$/.test(name)).map((name) => join(folder, part, name)) : []; // biome-ignore format: short
  };
  while (kept().length === 0 && child.exitCode === null) await setTimeout(5);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const left = kept();
  assert.ok(left.length > 0 && !existsSync(join(folder, 'cut')));
  const again = mixbct(folder, ...args, '--out', 'cut', '--resume');
  assert.equal(again.code, 0, again.err);
  assert.deepEqual(contents(join(folder, 'cut')), contents(join(folder, 'whole')));
  assert.equal(again.err.match(/embed/g)?.length ?? 0, 2 - left.length, again.err);
});

/** Files of a folder, and what they hold. */
const contents = (path: string) => readdirSync(path).sort().map((name) => [name, readFileSync(join(path, name), 'utf8')]); // biome-ignore format: short

test('pairs that ten folds say nothing about are refused before anything is embedded', (t) => {
  const path = join(testFolder(t), 'x.bin');
  assert.throws(() => requireFoldablePairs(path, [true, false, true]), /x\.bin: 3 pairs do not fill 10 folds/);
  assert.throws(() => requireFoldablePairs(path, new Array(20).fill(true)), /x\.bin: all 20 pairs are genuine/);
  assert.throws(() => requireFoldablePairs(path, new Array(20).fill(false)), /x\.bin: all 20 pairs are impostors/);
  requireFoldablePairs(path, [...new Array(9).fill(true), false]);
});

test('a pack that is none, and a model that is none, are refused by name', (t) => {
  const folder = testFolder(t);
  const refused = (message: RegExp, ...args: readonly string[]): void => {
    const { code, err } = mixbct(folder, 'evaluate', 'pack', '--out', 'out', ...args);
    assert.equal(code, 2, err);
    assert.match(err, message);
    assert.ok(!existsSync(join(folder, 'out')));
  };
  refused(/nothing to judge/, '--pack', one);
  refused(/nowhere: is no finished run/, '--pack', one, '--model', 'nowhere');
  writeFileSync(join(folder, 'text.bin'), 'no pickle');
  refused(/nowhere: is no finished run/, '--pack', 'text.bin', '--model', 'nowhere');
});
