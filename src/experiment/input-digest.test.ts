// What stages are compared by: the content of inputs and of files that settings name, each at its place.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { writeArtifact } from '../artifacts/write-artifact.ts';
import { applySettings } from '../base/settings.ts';
import { version } from '../base/version.ts';
import { readSidecar, writeSidecar } from '../data/sidecar.ts';
import { loadExperiment } from './load.ts';
import { planStages } from './plan.ts';
import { runStages } from './run.ts';
import { datasetReference, defineStage } from './stage.ts';

const kind = defineStage({
  kind: 'note',
  summary: 'note what it is given',
  inputs: { of: z.record(z.string(), datasetReference) },
  files: ['with.file'],
  options: { with: z.strictObject({ file: z.string() }).optional() },
  describe: () => 'note',
  run: ({ of }, { out, force }) =>
    writeArtifact(out, { kind: 'note', force }, () => ({ kind: 'note', names: Object.keys(of) })),
});

/** An experiment of two stages, `first` of two data sets and a file, `second` of the first; and what a dry run says of it. */
async function world(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const [a, b, file] = [at('a'), at('b'), at('w.bin')];
  await writeTinySet(a, { perClass: [2, 2] });
  await writeTinySet(b, { perClass: [3, 3] });
  writeFileSync(file, 'weights');
  const [options, made] = [{ out: at('out'), dataFolder: folder, force: false }, { workers: 0, signal: new AbortController().signal }]; // biome-ignore format: short
  const load = (settings: readonly string[]) => {
    const stages = { first: { do: 'note', of: { a, b }, with: { file } }, second: { do: 'note', of: { c: 'first' } } };
    writeJson(at('x.json'), applySettings({ title: 'x', stages }, settings));
    return loadExperiment(at('x.json'), { kinds: [kind] });
  };
  return {
    ...{ at, a, b, file },
    record: (id: string) => at(`out/.stages/${id}.json`),
    run: async (...settings: readonly string[]) => runStages(await load(settings), { ...options, ...made }),
    plan: async (...settings: readonly string[]) =>
      planStages(await load(settings), options).map(({ state, reasons }) => [state, ...reasons].join('; ')),
  };
}
const DONE = ['done', 'done'];
const again = (why: string): string[] => [`stale; ${why}`, 'stale; its input first is made again'];

test('inputs whose names are swapped are other inputs', async (t) => {
  const { a, b, run, plan } = await world(t);
  await run();
  assert.deepEqual(await plan(), DONE);
  const swapped = [`stages.first.of={ a: ${b}, b: ${a} }`];
  const [first] = await plan(...swapped);
  assert.equal(first, `stale; of.a (${b}) is not what it was; of.b (${a}) is not what it was`);
  await assert.rejects(run(...swapped), /stage first was made with different options or inputs/);
});

test('a file that a setting names counts by its content, wherever it stands, and may be gone when all is done', async (t) => {
  const { at, file, run, plan } = await world(t);
  await run();
  mkdirSync(at('sub'));
  const moved = 'stages.first.with.file=';
  assert.deepEqual(await plan(`${moved}${at('sub')}/../w.bin`), DONE);
  renameSync(file, at('sub/v.bin'));
  assert.deepEqual(await plan(), DONE, 'without the file');
  assert.deepEqual(await plan(`${moved}${at('sub/v.bin')}`), DONE, 'renamed');
  assert.deepEqual(await plan(`${moved}${at('typo.bin')}`), again(`with.file (${at('typo.bin')}) is not what it was`));
  writeFileSync(file, 'others');
  assert.deepEqual(await plan(), again('its input with.file=w.bin has changed'));
  writeFileSync(at('sub/v.bin'), 'others again');
  assert.deepEqual(
    await plan(`${moved}${at('sub/v.bin')}`),
    again(`with.file (${at('sub/v.bin')}) is not what it was`),
  );
});

test('names of classes and ids beside a record set are a part of its content', async (t) => {
  const { a, run, plan } = await world(t);
  await run();
  const { classes, ...sidecar } = readSidecar(a);
  writeSidecar(a, { ...sidecar, classes: ['another', classes![1]!] });
  assert.deepEqual(await plan(), again(`its input ${a} has changed`));
  writeSidecar(a, { ...sidecar, classes: classes! });
  assert.deepEqual(await plan(), DONE);
  writeSidecar(a, { ...sidecar, classes: classes! }, ['w', 'x', 'y', 'z']);
  assert.deepEqual(await plan(), again(`its input ${a} has changed`));
  for (const ending of ['json', 'ids.jsonl']) rmSync(`${a}.${ending}`);
  assert.deepEqual(await plan(), again(`its input ${a} has changed`));
});

test('records from before paths, names and ids counted so are understood, and tell what has changed since', async (t) => {
  const { a, b, at, file, record, run, plan } = await world(t);
  await run();
  const [first, settings] = [readJson(record('first')), readJson(at('out/.stages/first.settings.json'))] as [
    { of: Record<string, string> },
    { stage: object; seed: number },
  ];
  const digest = (path: string): string => first.of[path]!.split('+')[0]!;
  const stage = { ...settings.stage, of: { a: 'a path', b: 'a path' }, with: { file } };
  const inputs = digestOf(canonicalJson({ stage, seed: settings.seed, version, inputs: [digest(a), digest(b)] }));
  writeJson(record('first'), { ...first, inputs, of: { [a]: digest(a), [b]: digest(b) } });
  writeJson(at('out/.stages/first.settings.json'), { ...settings, stage });
  const before = readFileSync(record('first'), 'utf8');
  assert.deepEqual(await plan(), DONE);
  await run();
  assert.equal(readFileSync(record('first'), 'utf8'), before);
  assert.deepEqual(await plan('seed=3'), ['stale; seed was 0, is 3', 'stale; its input first is made again']);
  await writeTinySet(a, { perClass: [2, 4] });
  assert.deepEqual(await plan(), again(`its input ${a} has changed`));
});
