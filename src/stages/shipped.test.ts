import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { packageRoot } from '../base/version.ts';
import { type Experiment, loadExperiment, neededFor, referencesOf } from '../experiment/load.ts';
import { loadRecipe } from '../runs/load-recipe.ts';
import type { Recipe } from '../runs/recipe.ts';
import { stages as kinds } from './index.ts';
import { smallestSettings } from './quickstart.ts';

/** A stage with what some kinds have. */
type LoadedStage = {
  readonly do: string;
  readonly on: string;
  readonly recipe: Recipe;
  readonly trial?: boolean;
  readonly by?: string;
};
type Loaded = Omit<Experiment, 'stages'> & { readonly stages: Readonly<Record<string, LoadedStage>> };

const loaded = async (file: string, settings: readonly string[] = []): Promise<Loaded> =>
  (await loadExperiment(file, { kinds, settings })) as unknown as Loaded;
const shipped = (name: string) => loaded(join(packageRoot, 'experiments', `${name}.yaml`));

test('the four scenarios differ in the split, in what the new models see and how often, and in nothing else', async () => {
  const open = await shipped('open-class');
  const of = async (name: string) => {
    const { title: _, extends: __, aliases, stages, ...rest } = await shipped(name);
    const { data, ...others } = stages;
    const epochs = new Set<number>();
    for (const stage of Object.values(others))
      if (stage.do === 'train' && stage.on === 'new-data') {
        const recipe = stage.recipe as { epochs?: number };
        epochs.add(recipe.epochs!);
        delete recipe.epochs;
      }
    return { data, aliases, epochs: [...epochs], others, rest };
  };
  const scenarios = {
    'open-data': ['data', 'data.second', 4],
    // the whole of the data rather than 70 %: as many images seen
    'extended-class': ['class', 'sample', 3],
    'extended-data': ['data', 'sample', 3],
  } as const;
  const base = await of('open-class');
  for (const [name, [by, newData, epochsOfNew]] of Object.entries(scenarios)) {
    const { data, aliases, epochs, others, rest } = await of(name);
    assert.deepEqual(
      [data, aliases, epochs],
      [{ ...open.stages['data'], by }, { ...open.aliases, 'new-data': newData }, [epochsOfNew]],
      name,
    );
    assert.deepEqual([others, rest], [base.others, base.rest], name);
  }
});

test('a comparison is controlled: the new models share every setting but the method’s', async () => {
  const { stages } = await shipped('open-class');
  const news = Object.entries(stages).flatMap(([id, stage]) =>
    stage.do === 'train' && stage.on === 'new-data' ? [{ id, recipe: stage.recipe }] : [],
  );
  assert.equal(news.length, 17, 'the oracle, seven methods and pairs with joint for each of two old models');
  const shared = news.map(({ recipe: { name: _, method: __, ...rest } }) => rest);
  for (const other of shared) assert.deepEqual(other, shared[0]);
  for (const [id, stage] of Object.entries(stages))
    if (stage.do === 'train' && id.endsWith('-arcface') && stage.on === 'new-data') {
      const twin = stages[id.replace('-arcface', '')]!;
      assert.deepEqual(stage.recipe.method, twin.recipe.method, id);
    }
});

test('an ablation changes one setting of a method at a time, and the epochs of one oracle', async () => {
  const open = (await shipped('open-class')).stages;
  const oracle = open['oracle'];
  assert.ok(oracle?.do === 'train');
  const { name: _, method: __, ...common } = oracle.recipe;
  const plain = (kind: string) =>
    Object.values(open)
      .map((stage) => (stage.do === 'train' ? stage.recipe.method : null))
      .find((method) => method?.kind === kind) as Record<string, unknown>;
  const added = Object.entries((await shipped('ablation')).stages).flatMap(([id, stage]) =>
    stage.do === 'train' && !(id in open) ? [{ id, recipe: stage.recipe }] : [],
  );
  assert.equal(added.length, 10);
  for (const { id, recipe } of added) {
    const { name: _, method, ...rest } = recipe;
    assert.deepEqual(rest, id === 'oracle-8' ? { ...common, epochs: 8 } : common, id);
    const changed = Object.entries(method).filter(([key, value]) => String(plain(method.kind)[key]) !== String(value));
    const wanted = { 'unibct-start': 2, 'oracle-8': 0, 'mixbct-all': 0 }[id] ?? 1;
    assert.equal(changed.length, wanted, `${id}: ${changed}`);
  }
});

test('the recommended recipe is one and the same in recipes and experiments', async () => {
  const { method } = loadRecipe(join(packageRoot, 'recipes/best.yaml'));
  assert.deepEqual(loadRecipe(join(packageRoot, 'recipes/ms1m/best-r50.yaml')).method, method);
  for (const name of [
    'quickstart',
    'best',
    'best-extended',
    'best-k55',
    'best-k55-extended',
    'emoji',
    'best-emoji',
    'best-emoji-extended',
    'best-icons',
  ]) {
    const found = Object.entries((await shipped(name)).stages).filter(([id]) =>
      /^pairs-joint-nccl(-weak|-strong)?$/.test(id),
    );
    assert.ok(found.length > 0, name);
    for (const [id, stage] of found) assert.deepEqual(stage.recipe.method, method, `${name}: ${id}`);
  }
});

test('the smallest quick start trains for one epoch and asks for no verdict', async () => {
  const { stages } = await loaded(join(packageRoot, 'experiments/quickstart.yaml'), smallestSettings);
  for (const [id, stage] of Object.entries(stages)) {
    if (stage.do === 'train') assert.equal(stage.recipe.epochs, 1, id);
    if (stage.do === 'evaluate') assert.equal(stage.trial, true, id);
  }
  const whole = (await shipped('quickstart')).stages['judge'];
  assert.ok(whole?.do === 'evaluate' && whole.trial === undefined);
});

test('a setting changes the stage that it names, and none that shares a YAML alias with it', async () => {
  const file = join(packageRoot, 'experiments/roll-out.yaml');
  const rates = async (...settings: readonly string[]) => {
    const { stages } = await loaded(file, settings);
    return ['old', 'mixbct'].map((id) => stages[id]!.recipe.optimizer.lr);
  };
  assert.deepEqual(await rates(), [3e-3, 3e-3]);
  assert.deepEqual(await rates('stages.mixbct.recipe.optimizer.lr=0.01'), [3e-3, 0.01]);
});

test('--only names a stage and brings what it needs, through aliases and parts', async () => {
  const experiment: Experiment = await loadExperiment(join(packageRoot, 'experiments/open-class.yaml'), { kinds });
  const needed = neededFor(experiment, ['oracle-eval']);
  assert.deepEqual([...needed].sort(), ['classes', 'data', 'eval', 'glyphs', 'oracle', 'oracle-eval', 'sample']);
  const judged = neededFor(experiment, ['judge']);
  assert.ok(judged.has('unibct') && !judged.has('old-arcface'));
  assert.throws(() => neededFor(experiment, ['jugde']), /jugde: no such stage; did you mean judge\?/);
  const own = { ...experiment, aliases: { ...experiment.aliases, glyphs: 'data/mine/train' } };
  assert.ok(!neededFor(own, ['judge']).has('glyphs'), 'an alias takes the place of a stage');
});

test('a file that extends another changes what it says, in place; loops and unknown names are refused', async (t) => {
  const folder = testFolder(t);
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  mkdirSync(join(folder, 'sub'));
  write(
    'base.yaml',
    `title: base
stages:
  a: { do: hold-out, of: ./set, classes: 4 }
  old: { do: train, on: a.train, recipe: { network: { name: r18, embeddingDim: 8 }, epochs: 2 } }
`,
  );
  const over = write(
    'sub/over.yaml',
    `extends: ../base.yaml
title: over
preset: reference
stages:
  old: { recipe: { epochs: 9 } }
  sampled: { do: sample, of: a.eval, perClass: 3 }
`,
  );
  const { title, stages } = await loaded(over);
  assert.deepEqual([title, Object.keys(stages)], ['over', ['a', 'old', 'sampled']]);
  const old = stages['old'];
  assert.ok(old?.do === 'train');
  const recipe = old.recipe;
  assert.deepEqual([recipe.epochs, recipe.network.name, recipe.preset], [9, 'r18', 'reference']);
  assert.deepEqual(referencesOf({ kinds }, stages['sampled'] as never), ['a.eval']);
  write('sub/loop.yaml', 'extends: loop2.yaml\ntitle: x\nstages: {}\n');
  const loop = write('sub/loop2.yaml', 'extends: loop.yaml\ntitle: x\nstages: {}\n');
  await assert.rejects(loaded(loop), /extends loop2?\.yaml, which extends this file/);
  const lost = write('lost.yaml', 'title: x\naliases: { b: c }\nstages:\n  d: { do: sample, of: b, perClass: 1 }\n');
  await assert.rejects(loaded(lost), /stage d uses c, which is no stage/);
});

test('a file that is not there is answered with those that come with mixbct', async () => {
  await assert.rejects(
    loaded('quickstart'),
    /quickstart: no such file\n {2}hint: your own, or one of experiments\/ablation\.yaml, .*experiments\/roll-out\.yaml$/,
  );
  for (const name of ['glyphs/old', 'old.yaml'])
    assert.throws(() => loadRecipe(name), /no such file.*\n {2}hint: .*recipes\/glyphs\/old\.yaml, .*mixbct recipes/);
});

test('what is missing in a file is named in the words of YAML', async (t) => {
  const file = join(testFolder(t), 'empty.yaml');
  for (const [text, problem] of [
    ['title: x\nstages: {}\n', /stages: wanted a stage, or several/],
    ['title: x\n', /stages: is missing, expected mapping/],
  ] as const) {
    writeFileSync(file, text);
    await assert.rejects(loaded(file), problem);
  }
  writeFileSync(file, 'epochs: 3\n');
  assert.throws(() => loadRecipe(file), /network: is missing, expected mapping/);
});
