// A kind of stage that the product does not have, from its ten lines to an experiment that runs.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { writeArtifact } from '../artifacts/write-artifact.ts';
import { Interrupted } from '../base/errors.ts';
import { openDataset } from '../data/index.ts';
import { experimentSchema, loadExperiment } from './load.ts';
import { planStages } from './plan.ts';
import { runStages } from './run.ts';
import { datasetReference, defineStage } from './stage.ts';

const counting = (titled = false) =>
  defineStage({
    kind: 'count',
    summary: 'count the images of a data set several times',
    titled,
    inputs: { of: datasetReference },
    options: { times: z.int().positive().default(1) },
    describe: ({ of, times }) => `count ${of} ${times} times`,
    run: async ({ of, times }, { out, force, signal }) => {
      using dataset = openDataset(of);
      signal.throwIfAborted();
      await writeArtifact(out, { kind: 'count', force }, () => ({ kind: 'count', images: times * dataset.size }));
    },
  });
const count = counting();

/** Two stages of the kind, the second of an input from outside as well; a change of `times` is of the first one. */
async function world(t: TestContext, kind = count) {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [4, 4] });
  const out = join(folder, 'out');
  const options = { out, dataFolder: folder, workers: 0 };
  const load = (times: number, title = 'x', of = kind) => {
    const file = join(folder, 'x.yaml');
    writeFileSync(file, `title: ${title}\nstages:\n  a: { do: count, of: ${folder}/set, times: ${times} }\n`);
    return loadExperiment(file, { kinds: [of] });
  };
  return {
    out,
    load,
    reports: reportsOf(t),
    images: () => JSON.parse(readFileSync(join(out, 'a/manifest.json'), 'utf8')).images,
    run: async (times: number, { force = false, signal = new AbortController().signal } = {}) =>
      runStages(await load(times), { ...options, force, signal }),
    plan: async (times: number, { force = false, title = 'x', of = kind } = {}) => {
      const [planned] = planStages(await load(times, title, of), { ...options, force });
      return [planned!.state, planned!.reasons, planned!.needsForce];
    },
  };
}

test('a stage of ten lines has a schema, and what does not follow it is refused with the key that was meant', async (t) => {
  const { load } = await world(t);
  const { properties } = z.toJSONSchema(experimentSchema([count]), { io: 'input' }) as unknown as {
    properties: { stages: { additionalProperties: { oneOf: readonly { properties: Record<string, object> }[] } } };
  };
  assert.deepEqual(Object.keys(properties.stages.additionalProperties.oneOf[0]!.properties), ['do', 'of', 'times']);
  await assert.rejects(load(0), /x\.yaml: one problem\n {2}stages\.a\.times: Too small/);
  await assert.rejects(load('2, tims: 3' as unknown as number), /stages\.a\.tims: no such key; did you mean times\?/);
  await assert.rejects(
    load('2, title: x' as unknown as number),
    /a\.title: no such key here; did you mean title at the/,
  );
});

test('a plan tells what would run and why: new, done, or stale for a setting that was changed, and writes nothing', async (t) => {
  const { out, run, plan, images, reports } = await world(t);
  assert.deepEqual(await plan(2), ['new', [], false]);
  assert.ok(!existsSync(out));
  await run(2);
  assert.equal(images(), 16);
  assert.match(reports.text(), /^\[1\/1\] a: count .*set 2 times\n$/);
  assert.deepEqual(await plan(2), ['done', [], false]);
  assert.deepEqual(await plan(3), ['stale', ['times was 2, is 3'], true]);
  assert.deepEqual(await plan(2, { title: 'y' }), ['done', [], false]);
  await assert.rejects(run(3), /stage a was made with different options or inputs/);
  await run(3, { force: true });
  assert.equal(images(), 24);
});

test('another title makes a stage stale whose result carries it, and no other', async (t) => {
  const { run, plan } = await world(t, counting(true));
  await run(2);
  assert.deepEqual(await plan(2), ['done', [], false]);
  assert.deepEqual(await plan(2, { title: 'y' }), ['stale', ['title was "x", is "y"'], true]);
  // as every stage was recorded once
  assert.deepEqual(await plan(2, { title: 'y', of: count }), ['done', [], false]);
  assert.deepEqual(await plan(3, { title: 'y', of: count }), ['stale', ['times was 2, is 3'], true]);
});

test('a plan tells which input has changed, and that a record does not tell which setting did', async (t) => {
  const { out, run, plan } = await world(t);
  const set = join(out, '../set');
  await run(2);
  await writeTinySet(set, { perClass: [4, 5] });
  assert.deepEqual(await plan(2), ['stale', [`its input ${set} has changed`], true]);
  await run(2, { force: true });
  writeFileSync(join(out, '.stages/a.settings.json'), '3');
  const [state, reasons] = await plan(3);
  assert.deepEqual([state, reasons], ['stale', ['its settings have changed; its record does not tell which']]);
});

test('a stage that asks the signal is interrupted by it, and what it made before is kept for the next run', async (t) => {
  const { out, run, plan } = await world(t);
  const stopping = new AbortController();
  // asked by the run before the stage, then by the stage
  let asked = 0;
  const signal = new Proxy(stopping.signal, {
    get: (target, name) => {
      if (name === 'throwIfAborted') stopping.abort();
      if (name === 'aborted') asked++;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  await assert.rejects(
    run(2, { signal }),
    (error) => error instanceof Interrupted && /stopped in stage a/.test(error.message),
  );
  assert.ok(asked > 0 && !existsSync(join(out, 'a')));
  assert.deepEqual(await plan(2), ['interrupted', ['it continues'], false]);
  await run(2);
  assert.deepEqual(await plan(2), ['done', [], false]);
});
