// A run that fails while it starts, or at its first step, leaves nothing that keeps its process alive.
import assert from 'node:assert/strict';
import fs, { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { mixbctProcess } from '../../test/helpers/cli.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { oldSide, tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { Interrupted } from '../base/errors.ts';
import { Loader, openDataset, sequentialOrder } from '../data/index.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { setThreads } from '../torch/index.ts';
import { noOldModelInputs } from './old-model-inputs.ts';

before(() => setThreads(1));

const threads = (): number => readdirSync('/proc/self/task').length;

test('whatever fails while a run starts, its decoding threads end with it', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const { features } = await oldSide(folder, dataset);
  const at = (name: string): string => join(folder, name);
  const projected = {
    method: { kind: 'nccl' },
    network: { ...tinyRecipe().network, embeddingDim: 4 },
    projection: { dim: 8 },
  };
  const old = { ...noOldModelInputs, forBatch: () => assert.fail('no old row') };
  mkdirSync(at('full'));
  const stages: Record<string, [wanted: RegExp, start: () => Promise<unknown>]> = {
    'its output': [/full/, () => trained(dataset, at('full'))],
    'its batch': [/do not fill one batch/, () => trained(dataset, at('a'), { batchSize: 500 })],
    'its classes': [/pretend\.classes/, () => trained(dataset, at('b'), { pretend: { classes: 2, images: 50 } })],
    'its method': [/beta of nccl/, () => trained(dataset, at('c'), projected, { paths: { features } })],
    'its checkpoint': [/no checkpoint/, () => trained(dataset, at('d'), {}, { resume: true })],
    'a damaged checkpoint': [
      /no checkpoint is intact/,
      async () => {
        await assert.rejects(trained(dataset, at('e'), {}, { signal: AbortSignal.abort() }), Interrupted);
        for (const file of [runFiles(at('e')).checkpoint, runFiles(at('e')).previous]) writeFileSync(file, 'torn');
        await trained(dataset, at('e'), {}, { resume: true });
      },
    ],
    'its first step': [/no old row/, () => trained(dataset, at('f'), {}, { old })],
  };
  const idle = threads();
  for (const [stage, [wanted, start]] of Object.entries(stages)) {
    await assert.rejects(start(), wanted, stage);
    assert.equal(threads(), idle, `${stage}: threads are left`);
  }
});

test('decoding threads that cannot open their data say so, and end', async (t) => {
  const { folder } = await tinySet(t);
  const prefix = join(folder, 'gone');
  await writeTinySet(prefix, { perClass: [4, 4] });
  const dataset = openDataset(prefix);
  assert.equal(dataset.labels().length, 8); // read from the same file
  rmSync(`${prefix}.rec`);
  const idle = threads();
  {
    await using loader = new Loader(dataset, { workers: 2 });
    const batches = loader.epoch({ batchSize: 4, imageSide: 16, order: sequentialOrder(8) });
    await assert.rejects(batches.next(), /gone\.rec/);
  }
  assert.equal(threads(), idle);
  dataset.close();
});

test('the process ends too', async (t) => {
  const { folder, prefix } = await tinySet(t);
  const { network, batchSize } = tinyRecipe();
  const recipe = { network: { name: network.name, embeddingDim: 8, inputSide: 16, width: 0.0625 }, batchSize };
  writeFileSync(join(folder, 'recipe.json'), JSON.stringify({ ...recipe, pretend: { classes: 2, images: 50 } }));
  const { code, err } = mixbctProcess(
    folder,
    'train',
    'recipe.json',
    '--data',
    prefix,
    '--out',
    'run',
    '--workers',
    '2',
  );
  assert.equal(code, 2, err);
  assert.match(err, /pretend\.classes is 2/);
});

test('a finished run that cannot be moved aside is kept: --force has replaced nothing', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  await trained(dataset, out, { epochs: 1 });
  const before = weights(out);
  const { renameSync } = fs;
  // as an overlay does with folders of a lower layer
  fs.renameSync = (from, to) => {
    if (String(to).endsWith('.run.replaced')) throw Object.assign(new Error('EXDEV: rename'), { code: 'EXDEV' });
    renameSync(from, to);
  };
  syncBuiltinESMExports();
  try {
    await assert.rejects(
      trained(dataset, out, { epochs: 1, seed: 8 }, { force: true }),
      /run cannot be moved aside to be replaced \(EXDEV\): it stays\n {2}hint: move it away/,
    );
  } finally {
    fs.renameSync = renameSync;
    syncBuiltinESMExports();
  }
  assert.deepEqual(weights(out), before);
  await trained(dataset, out, { epochs: 1, seed: 8 }, { force: true });
  assert.notDeepEqual(weights(out), before);
});
