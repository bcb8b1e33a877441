// Zeros among a model's embeddings are counted and told, too many are refused; missing ones are skipped for all models.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { Rng } from '../base/rng.ts';
import type { Evaluation } from '../eval/index.ts';
import { writeFeatureSet } from '../features/index.ts';

const [CLASSES, EACH, DIM] = [30, 6, 8];

async function writeModel(path: string, zeros: readonly number[], missing: readonly number[] = []): Promise<void> {
  const rng = new Rng(path.at(-1)!);
  const rows = Float32Array.from({ length: CLASSES * EACH * DIM }, (_, k) =>
    [...zeros, ...missing].includes(Math.floor(k / DIM)) ? 0 : rng.uniform() - 0.5,
  );
  const labels = Int32Array.from({ length: CLASSES * EACH }, (_, i) => Math.floor(i / EACH));
  const about = { dim: DIM, classes: CLASSES, model: null, dataset: null, flip: 'none' as const };
  await writeFeatureSet(path, { ...about, labels, families: labels.map(() => -1) }, {}, ({ append, markMissing }) => {
    append(rows);
    markMissing(missing.map((row) => ({ row, id: `image ${row}`, problem: 'unreadable' })));
  });
}

test('a model with too many zeros is refused by name; with few the report and evaluation.json count them', async (t) => {
  const folder = testFolder(t);
  await writeModel(join(folder, 'a'), []);
  await writeModel(join(folder, 'b'), [3, 50, 121]);
  const evaluate = (...args: readonly string[]) =>
    mixbct(folder, 'evaluate', '--old', 'a', '--new', 'dead=b', '--out', 'out', '--resamples', '20', ...args);
  const refused = evaluate();
  assert.equal(refused.code, 2, refused.err);
  assert.match(
    refused.err,
    /dead: 3 of 180 embeddings are zeros \(1\.67 %\), wanted at most 1 %[\s\S]*--max-zero-share/,
  );
  assert.ok(!existsSync(join(folder, 'out')));
  assert.match(evaluate('--max-zero-share', '2').err, /--max-zero-share.*wanted a number from 0 to 1/s);

  const told = /dead: 3 of 180 embeddings are zeros/;
  const { code, out, err } = evaluate('--max-zero-share', '0.02');
  assert.equal(code, 0, err);
  assert.match(out, told);
  for (const name of ['report.html', 'report.md']) assert.match(readFileSync(join(folder, 'out', name), 'utf8'), told);
  const { models, tests } = JSON.parse(readFileSync(join(folder, 'out/evaluation.json'), 'utf8')) as Evaluation;
  assert.deepEqual(
    models.map(({ zeros }) => zeros),
    [0, 3],
  );
  for (const { verification, identification } of tests)
    assert.deepEqual([verification!.tied, identification!.tied], [0, 0]);
});

test('an image that one model has no embedding of is skipped for all, and what does not fit into memory is refused', async (t) => {
  const folder = testFolder(t);
  await writeModel(join(folder, 'a'), [], [7]);
  await writeModel(join(folder, 'b'), [], [50, 121]);
  const evaluate = (...args: readonly string[]) =>
    mixbct(folder, 'evaluate', '--old', 'a', '--new', 'fresh=b', '--out', 'out', '--resamples', '20', ...args);
  const { code, err, out } = evaluate('--probes', '100', '--genuines', '200');
  assert.equal(code, 0, err);
  assert.match(out, /3 more images are skipped for all models/);
  assert.match(out, /a draw of 200 of 435\s+genuine pairs[\s\S]*a draw of 100 of 147\s+probes/);
  const { dataset, protocol, models } = JSON.parse(
    readFileSync(join(folder, 'out/evaluation.json'), 'utf8'),
  ) as Evaluation;
  assert.deepEqual([dataset.images, dataset.missing], [177, 3]);
  assert.deepEqual([protocol.genuinePairsInAll, protocol.probesInAll], [435, 147]);
  assert.ok(models.every(({ zeros }) => zeros === 0), 'a missing embedding is no zero of the model'); // biome-ignore format: short
  const refused = evaluate('--memory', '0.1', '--force');
  assert.equal(refused.code, 2);
  assert.match(refused.err, /takes about 0\.\d+ GB, it may take 0\.10 GB\n.*--memory 1/);
});
