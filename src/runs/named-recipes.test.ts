import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadRecipe, parseRecipe } from './load-recipe.ts';
import { namedRecipes } from './named-recipes.ts';
import { differencesFromReference, referencePreset } from './preset.ts';

const raw = (kind: string): Record<string, unknown> => ({
  network: { name: 'r18', embeddingDim: 8 },
  method: { kind },
});

test('the 63 published configurations and the 9 models they start from are there, and each is a recipe', () => {
  const scenario = namedRecipes.filter(({ name }) => /^(OP|EX)(class|data)_ms1mv3_r18_to_r50_/.test(name));
  assert.deepEqual([scenario.length, namedRecipes.length], [63, 72]);
  assert.equal(new Set(namedRecipes.map(({ name }) => name)).size, 72);
  for (const { name } of namedRecipes) {
    const recipe = loadRecipe(name);
    assert.equal(recipe.name, name);
    assert.equal(recipe.network.embeddingDim, Number(/f(\d+)/.exec(name)![1]), name);
    assert.deepEqual([recipe.batchSize, recipe.epochs, recipe.pretend], [1024, 35, undefined], name);
  }
  const seed = loadRecipe('OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128', { settings: ['method.ratio=0.5'] });
  assert.deepEqual(
    [seed.network.name, seed.head.kind, seed.method],
    ['r50', 'arcface', { kind: 'mixbct', ratio: 0.5, onShortage: 'use-all' }],
  );
  assert.throws(
    () => loadRecipe('OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f129'),
    /no recipe of that name; did you mean OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128\?/,
  );
});

test('the reference preset sets every place of its table, and only what the recipe leaves open', () => {
  for (const kind of ['mixbct', 'l2', 'bct', 'unibct', 'nccl', 'advbct']) {
    const reference = parseRecipe(raw(kind), 'a test', { preset: 'reference' });
    assert.deepEqual(differencesFromReference(reference), [], kind);
    const repaired = parseRecipe(raw(kind), 'a test');
    const applicable = referencePreset.filter(({ applies }) => applies(repaired)).length;
    assert.equal(differencesFromReference(repaired).length, applicable, `${kind}: every row differs by default`);
  }
  const own = parseRecipe(
    { ...raw('bct'), preset: 'reference', method: { kind: 'bct', scale: 8 }, schedule: { kind: 'cosine' } },
    'a test',
  );
  assert.deepEqual(
    [own.method, own.schedule],
    [
      { kind: 'bct', scale: 8, weight: 1, marginCos: 0 },
      { kind: 'cosine', warmupEpochs: -1 },
    ],
  );
  assert.deepEqual(differencesFromReference(own), ['D-28 method.scale: 8 (reference: 1)']);
});

test('the reference preset of BCT and UniBCT composed has the schedules of both', () => {
  for (const of of [
    [{ kind: 'bct' }, { kind: 'unibct' }],
    [{ kind: 'unibct' }, { kind: 'bct' }],
  ]) {
    const raw = { network: { name: 'r18', embeddingDim: 8 }, preset: 'reference', method: { kind: 'compose', of } };
    const { schedule } = parseRecipe(raw, 'a test');
    assert.deepEqual(schedule, { kind: 'step', milestoneEpochs: [20, 26, 32], factor: 0.1, warmupEpochs: -1 });
  }
});

test('the mistaken numbers of D-10 come back under the reference preset alone', () => {
  const name = 'OPclass_ms1mv3_r18_to_r50_L2_softmax_to_arc_f128';
  assert.deepEqual(loadRecipe(name, { preset: 'reference' }).pretend, { classes: 93_431, images: 3_625_372 });
  assert.equal(
    loadRecipe(name.replace('OPclass', 'OPdata').replace('f128', 'f512'), { preset: 'reference' }).pretend,
    undefined,
  );
});

test('a published name with preset=reference among its settings is the reference, too', () => {
  for (const { name } of namedRecipes) {
    const settings = ['epochs=3'];
    const chosen = loadRecipe(name, { settings, preset: 'reference' });
    assert.deepEqual(loadRecipe(name, { settings: [...settings, 'preset=reference'] }), chosen, name);
  }
  const [name] = namedRecipes.filter(({ raw }) => raw['inReference']).map((recipe) => recipe.name);
  const ours = { settings: ['preset=reference'], preset: 'default' } as const;
  assert.deepEqual(loadRecipe(name!, ours), loadRecipe(name!), 'the option wins over the setting');
});

test('a projection is refused where the method needs one space', () => {
  const projection = { dim: 16 };
  assert.deepEqual(parseRecipe({ ...raw('l2'), projection }, 'a test').projection, projection);
  for (const kind of ['mixbct', 'independent'])
    assert.throws(() => parseRecipe({ ...raw(kind), projection }, 'a test'), /cannot project.*\n.*embeddingDim/);
});
