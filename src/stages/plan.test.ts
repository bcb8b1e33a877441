import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { trained } from '../../test/helpers/runs.ts';
import { judgeModels, upgradeLabels, upgradeSet, writeEvaluation } from '../../test/helpers/upgrades.ts';
import { openDataset } from '../data/index.ts';
import { EVALUATION_FILE } from '../eval/evaluation-artifact.ts';
import { writeFeatureSet } from '../features/index.ts';
import { describePath } from '../info/describe.ts';
import { PLAN_FILE, planArtifact, planSchema, readPlan } from '../plan/plan-artifact.ts';
import { measureExtractionRate } from './extraction-rate.ts';
import { planUpgrade } from './plan.ts';

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
  assert.ok(text.out.trimEnd().split('\n').length < 40, 'it fits on a screen');
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
