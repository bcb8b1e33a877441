import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { trained } from '../../test/helpers/runs.ts';
import {
  judgeModels,
  rotated,
  seenWith,
  upgradeLabels,
  upgradeSet,
  writeEvaluation,
} from '../../test/helpers/upgrades.ts';
import { noProgress, reportTo } from '../base/progress.ts';
import { openDataset } from '../data/index.ts';
import { EVALUATION_FILE } from '../eval/evaluation-artifact.ts';
import { writeFeatureSet } from '../features/index.ts';
import { describePath } from '../info/describe.ts';
import { chainSchema, readChain } from '../plan/chain-artifact.ts';
import { PLAN_FILE, planArtifact, planSchema, readPlan } from '../plan/plan-artifact.ts';
import { writeBackfill } from './backfill.ts';
import { evaluateSets } from './evaluate-sets.ts';
import { measureExtractionRate } from './extraction-rate.ts';
import { planUpgrade } from './plan.ts';
import { planChain } from './plan-chain.ts';

const evaluation = judgeModels(['compatible', 'equal'], { resamples: 50 });

/** A folder with an evaluation. */
async function world(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await writeEvaluation(at('judged'), evaluation);
  return { folder, at };
}

test('the command prints a plan for people and for programs, and ends with 1 only if no way to accept is proven', async (t) => {
  const { folder } = await world(t);
  const run = (...words: string[]) => mixbct(folder, 'plan', 'judged', '--metric', 'rank-1', ...words);
  const text = run();
  assert.equal(text.code, 0);
  assert.match(
    text.out,
    /^\nPlan for a gallery of unknown size, judged by rank-1, 720 images of 120 identities\n\nDeploy compatible\./,
  );
  assert.ok(text.out.trimEnd().split('\n').length < 45, 'two new models fit on a screen');
  assert.ok(text.out.split('\n').every((line) => line.length <= 112));
  for (const [required, code, way] of [
    ['deploy', 0, 'deploy'],
    ['bridge,deploy', 0, 'deploy'],
    ['keep', 0, 'keep'],
    ['bridge', 1, 'keep'],
    ['re-embed', 1, 'keep'],
  ] as const) {
    const { code: found, out } = run('--require', required, '--json');
    const plan = planSchema.parse(JSON.parse(out));
    assert.deepEqual([found, plan.verdict.way, plan.verdict.accepted], [code, way, code === 0], required);
  }
  assert.match(run('--require', 'bridge').out, /None of the ways to accept is proven/);
  const again = run('--require', 're-embed', '--gallery-size', '1000', '--images-per-second', '10', '--json');
  assert.deepEqual([again.code, JSON.parse(again.out).verdict.way], [0, 're-embed']);
});

test('what the command prints as JSON follows the schema that it prints', async (t) => {
  const { folder } = await world(t);
  const schema = JSON.parse(mixbct(folder, 'schema', 'plan').out);
  assert.equal(JSON.stringify(schema), JSON.stringify(z.toJSONSchema(planSchema, { io: 'input' })));
  const plan = JSON.parse(mixbct(folder, 'plan', 'judged', '--json').out);
  assert.deepEqual(planSchema.parse(plan), plan, 'no field is missing from the schema');
  assert.deepEqual(Object.keys(plan).sort(), [...schema.required].sort());
  assert.deepEqual(Object.keys(plan.options[0]).sort(), [...schema.properties.options.items.required].sort());
});

test('mistakes in the command line are refused', async (t) => {
  const { folder } = await world(t);
  for (const [words, message] of [
    [
      ['--require', 'deploy,nothing'],
      /--require deploy,nothing: wanted keep, deploy, bridge, backfill, re-embed, drop-in or keep,deploy/,
    ],
    [['--metric', 'rank-9'], /--metric/],
    [['--max-loss', '2'], /--max-loss/],
    [['--measure', 'runs/x'], /--measure and --data belong together/],
    [['--measure', 'runs/x', '--data', 'x', '--images-per-second', '3'], /wanted one of both/],
    [['--measure', 'runs/x', '--data', 'x', '--out', 'judged'], /judged exists already/],
    [['--gallery', 'judged'], /is a "evaluation", wanted a feature set/],
  ] as const) {
    const { code, err } = mixbct(folder, 'plan', 'judged', ...words);
    assert.equal(code, 2, words.join(' '));
    assert.match(err, message);
  }
  assert.match(mixbct(folder, 'plan', 'nowhere').err, /nowhere: no such folder, wanted an evaluation/);
});

test('a plan is written, described, refused where it is damaged, and made again by a stage when its evidence changes', async (t) => {
  const { folder, at } = await world(t);
  const plan = await planUpgrade({ evaluations: [at('judged')], metric: 'rank-1', out: at('plan') });
  assert.deepEqual(readPlan(at('plan')), plan);
  const { facts, sources } = await describePath(at('plan'));
  assert.equal(facts['verdict'], 'Deploy compatible. The gallery stays as it is.');
  assert.deepEqual(sources.map(({ kind, path }) => [kind, path?.split('/').at(-1)]).slice(0, 1), [
    ['evaluation', 'judged'],
  ]);
  writeFileSync(
    at('x.yaml'),
    "title: x\nstages:\n  plan: { do: plan, evaluations: ['./judged'], metric: rank-1, maxHours: 5, accept: [deploy, keep] }\n",
  );
  const run = () => mixbct(folder, 'run', 'x.yaml', '--out', 'out');
  assert.match(run().err, /Deploy compatible\./);
  assert.deepEqual(readPlan(at('out/plan')).limits.accept, ['deploy', 'keep']);
  assert.doesNotMatch(run().err, /Deploy compatible\./, 'it is done');
  writeFileSync(
    at('y.yaml'),
    "title: y\nstages:\n  plan: { do: plan, evaluations: ['./judged'], metric: rank-1, accept: [bridge] }\n",
  );
  const refused = mixbct(folder, 'run', 'y.yaml', '--out', 'out-y');
  assert.equal(refused.code, 2);
  assert.match(refused.err, /none of the ways to accept is proven \(bridge\)/);
  writeFileSync(join(at('plan'), PLAN_FILE), JSON.stringify({ ...plan, metric: 3 }));
  assert.throws(() => readPlan(at('plan')), /plan\.json: its "metric" is damaged/);
  assert.throws(() => planArtifact.verify(at('plan'), planArtifact.open(at('plan'))), /plan\.json/);
  const text = readFileSync(join(at('judged'), EVALUATION_FILE), 'utf8');
  writeFileSync(join(at('judged'), EVALUATION_FILE), text.replaceAll('"dim": 16', '"dim": -16'));
  await assert.rejects(planUpgrade({ evaluations: [at('judged')], gallerySize: 9 }), /no plan can be made of this/);
});

test('size and type of the gallery are those of a feature set of the old model’s dimensions', async (t) => {
  const { at } = await world(t);
  const write = (name: string, dim: number) =>
    writeFeatureSet(
      at(name),
      {
        ...{
          dim,
          classes: upgradeSet.classes,
          labels: upgradeLabels,
          flip: 'none' as const,
          dataset: null,
          model: null,
        },
        ...{ families: new Int32Array(upgradeLabels.length).fill(-1), dtype: 'float16' as const },
      },
      {},
      ({ append, markMissing }) => {
        append(new Float32Array(upgradeLabels.length * dim));
        markMissing([{ row: 3, id: '3', problem: 'unreadable' }]);
      },
    );
  await write('gallery', 16);
  await write('wide', 20);
  const planWith = (options: Partial<Parameters<typeof planUpgrade>[0]>) =>
    planUpgrade({ evaluations: [at('judged')], metric: 'rank-1', ...options });
  assert.deepEqual((await planWith({ gallery: at('gallery') })).gallery, {
    size: 719,
    type: 'float16',
    imagesPerSecond: null,
  });
  assert.equal((await planWith({ gallery: at('gallery'), vectorType: 'int8' })).options[0]!.bytes!.now, 719 * 16);
  await assert.rejects(planWith({ gallery: at('wide') }), /wide has 20 dimensions, the old model of .*judged 16/);
  await assert.rejects(planWith({ gallery: at('gallery'), gallerySize: 3 }), /has 719 vectors, so that no other size/);
});

test('the rate of extraction is that of reading and embedding, without the first batch', async (t) => {
  reportsOf(t);
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await writeTinySet(at('set'), { perClass: [9, 8, 7, 9, 8, 9] });
  {
    using dataset = openDataset(at('set'));
    await trained(dataset, at('run'), { epochs: 1 });
  }
  const start = performance.now();
  const rate = await measureExtractionRate({ model: at('run'), dataset: at('set'), batchSize: 8 });
  const atLeast = (50 - 8) / ((performance.now() - start) / 1000);
  assert.ok(rate >= atLeast, `${rate} images/s, the whole call had ${atLeast}`);
  await assert.rejects(
    measureExtractionRate({ model: at('run'), dataset: at('set'), batchSize: 64 }),
    /has 50 images, wanted more than one batch of 64 to measure a rate/,
  );
});

test('a plan takes a simulated backfill of the same feature sets and seed, and refuses one of other draws', async (t) => {
  reportsOf(t);
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await writeGeneration(at('old'), seenWith(1, { seed: 'old' }));
  await writeGeneration(at('new'), seenWith(0.3));
  const how = { old: at('old'), seed: 3, impostors: 20_000 };
  const candidates = [{ name: 'compatible', features: at('new') }];
  await evaluateSets({ ...how, title: '', candidates, resamples: 50, out: at('judged') });
  const simulate = (out: string, seed: number) =>
    writeBackfill({
      ...how,
      seed,
      new: at('new'),
      orders: ['random', 'uncertain-first'],
      draws: 2,
      steps: 4,
      out: at(out),
    });
  await simulate('moved', 3);
  await simulate('other', 4);
  const planWith = (...backfills: string[]) =>
    planUpgrade({
      ...{ evaluations: [at('judged')], backfills: backfills.map(at), metric: 'rank-1' },
      ...{ gallerySize: 1000, imagesPerSecond: 10, out: at('plan'), force: true },
    });
  const { verdict, options } = await planWith('moved');
  assert.equal(verdict.way, 'backfill');
  const { order, merge, worst, movedFor95 } = options.find(({ way }) => way === 'backfill')!;
  assert.ok(order !== null && merge !== null && movedFor95! > 0 && movedFor95! <= 1);
  assert.ok(worst!.overOld.low > 0);
  const { sources } = await describePath(at('plan'));
  assert.ok(sources.some(({ kind, path }) => kind === 'backfill' && path === at('moved')));
  await assert.rejects(planWith('other'), /other simulates other models or draws/);
  const bytes = readFileSync(join(at('moved'), 'backfill.json'), 'utf8');
  writeFileSync(join(at('moved'), 'backfill.json'), bytes.replace('"order"', '"Order"'));
  await assert.rejects(planWith('moved'), /backfill\.json/);
});

/** Writes embeddings of the upgrade's images by a model of the folder's name. */
const writeGeneration = (
  path: string,
  rows: Float32Array,
  { model = basename(path), missing = false } = {},
): Promise<unknown> =>
  writeFeatureSet(
    path,
    {
      ...{ dim: upgradeSet.dim, classes: upgradeSet.classes, labels: upgradeLabels, flip: 'none' as const },
      ...{ families: new Int32Array(upgradeLabels.length).fill(-1) },
      dataset: { path: 'set', digest: 'set', count: upgradeLabels.length, classes: upgradeSet.classes },
      model: { name: model, digest: model, preset: 'default', differences: [], trainedOn: null },
    },
    {},
    ({ append, markMissing }) => {
      append(missing ? rows.slice().fill(0, 0, upgradeSet.dim) : rows);
      if (missing) markMissing([{ row: 0, id: '0', problem: 'unreadable' }]);
    },
  );

test('generations are compared by their feature sets, for people and for programs, and the comparison is kept', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const first = seenWith(0.6);
  await writeGeneration(at('a'), first);
  await writeGeneration(at('b'), rotated(first), { missing: true });
  await writeGeneration(at('c'), rotated(rotated(first), 3));
  await writeGeneration(at('again'), first, { model: 'a' });
  const run = (...words: string[]) => mixbct(folder, 'plan', '--metric', 'rank-1', '--resamples', '20', ...words);
  const chain = ['--chain', 'one=a', 'two=b', 'three=c'];
  const { code, out } = run('--adapt', 'gallery', '--candidates', 'procrustes', '--out', 'out', '--json', ...chain);
  assert.equal(code, 0);
  const report = JSON.parse(out);
  assert.deepEqual(chainSchema.parse(report), report);
  assert.deepEqual(readChain(at('out')), report);
  assert.equal(report.data.images, upgradeLabels.length - 1, 'what one set lacks is skipped');
  assert.equal(report.averageCompatibility.value, 0);
  assert.deepEqual(report.adapters.pairs[0].difference, { value: 0, low: 0, high: 0 });
  assert.equal((await describePath(at('out'))).facts['average compatibility'], '0.00 %');
  assert.equal(
    mixbct(folder, 'schema', 'chain').out.trim(),
    JSON.stringify(z.toJSONSchema(chainSchema, { io: 'input' }), null, 2),
  );
  assert.match(run(...chain).out, /^\n3 generations, judged by rank-1, 719 images of 120 classes\n/);
  for (const [words, message] of [
    [[], /wanted the folder of an evaluation, or --chain/],
    [['a', ...chain], /wanted either evaluations or --chain/],
    [['--max-hours', '3', ...chain], /--max-hours belongs to evaluations/],
    [['a', '--adapt', 'query'], /--adapt belongs to --chain/],
    [['--candidates', 'ridge', ...chain], /candidates ridge: maps are tried only where .*\n.*--adapt gallery/],
    [['--chain', 'one=a'], /1 generation, wanted .* two or more/],
    [['--chain', 'a', 'b'], /--chain a: wanted name=folder/],
    [['--chain', 'one=a', 'two=again'], /a and again are features of one model/],
    [['--chain', 'one=a', 'one=b'], /two models are called one/],
    [['--chain', 'one=a', 'two=nowhere'], /nowhere: no such folder/],
    [['--metric', 'TAR@FAR=1e-4', ...chain], /TAR@FAR=1e-4 is none of labelled sets/],
  ] as const) {
    const { code: refused, err } = run(...words);
    assert.match(err, message);
    assert.equal(refused, 2, words.join(' '));
  }
});

test('a comparison of generations that may not be written is refused before it is computed', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await writeGeneration(at('a'), seenWith(0.6));
  await writeGeneration(at('b'), seenWith(0.3));
  const chain = ['a', 'b'].map((name) => ({ name, features: at(name) }));
  writeFileSync(at('taken'), '');
  const begun: string[] = [];
  const progress = (title: string) => {
    begun.push(title);
    return noProgress;
  };
  await reportTo({ line: () => undefined, progress }, () =>
    assert.rejects(planChain({ chain, metric: 'rank-1', out: at('taken') }), /taken/),
  );
  assert.deepEqual(begun, []);
});
