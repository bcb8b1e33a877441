import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'; // biome-ignore format: short
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { holderOf, killed } from '../../test/helpers/locks.ts';
import { readOnly } from '../../test/helpers/read-only.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { Interrupted } from '../base/errors.ts';
import { parseRecipe } from '../runs/load-recipe.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { stages as kinds } from '../stages/index.ts';
import { planExperiment } from '../stages/run-experiment.ts';
import { trainModel } from '../stages/train.ts';
import { loadExperiment } from './load.ts';
import type { PlannedStage } from './plan.ts';
import { runStages } from './run.ts';

const network = { name: 'r18', embeddingDim: 8, inputSide: 16, width: 0.0625 };
const recipe = { network, head: { kind: 'softmax' }, epochs: 1, batchSize: 8 };

/** Stages that take samples of samples. */
const samples = (...perClass: readonly number[]) =>
  Object.fromEntries(
    perClass.map((n, i) => [`sample-${i}`, { do: 'sample', of: i === 0 ? './set' : `sample-${i - 1}`, perClass: n }]),
  );

/** A folder with `set`, 16 images of 4 classes, and the experiment file `x.json` with these stages. */
async function withStages(t: TestContext, stages: object): Promise<string> {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [4, 4, 4, 4] });
  writeStages(folder, stages);
  return folder;
}

const writeStages = (folder: string, stages: object, of = './set'): void =>
  writeFileSync(
    join(folder, 'x.json'),
    JSON.stringify({ title: 'samples', stages }).replaceAll('"./set"', JSON.stringify(of)),
  );

/** Runs `x.json` of a folder in another. → for each stage whether it was done already */
function stagesRun(cwd: string, file: string, out: string, ...options: readonly string[]): Record<string, boolean> {
  const { code, err } = mixbct(cwd, 'run', file, '--out', out, '--threads', '1', ...options);
  assert.equal(code, 0, err);
  const lines = err.matchAll(/^\[\d+\/\d+\] ([\w-]+): (done already)?/gm);
  return Object.fromEntries([...lines].map(([, id, done]) => [id, done !== undefined]));
}

/** The files below a folder with digests of what they hold. */
const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length), fileDigest(path)]),
  );

test('an experiment that is told to stop does not begin the next stage, and goes on behind the last', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [4, 4, 4, 4] });
  const file = join(folder, 'experiment.yaml');
  const of = join(folder, 'set');
  writeFileSync(
    file,
    JSON.stringify({
      title: 'two stages',
      stages: { first: { do: 'sample', of, perClass: 3 }, second: { do: 'sample', of: 'first', perClass: 2 } },
    }),
  );
  const experiment = await loadExperiment(file, { kinds });
  const out = join(folder, 'out');
  const options = { out, dataFolder: folder, force: false, workers: 0 };
  const done = (id: string): boolean => existsSync(join(out, id)) && existsSync(join(out, '.stages', `${id}.json`));
  // told while the first stage runs
  const begun = (): boolean => existsSync(out) && readdirSync(out).some((name) => name !== '.stages');
  const signal = { get aborted() { return begun(); } } as AbortSignal; // biome-ignore format: short
  await assert.rejects(
    runStages(experiment, { ...options, signal }),
    (error) => error instanceof Interrupted && /stopped before stage second/.test(error.message),
  );
  assert.deepEqual([done('first'), done('second')], [true, false]);
  await runStages(experiment, { ...options, signal: new AbortController().signal });
  assert.ok(done('second'));
});

test('an experiment is done wherever it lies, however its path and those of its inputs are spelled, and writes nothing then', async (t) => {
  const stages = {
    ...samples(3),
    old: { do: 'train', on: 'sample-0', recipe },
    features: { do: 'extract', model: 'old', of: 'sample-0' },
    means: { do: 'average', features: 'features' },
  };
  const folder = await withStages(t, stages);
  const all = (done: boolean) => Object.fromEntries(Object.keys(stages).map((id) => [id, done]));
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), all(false));
  const [sub, moved] = [join(folder, 'sub'), join(folder, 'else/where')];
  const before = contents(join(folder, 'out'));
  mkdirSync(sub);
  mkdirSync(join(folder, 'else'));
  writeStages(folder, stages, '../set');
  assert.deepEqual(stagesRun(sub, '../x.json', '../out'), all(true), 'from another folder');
  renameSync(join(folder, 'out'), moved);
  symlinkSync(moved, join(folder, 'link'));
  writeStages(folder, stages, join(folder, 'set'));
  assert.deepEqual(stagesRun(sub, '../x.json', '../link'), all(true), 'moved, through a link');
  for (const ending of ['rec', 'idx', 'json']) rmSync(join(folder, `set.${ending}`));
  writeStages(folder, stages);
  const giveBack = readOnly(t, moved);
  if (giveBack)
    try {
      assert.deepEqual(stagesRun(folder, 'x.json', moved), all(true), 'read-only, without the data set');
    } finally {
      giveBack();
    }
  assert.deepEqual(contents(moved), before);
});

test('records of 0.3.0, whose places are as seen from the folder that it ran in, are understood', async (t) => {
  const stages = {
    first: { do: 'sample', of: './set', perClass: 3 },
    second: { do: 'sample', of: 'first', perClass: 2 },
  };
  const folder = await withStages(t, stages);
  stagesRun(folder, 'x.json', 'out');
  // as 0.3.0 wrote them for these stages and these images, with --out runs/x
  const records = {
    first: { inputs: '226f767df2d0e52f', made: { first: 'runs/x/first/set_sample_3' } },
    second: { inputs: 'f8f33e1b1a4dbf1e', made: { second: 'runs/x/second/set_sample_3_sample_2' } },
  };
  for (const [id, record] of Object.entries(records))
    writeFileSync(join(folder, `out/.stages/${id}.json`), JSON.stringify(record));
  const before = contents(join(folder, 'out'));
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), { first: true, second: true });
  assert.deepEqual(contents(join(folder, 'out')), before);
  writeFileSync(join(folder, 'out/.stages/first.json'), '{"inputs":3}');
  assert.match(mixbct(folder, 'run', 'x.json', '--out', 'out').err, /first\.json: is damaged/);
});

test('records from before names and files counted by their content are understood', async (t) => {
  const init = { from: './w.safetensors' };
  const stages = { ...samples(3, 2), tuned: { do: 'train', on: './named', recipe: { ...recipe, init } } };
  const folder = await withStages(t, { old: { do: 'train', on: './set', recipe } });
  await writeTinySet(join(folder, 'named'), { perClass: [4, 4, 4, 4], families: 2 });
  stagesRun(folder, 'x.json', 'first');
  renameSync(runFiles(join(folder, 'first/old')).model, join(folder, 'w.safetensors'));
  writeStages(folder, stages);
  stagesRun(folder, 'x.json', 'out');
  // as commit 48e87a4 wrote them
  const records = {
    'sample-0': { inputs: '4948bb7be8f4438c', of: { './set': '1cbe5f08f8b419a1' } },
    'sample-1': { inputs: '3e50299f1fa846d2', of: { 'sample-0': '13c15d1cc61b0385' } },
    tuned: { inputs: '9b589b2cd1ecc5a3', of: { './named': 'b8ed16d667d286b5' } },
  };
  for (const [id, record] of Object.entries(records)) {
    const path = join(folder, `out/.stages/${id}.json`);
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), mixbct: '0.3.0', ...record }));
  }
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), { 'sample-0': true, 'sample-1': true, tuned: true });
});

test('a stage begins from a file of weights that it names; another file asks for --force', async (t) => {
  const folder = await withStages(t, { old: { do: 'train', on: './set', recipe } });
  stagesRun(folder, 'x.json', 'first');
  const [weights, { model, head }] = [join(folder, 'w.safetensors'), runFiles(join(folder, 'first/old'))];
  copyFileSync(model, weights);
  writeStages(folder, { tuned: { do: 'train', on: './set', init: './w.safetensors', recipe } });
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), { tuned: false });
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), { tuned: true });
  copyFileSync(head, weights);
  assert.match(mixbct(folder, 'run', 'x.json', '--out', 'out', '--dry-run').out, /its input \.\/w\.safetensors has changed; needs --force/); // biome-ignore format: short
});

test('a training whose forced replacement failed early begins anew the next time', async (t) => {
  const folder = await withStages(t, { old: { do: 'train', on: './set', recipe } });
  const out = join(folder, 'out/old');
  const interrupted = { dataset: join(folder, 'set'), out, workers: 0, signal: AbortSignal.abort() };
  const parsed = parseRecipe({ ...recipe, epochs: 2 }, 'a test');
  await assert.rejects(trainModel({ ...interrupted, recipe: parsed }), /stopped at step/);
  const [holder] = await holderOf(t, out);
  const refused = mixbct(folder, 'run', 'x.json', '--out', 'out', '--force');
  assert.match(refused.err, new RegExp(`old: process ${holder.pid} is writing it`));
  await killed(holder);
  const { code, err } = mixbct(folder, 'run', 'x.json', '--out', 'out', '--threads', '1');
  assert.equal(code, 0, err);
  assert.match(err, /old: its checkpoint is of another training; the training begins anew/);
});

test('an interrupted training whose checkpoints are damaged begins anew with --force, and not without', async (t) => {
  const folder = await withStages(t, { old: { do: 'train', on: './set', recipe } });
  const { checkpoint, previous } = runFiles(join(folder, 'out/old'));
  const [holder] = await holderOf(t, join(folder, 'out/old'));
  assert.equal(mixbct(folder, 'run', 'x.json', '--out', 'out').code, 2); // the stage is begun
  await killed(holder);
  mkdirSync(join(folder, 'out/old'), { recursive: true });
  for (const path of [checkpoint, previous]) writeFileSync(path, 'torn');
  const refused = mixbct(folder, 'run', 'x.json', '--out', 'out');
  assert.deepEqual([refused.code, existsSync(previous)], [2, true]);
  assert.match(refused.err, /no checkpoint is intact[\s\S]*--force/);
  assert.deepEqual(stagesRun(folder, 'x.json', 'out', '--force'), { old: false });
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), { old: true });
});

test('what hangs on a stage that is made again is no longer done, also if that was cut short', async (t) => {
  const folder = await withStages(t, samples(3, 2, 1));
  stagesRun(folder, 'x.json', 'out');
  writeStages(folder, samples(4, 2, 1));
  const refused = mixbct(folder, 'run', 'x.json', '--out', 'out');
  assert.equal(refused.code, 2);
  assert.match(refused.err, /stage sample-0 was made with different options or inputs\n.*--force/);
  stagesRun(folder, 'x.json', 'out', '--force', '--only', 'sample-0'); // and no further
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), { 'sample-0': true, 'sample-1': false, 'sample-2': false });
  assert.deepEqual(stagesRun(folder, 'x.json', 'out', '--force'), {
    'sample-0': true,
    'sample-1': true,
    'sample-2': true,
  });
});

test('what the experiment did not make, or finished without a record, is neither written over nor trained again', async (t) => {
  const folder = await withStages(t, { old: { do: 'train', on: './set', recipe } });
  const out = join(folder, 'out');
  stagesRun(folder, 'x.json', 'out');
  const before = contents(join(out, 'old'));
  // as a kill between the model's last byte and the stage's record leaves it
  const record = join(out, '.stages/old.json');
  writeFileSync(record, JSON.stringify({ ...JSON.parse(readFileSync(record, 'utf8')), made: null }));
  writeFileSync(runFiles(join(out, 'old')).checkpoint, 'the last one');
  assert.match(mixbct(folder, 'run', 'x.json', '--out', 'out').err, /the model is finished already/);
  assert.deepEqual(contents(join(out, 'old')), before, 'and the checkpoint is removed');
  rmSync(join(out, '.stages'), { recursive: true });
  writeStages(folder, { old: { do: 'train', on: './set', recipe: { ...recipe, epochs: 2 } } });
  for (const _ of ['once', 'again']) {
    const refused = mixbct(folder, 'run', 'x.json', '--out', 'out');
    assert.deepEqual([refused.code, contents(join(out, 'old'))], [2, before]);
    assert.match(refused.err, /old: a finished run stands there\n.*--force/);
  }
  stagesRun(folder, 'x.json', 'out', '--force');
  rmSync(join(out, 'old', MANIFEST)); // a half-removed model is not done
  assert.deepEqual(stagesRun(folder, 'x.json', 'out', '--force'), { old: false });
});

test('a folder that holds something else is not taken for that of an experiment', async (t) => {
  const folder = await withStages(t, {});
  writeStages(folder, samples(2), join(folder, 'set'));
  const [file, out] = [join(folder, 'x.json'), join(folder, 'out')];
  const plan = (place: string, force = false) => planExperiment(file, { out: place, force });
  await assert.rejects(plan(folder), /is no folder of an experiment: it holds set\.idx\n.*--out.*--force/);
  for (const ending of ['rec', 'idx', 'json'])
    renameSync(join(folder, `set.${ending}`), join(folder, `sample-0.${ending}`));
  writeStages(folder, samples(2), join(folder, 'sample-0'));
  await plan(folder); // its own file, and what is named after a stage
  mkdirSync(join(out, 'sample-0'), { recursive: true });
  writeFileSync(join(out, '.sample-0.lock'), '');
  await plan(out);
  writeFileSync(join(out, 'sample-01'), '');
  await assert.rejects(plan(out), /it holds sample-01/);
  await plan(out, true);
  mkdirSync(join(out, '.stages'));
  await plan(out);
});

test('one process at a time makes stages of an experiment; where all is done none is in the way', async (t) => {
  const folder = await withStages(t, samples(2));
  const [holder] = await holderOf(t, join(folder, 'out'));
  const refused = mixbct(folder, 'run', 'x.json', '--out', 'out');
  assert.equal(refused.code, 2);
  assert.match(refused.err, new RegExp(`out: process ${holder.pid} is writing it since `));
  assert.ok(!existsSync(join(folder, 'out')));
  holder.stdin.end();
  await new Promise((done) => holder.once('exit', done));
  stagesRun(folder, 'x.json', 'out');
  await holderOf(t, join(folder, 'out'));
  assert.deepEqual(stagesRun(folder, 'x.json', 'out'), { 'sample-0': true });
});

test('a dry run tells what would run and why, stage after stage, and changes nothing', async (t) => {
  const folder = await withStages(t, samples(3, 2, 1));
  const dryRun = (...options: readonly string[]) => {
    const { code, out, err } = mixbct(folder, 'run', 'x.json', '--out', 'out', '--dry-run', '--json', ...options);
    assert.equal(code, 0, err);
    return (JSON.parse(out) as PlannedStage[]).map(({ state, reasons, needsForce }) => ({
      state,
      reasons,
      needsForce,
    }));
  };
  const planned = (state: string, reason?: string, needsForce = false) => ({
    ...{ state, reasons: reason === undefined ? [] : [reason], needsForce },
  });
  assert.deepEqual(dryRun(), [planned('new'), planned('new'), planned('new')]);
  assert.ok(!existsSync(join(folder, 'out')));
  stagesRun(folder, 'x.json', 'out', '--only', 'sample-1');
  const before = contents(join(folder, 'out'));
  assert.deepEqual(dryRun(), [planned('done'), planned('done'), planned('new')]);
  writeStages(folder, samples(4, 2, 1));
  const after = planned('stale', 'its input sample-0 is made again');
  assert.deepEqual(dryRun(), [planned('stale', 'perClass was 3, is 4', true), after, planned('new')]);
  assert.deepEqual(dryRun('--force', '--only', 'sample-1'), [planned('stale', 'perClass was 3, is 4'), after]);
  assert.deepEqual(contents(join(folder, 'out')), before);
  const { out } = mixbct(folder, 'run', 'x.json', '--out', 'out', '--dry-run');
  assert.match(out, /sample-0 +stale +draw 4 images of each class of \.\/set; perClass was 3, is 4; needs --force/);
  assert.match(out, /\n3 of 3 stages would run\n$/);
  rmSync(join(folder, 'out/sample-0/set_sample_3.idx'));
  writeStages(folder, samples(3, 2, 1));
  const again = 'its input sample-0 is made first; if that comes out as before, this stage is done';
  assert.deepEqual(dryRun('--only', 'sample-1'), [
    planned('stale', 'what it made is no longer there'),
    planned('stale', `${again}, otherwise it needs --force`),
  ]);
  assert.deepEqual(dryRun('--only', 'sample-1', '--force').at(-1), planned('stale', again));
});
