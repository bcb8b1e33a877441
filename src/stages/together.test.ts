// What the processes of a stage are told.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { tinySet } from '../../test/helpers/runs.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { setThreads } from '../torch/index.ts';
import { threadsOfEach } from './together.ts';
import { trainModel } from './train.ts';

test('each process has its share of the threads that were asked for; of none, the launcher shares the cores', async () => {
  delete process.env['OMP_NUM_THREADS'];
  assert.deepEqual(await threadsOfEach(2), {});
  process.env['OMP_NUM_THREADS'] = '1';
  assert.deepEqual(await threadsOfEach(2), { threads: 1 });
  setThreads(2);
  for (const [processes, threads] of [
    [1, 2],
    [2, 1],
    [3, 1],
  ] as const)
    assert.deepEqual(await threadsOfEach(processes), { threads }, `${processes}`);
  setThreads(1);
});

test('several processes train by the options that one has; hooks cannot reach them', async (t) => {
  const { folder, prefix } = await tinySet(t);
  const out = join(folder, 'run');
  const training = { recipe: tinyRecipe({ epochs: 1 }), dataset: prefix, out, processes: 2, workers: 0 };
  await assert.rejects(trainModel({ ...training, hooks: [{}] }), /run: hooks .* 2 processes/);
  await trainModel({ ...training, logEvery: 2, saveEvery: 3, skipNonFinite: 1, skipBadImages: true, overlap: false });
  const lines = readFileSync(runFiles(out).log, 'utf8').trim().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).step),
    [2, 4, 6],
  );
});
