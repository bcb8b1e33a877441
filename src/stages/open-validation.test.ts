import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { before, test } from 'node:test';
import { decodeEvents } from '../../test/helpers/event-decoder.ts';
import { suiteFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { weights } from '../../test/helpers/runs.ts';
import { openDataset } from '../data/index.ts';
import { evaluate } from '../eval/evaluate.ts';
import { extractFeatures, FeatureSet } from '../features/index.ts';
import { readRunManifest } from '../runs/load-model.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { readRunLog } from '../runs/run-log.ts';
import { setThreads } from '../torch/index.ts';
import { holdOutClasses } from './hold-out.ts';
import { trainModel } from './train.ts';

const folder = suiteFolder();
const at = (name: string): string => join(folder, name);
const validate = { on: at('set_eval'), features: at('old-eval') };
/** Ends after one validation that is no better, and keeps the best. */
const STRICT = { validation: { every: 1, early: 1, keepBest: true }, epochs: 8 };

const optionsOf = (out: string, changes: Record<string, unknown>) => ({
  ...{ recipe: tinyRecipe(changes), dataset: at('set_train'), out: at(out), logEvery: 1, workers: 0 },
  ...(changes['validation'] !== undefined && { validate }),
});
const trained = (out: string, changes: Record<string, unknown> = {}, more: object = {}) =>
  trainModel({ ...optionsOf(out, changes), ...more });

const validationsOf = (out: string) =>
  readRunLog(at(out)).events.flatMap((event) =>
    'validation' in event ? [{ step: event.step, ...event.validation }] : [],
  );

async function extracted(run: string, out: string): Promise<void> {
  using dataset = openDataset(at('set_eval'));
  using encoder = await openEncoder(at(run));
  await extractFeatures(dataset, encoder, { out: at(out), batchSize: 16 });
}

before(async () => {
  setThreads(1);
  await writeTinySet(at('set'), { perClass: new Array<number>(14).fill(8), families: 4 });
  await holdOutClasses({ dataset: at('set'), classes: 5, seed: 1, out: folder });
  await trained('old', { epochs: 1, head: { kind: 'softmax' } });
  await extracted('old', 'old-eval');
});

test('validations measure what an evaluation does, and change nothing of the training', async () => {
  await trained('plain', { epochs: 3 });
  await trained('validated', { epochs: 3, validation: { every: 2 } });
  assert.deepEqual(weights(at('validated')), weights(at('plain')));
  const found = validationsOf('validated');
  assert.deepEqual(
    found.map(({ step }) => step),
    [18, 27],
    'after the second epoch, and at the end',
  );
  await extracted('validated', 'new-eval');
  const features = (name: string) => {
    using set = FeatureSet.open(at(name));
    return { name, rows: set.all(), dim: set.info.dim };
  };
  using set = FeatureSet.open(at('new-eval'));
  const { tests } = evaluate({
    ...{ title: 'x', dataset: { path: 'x', digest: 'x' }, labels: set.labels(), families: set.families() },
    ...{ old: features('old-eval'), candidates: [features('new-eval')], resamples: 10 },
  });
  for (const gallery of ['new', 'old']) {
    const one = tests.find((test) => test.query === 'new-eval' && test.gallery === `${gallery}-eval`)!;
    const last = found.at(-1) as unknown as Readonly<Record<string, number>>;
    assert.equal(last[`new → ${gallery} rank-1`], one.identification!.ranks.find(({ rank }) => rank === 1)!.rate);
    assert.equal(last[`new → ${gallery} TAR@FAR=1e-3`], one.verification!.tar.find(({ far }) => far === 1e-3)!.atMost);
  }
});

test('training ends when the metric stops to rise and keeps the best model; killed in between it comes to the same bytes', async () => {
  await trained('whole', { ...STRICT, logs: 'tensorboard' });
  const found = validationsOf('whole');
  const values = found.map((one) => (one as unknown as Readonly<Record<string, number>>)['new → old rank-1']!);
  const best = values.indexOf(Math.max(...values));
  const noBetter = values.findIndex((value, i) => i > 0 && value <= Math.max(...values.slice(0, i)));
  assert.equal(values.length, noBetter < 0 ? STRICT.epochs : noBetter + 1, `it ends at the first that is no better: ${values}`); // biome-ignore format: short
  const { validation, steps } = readRunManifest(at('whole'));
  assert.equal(steps, 9 * values.length);
  assert.deepEqual([validation!.best, validation!.bestStep, validation!.kept], [values[best], 9 * (best + 1), 9 * (best + 1)]); // biome-ignore format: short
  // the same steps without the later ones
  await trained('until-best', { ...STRICT, validation: { every: 1 } }, { hooks: [{ onStep: (training: { step: number; endEarly: () => void }) => void (training.step === validation!.kept && training.endEarly()) }] }); // biome-ignore format: short
  assert.deepEqual(weights(at('whole')), weights(at('until-best')));
  assert.equal(existsSync(runFiles(at('whole')).best), false);

  const script = resolve(import.meta.dirname, '../../test/helpers/validate-until-killed.js');
  for (const [name, killAt] of [['cut-at-best', validation!.kept], ['cut-at-end', steps]] as const) {
    const options = optionsOf(name, { ...STRICT, logs: 'tensorboard' });
    const child = spawnSync(process.execPath, [script, JSON.stringify({ ...options, killAt })], { encoding: 'utf8' });
    assert.equal(child.signal, 'SIGKILL', child.stderr);
    await trained(name, { ...STRICT, logs: 'tensorboard' }, { resume: true });
    assert.deepEqual(weights(at(name)), weights(at('whole')), name);
    const untimed = (out: string) => readRunLog(at(out)).events.map(({ time: _, ...event }) => JSON.stringify(event).replaceAll(out, 'OUT')); // biome-ignore format: short
    assert.deepEqual(untimed(name), untimed('whole'));
    const files = readdirSync(runFiles(at(name)).tensorboard);
    assert.equal(files.length, 1);
    const told = decodeEvents(readFileSync(join(runFiles(at(name)).tensorboard, files[0]!))).slice(2);
    const stepsWith = (tag: string) => told.flatMap((event) => ('scalars' in event && tag in event.scalars ? [event.step] : [])); // biome-ignore format: short
    assert.deepEqual(stepsWith('loss'), Array.from({ length: steps }, (_, i) => i + 1));
    assert.deepEqual(stepsWith('validation/new → old rank-1'), values.map((_, i) => 9 * (i + 1)));
  } // biome-ignore format: tables
});

test('what does not fit is refused: data without a validation and the other way round, classes that are trained on, other features', async () => {
  const refused = (message: RegExp, changes: Record<string, unknown>, more: object) =>
    assert.rejects(trained('refused', changes, more), message);
  const every = { validation: { every: 1 } };
  await refused(/set_eval: the recipe does not validate\n {2}hint: .*--set validation\.every=1/, {}, { validate });
  await refused(/held-out images to validate on are missing\n {2}hint: .*--validate-on/, every, { validate: {} });
  await refused(/features of the held-out images are missing/, { validation: { gallery: 'old' } }, { validate: { on: validate.on } }); // biome-ignore format: short
  await refused(/set_train: 9 of its classes are in .*set_train, which is trained on/, every, { validate: { on: at('set_train') } }); // biome-ignore format: short
  await refused(/set: 9 of its classes are in/, every, { validate: { on: at('set') } });
  await refused(/old-eval: has 8 dimensions, the model 4/, { ...every, network: { ...tinyRecipe().network, embeddingDim: 4 } }, {}); // biome-ignore format: short
  assert.equal(existsSync(at('refused')), false);
  const signal = AbortSignal.abort();
  await assert.rejects(trained('stopped', every, { signal }), /stopped at step/);
  await assert.rejects(
    trained('stopped', every, { resume: true, validate: { on: validate.on } }),
    /another validation/,
  );
});
