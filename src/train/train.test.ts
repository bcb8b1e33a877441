import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { before, test } from 'node:test';
import { writeTinySet } from '../../test/helpers/images.ts';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { oldSide, tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { Interrupted } from '../base/errors.ts';
import { type Dataset, openDataset } from '../data/index.ts';
import { openCredible } from '../features/index.ts';
import { loadModel } from '../runs/load-model.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { liveTensors, setThreads } from '../torch/index.ts';
import { noOldModelInputs, openOldModelInputs } from './old-model-inputs.ts';

before(() => setThreads(1));

/** What MixBCT takes of an old model. */
async function featuresAndMask(folder: string, dataset: Dataset) {
  const { features, credible } = await oldSide(folder, dataset);
  return { features, credible };
}

test('the same seed gives the same bytes, whatever the number of workers; another seed does not', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('a'), { network: { ...tinyRecipe().network, dropout: 0.2 } }, { workers: 1 });
  for (const workers of [0, 1, 4]) {
    await trained(dataset, at(`w${workers}`), { network: { ...tinyRecipe().network, dropout: 0.2 } }, { workers });
    assert.deepEqual(weights(at(`w${workers}`)), weights(at('a')), `${workers} workers`);
  }
  await trained(dataset, at('b'), { network: { ...tinyRecipe().network, dropout: 0.2 }, seed: 1 });
  assert.notDeepEqual(weights(at('b')), weights(at('a')));
});

test('a run killed in its middle resumes to the same bytes, with and without an old model', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const paths = await featuresAndMask(folder, dataset);
  for (const [name, changes, oldPaths] of [
    ['independent', { network: { ...tinyRecipe().network, dropout: 0.2 } }, {}],
    ['mixbct', { method: { kind: 'mixbct', ratio: 0.4 }, optimizer: { kind: 'sgd', lr: 0.05 } }, paths],
  ] as const) {
    const [whole, cut] = [join(folder, `${name}-whole`), join(folder, `${name}-cut`)];
    await trained(dataset, whole, changes, { paths: oldPaths });
    const script = resolve(import.meta.dirname, '../../test/helpers/train-until-killed.js');
    const child = spawnSync(
      process.execPath,
      [script, prefix, cut, JSON.stringify(changes), JSON.stringify(oldPaths), '10'],
      { encoding: 'utf8' },
    );
    assert.equal(child.signal, 'SIGKILL', child.stderr);
    assert.equal(readFileSync(`${cut}.killed`, 'utf8'), '10', 'epochs have 6 steps: killed in the second');
    assert.throws(() => loadModel(cut), /is no finished run\n.*--resume/);
    await assert.rejects(
      trained(dataset, cut, changes, { paths: oldPaths }),
      /an unfinished run stands there\n.*--resume/,
    );
    await trained(dataset, cut, changes, { paths: oldPaths, resume: true });
    assert.deepEqual(weights(cut), weights(whole), name);
    const steps = (out: string): number[] =>
      readFileSync(runFiles(out).log, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).step);
    assert.deepEqual(steps(cut), steps(whole), 'the log tells each step once');
    assert.equal(existsSync(runFiles(cut).checkpoint), false);
  }
});

test('a signal stops at the next step with a checkpoint, from which the run goes on to the same bytes', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const [whole, cut] = [join(folder, 'whole'), join(folder, 'cut')];
  await trained(dataset, whole);
  const controller = new AbortController();
  let steps = 0;
  const old = {
    ...noOldModelInputs,
    forBatch: () => {
      if (++steps === 8) controller.abort();
      return {} as never;
    },
  };
  await assert.rejects(
    trained(dataset, cut, {}, { old, signal: controller.signal }),
    (error) => error instanceof Interrupted && /step 8 of 18/.test(error.message),
  );
  await trained(dataset, cut, {}, { resume: true });
  assert.deepEqual(weights(cut), weights(whole));
});

test('a checkpoint continues only the run it belongs to', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  await assert.rejects(trained(dataset, out, {}, { resume: true }), /there is no checkpoint to resume from/);
  const signal = AbortSignal.abort();
  await assert.rejects(trained(dataset, out, {}, { signal }), Interrupted);
  await assert.rejects(trained(dataset, out, { seed: 3 }, { resume: true }), /written with another recipe/);
  await trained(dataset, out, { epochs: 1 }, { force: true });
  await assert.rejects(trained(dataset, out, { epochs: 1 }), /a finished run stands there/);
  writeFileSync(join(out, 'notes.txt'), 'mine');
  await assert.rejects(
    trained(dataset, out, { epochs: 1 }, { force: true }),
    /run holds notes\.txt, which is not part of it/,
  );
  rmSync(join(out, 'notes.txt'));
  await assert.rejects(
    trained(dataset, out, { epochs: 1 }, { resume: true }),
    /is finished, there is nothing to resume/,
  );
});

test('training learns: the loss falls, and classes part in the embedding', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  await trained(dataset, out, { epochs: 12, augment: { flip: false } });
  const losses = readFileSync(runFiles(out).log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).loss as number);
  assert.ok(losses.at(-1)! < losses[0]! / 2, `${losses[0]} → ${losses.at(-1)}`);
});

test('no tensor outlives its step: the count is flat from the second step on', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const paths = await featuresAndMask(folder, dataset);
  using supply = openOldModelInputs(tinyRecipe({ method: { kind: 'mixbct' } }), paths, dataset);
  const counts: number[] = [];
  const old = {
    ...supply,
    forBatch: (indices: Int32Array) => {
      counts.push(liveTensors());
      return supply.forBatch(indices);
    },
  };
  const before = liveTensors();
  await trained(dataset, join(folder, 'run'), { method: { kind: 'mixbct' } }, { old, paths });
  assert.deepEqual(new Set(counts.slice(1)).size, 1, String(counts));
  assert.equal(liveTensors(), before, 'and nothing outlives the run');
});

test('what the old model left must fit: dataset, dimension, artefacts', async (t) => {
  const wide = tinyRecipe({ method: { kind: 'mixbct' }, network: { ...tinyRecipe().network, embeddingDim: 16 } });
  const { folder, dataset } = await tinySet(t);
  const paths = await featuresAndMask(folder, dataset);
  assert.throws(
    () => openOldModelInputs(tinyRecipe({ method: { kind: 'mixbct' } }), {}, dataset),
    /method mixbct needs old-features and old-credible\n.*mixbct extract and mixbct denoise/,
  );
  assert.throws(
    () => openOldModelInputs(wide, paths, dataset),
    /old embeddings have 8 dimensions, the new model makes 16\n.*network\.embeddingDim to 8/,
  );
  const other = join(folder, 'other');
  await writeTinySet(other, { perClass: [4, 4] });
  using otherSet = openDataset(other);
  assert.throws(
    () => openOldModelInputs(tinyRecipe({ method: { kind: 'l2' } }), { features: paths.features }, otherSet),
    /does not belong to .*other/,
  );
  using supply = openOldModelInputs(tinyRecipe({ method: { kind: 'mixbct' } }), paths, dataset);
  const { mask } = openCredible(paths.credible);
  const { credible } = supply.forBatch(Int32Array.of(3, 4, 5, 30, 31));
  assert.deepEqual(
    Array.from(credible),
    [3, 4, 5, 30, 31].map((i, row) => (mask[i] ? row : -1)).filter((row) => row >= 0),
  );
  const stop = { method: { kind: 'mixbct', ratio: 0.9, onShortage: 'stop' } };
  await assert.rejects(
    trained(dataset, join(folder, 'short'), stop, { paths }),
    /this batch has \d credible rows?, expected 7\n.*keep a larger share/,
  );
});

test('what cannot be trained on is refused before anything is written', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  await assert.rejects(trained(dataset, out, { batchSize: 500 }), /50 images do not fill one batch of 500/);
  assert.throws(
    () => tinyRecipe({ batchSize: 0, network: { name: 'r19', embeddingDim: 8 }, headd: {} }),
    (error: Error) =>
      /3 problems/.test(error.message) && /did you mean head\?/.test(error.message) && /batchSize/.test(error.message),
  );
  assert.equal(existsSync(out), false);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('part')),
    [],
  );
});

test('a changed model file is noticed', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  await trained(dataset, out, { epochs: 1 });
  const bytes = readFileSync(runFiles(out).model);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(runFiles(out).model, bytes);
  assert.throws(() => loadModel(out), /model\.safetensors: was changed or damaged since it was made/);
});
