import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../base/version.ts';
import { loadRecipe, parseRecipe } from './load-recipe.ts';
import { differencesFromReference } from './preset.ts';

test('every recipe of the project is valid', () => {
  const folder = join(packageRoot, 'recipes');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'));
  assert.ok(files.length >= 8);
  for (const file of files) loadRecipe(join(folder, file));
});

test('defaults are the published settings of MixBCT', () => {
  const recipe = parseRecipe({ network: { name: 'r50', embeddingDim: 128 }, method: { kind: 'mixbct' } }, 'a test');
  assert.deepEqual(recipe.method, { kind: 'mixbct', ratio: 0.3, onShortage: 'use-all' });
  assert.deepEqual(recipe.optimizer, { kind: 'sgd', lr: 0.1, momentum: 0.9, weightDecay: 5e-4 });
  assert.deepEqual([recipe.epochs, recipe.seed, recipe.clipNorm, recipe.batchSize], [35, 666, 5, 128]);
  assert.deepEqual(recipe.schedule, { kind: 'polynomial', power: 2, warmupEpochs: 0 });
});

test('--set changes a value, makes what is missing, and is checked like the file', () => {
  const raw = { network: { name: 'r18', embeddingDim: 8 } };
  const recipe = parseRecipe(raw, 'a test', { settings: ['network.width=0.5', 'method.kind=l2', 'clipNorm=null'] });
  assert.deepEqual([recipe.network.width, recipe.method.kind, recipe.clipNorm], [0.5, 'l2', null]);
  assert.throws(
    () => parseRecipe(raw, 'a test', { settings: ['network.widht=0.5'] }),
    /network\.widht: no such key; did you mean width\?/,
  );
  assert.throws(
    () => parseRecipe(raw, 'a test', { settings: ['width=0.5', 'method.epochs=3', 'head.name=x'] }),
    /\n {2}width: no such key here; did you mean network\.width\?/,
  );
  assert.throws(
    () => parseRecipe(raw, 'a test', { settings: ['network.epochs=3'] }),
    /network\.epochs: no such key here; did you mean epochs at the top level\?/,
  );
  assert.throws(
    () => parseRecipe(raw, 'a test', { settings: ['network.kind=x'] }),
    /network\.kind: no such key here$/m,
    'it has several places',
  );
  assert.throws(() => parseRecipe(raw, 'a test', { settings: ['width'] }), /setting width: wanted path=value/);
  assert.throws(() => parseRecipe(raw, 'a test', { settings: ['method.kind=l3'] }), /method/);
});

test('a warm-up that is longer than the training, and pulls that could never act, are refused', () => {
  const raw = { network: { name: 'r18', embeddingDim: 8 }, epochs: 4 };
  const parsed = (changes: object) => parseRecipe({ ...raw, ...changes }, 'a test');
  parsed({ schedule: { kind: 'cosine', warmupEpochs: 4 } });
  assert.throws(() => parsed({ schedule: { kind: 'cosine', warmupEpochs: 5 } }), /warmupEpochs 5 of 4 epochs/);
  assert.throws(() => parsed({ method: { kind: 'l2', threshold: 2 } }), /threshold/);
  assert.throws(() => parsed({ method: { kind: 'advbct', radius: 10 } }), /radius/);
});

test('an orthonormal projection to more dimensions than there are is refused', () => {
  const parsed = (embeddingDim: number, projection: object) =>
    parseRecipe({ network: { name: 'r18', embeddingDim }, method: { kind: 'bt2' }, projection }, 'a test');
  parsed(8, { dim: 8, orthonormal: true });
  parsed(4, { dim: 8, orthonormal: false });
  assert.throws(
    () => parsed(4, { dim: 8, orthonormal: true }),
    /orthonormal projection to 8 of 4 dimensions.*\n.*network\.embeddingDim to 8 or more/,
  );
});

test('a head that does not learn is refused where a method teaches the old embeddings to the head alone', () => {
  const parsed = (method: object, more: object = {}) =>
    parseRecipe({ network: { name: 'r18', embeddingDim: 8 }, head: { kind: 'simplex' }, method, ...more }, 'a test');
  const composed = (...kinds: string[]) => ({ kind: 'compose', of: kinds.map((kind) => ({ kind })) });
  const projection = { dim: 4 };
  for (const kind of ['l2', 'bct', 'hoc', 'pairs']) parsed({ kind });
  parsed({ kind: 'joint' }, { projection });
  parsed(composed('pairs', 'joint'), { projection });
  for (const [method, named] of [
    [{ kind: 'mixbct' }, 'mixbct'],
    [{ kind: 'joint' }, 'joint'],
    [composed('pairs', 'joint'), 'joint'],
    [composed('l2', 'mixbct'), 'mixbct'],
  ] as const)
    assert.throws(
      () => parsed(method),
      new RegExp(`method ${named} teaches the head, and a simplex head does not learn\\n.*head: \\{ kind: arcface \\}`),
    );
});

test('an option of another kind of backbone is refused, and what is left open is the backbone’s own', () => {
  const network = (raw: object) => parseRecipe({ network: { name: 'r18', embeddingDim: 8, ...raw } }, 'a test').network;
  assert.throws(
    () => network({ dropPath: 0.1, maskRatio: 0.2 }),
    /r18 has no dropPath, maskRatio\n.*network\.dropPath/,
  );
  assert.throws(() => network({ name: 'vit_s', dropout: 0.4 }), /vit_s has no dropout/);
  assert.throws(() => network({ name: 'r19' }), /network\.name/);
  const { maskRatio, checkpointEvery } = network({ name: 'vit_b' });
  assert.deepEqual([maskRatio, checkpointEvery], [null, null]);
});

test('the reference masks a tenth of the tokens whatever its name says (D-19)', () => {
  const raw = { network: { name: 'vit_b_dp005_mask_005', embeddingDim: 8 } };
  assert.equal(parseRecipe(raw, 'a test', { preset: 'reference' }).network.maskRatio, 0.1);
  const [line] = differencesFromReference(parseRecipe(raw, 'a test'));
  assert.match(line!, /^D-19 network\.maskRatio: null \(reference: 0\.1\)/);
});
