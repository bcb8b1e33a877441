// The library from a program: what it does, and that it prints nothing unless asked.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../test/helpers/folder.ts';
import { writeTinySet } from '../test/helpers/images.ts';
import { packageRoot } from './base/version.ts';

/** From a recipe to an evaluation, with and without an experiment file; `result.json` in its folder tells what came out. */
const program = `
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, exportModel, extract, loadModel, openFeatures, planExperiment, runExperiment, setThreads, train, UserError } from 'mixbct';

const at = (name) => join(process.argv[2], name);
setThreads(1);
const recipe = { network: { name: 'r18', embeddingDim: 8, inputSide: 16, width: 0.0625 }, batchSize: 8 };
const manifest = await train({ recipe, settings: ['epochs=1'], dataset: at('set'), out: at('model') });
const info = await extract({ model: at('model'), dataset: at('set'), out: at('features') });
const candidates = [{ name: 'a', features: at('features') }];
const evaluation = await evaluate({ title: 'x', old: at('features'), candidates, seed: 0, resamples: 20, out: at('judged') });
const features = openFeatures(at('features'));
const model = await loadModel(at('model'));
const embeddings = await model.embed(new Uint8Array(2 * model.side ** 2 * 3));
const exported = await exportModel(at('model'), { to: 'onnx', out: at('model.onnx') });
const heard = [];
const reporter = { line: (text) => heard.push(text), progress: () => ({ update() {}, stop() {} }) };
const experiment = { out: at('out'), dataFolder: at('data'), workers: 0 };
const planned = await planExperiment(at('x.json'), experiment);
const { places } = await runExperiment(at('x.json'), { ...experiment, reporter });
const words = async (call) => await call().then(() => 'no error', (error) => error instanceof UserError ? error.message : String(error));
const wrong = [
  await words(() => train({ recipe, dataset: at('set'), outt: at('no') })),
  await words(() => extract({ model: at('model'), out: at('no') })),
  await words(() => evaluate()),
  await words(() => exportModel(at('model'), { to: 'onnx', out: at('no'), unitlength: true })),
];
const refused = await runExperiment(at('y.json'), experiment).catch((error) => error instanceof UserError);
writeFileSync(at('result.json'), JSON.stringify({
  steps: manifest.steps, count: info.count, title: evaluation.title, dim: features.info.dim, values: embeddings.length,
  exported: exported.metadata.model === manifest.model,
  planned: planned.map(({ state }) => state), places: Object.keys(places), heard, refused, wrong,
}));
`;

test('a program trains, extracts, evaluates and runs an experiment; nothing is printed, a reporter hears the news', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: new Array(14).fill(6), families: 3 });
  const stages = { some: { do: 'sample', of: join(folder, 'set'), perClass: 3 } };
  writeFileSync(join(folder, 'x.json'), JSON.stringify({ title: 'x', stages }));
  writeFileSync(join(folder, 'program.mjs'), program);
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(packageRoot, join(folder, 'node_modules/mixbct'));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['program.mjs', folder], {
    cwd: folder,
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
  assert.deepEqual(JSON.parse(readFileSync(join(folder, 'result.json'), 'utf8')), {
    ...{ steps: 10, count: 84, title: 'x', dim: 8, values: 16, exported: true, planned: ['new'], places: ['some'] },
    heard: [`[1/1] some: draw 3 images of each class of ${folder}/set`],
    refused: true,
    wrong: [
      'train has no option outt; did you mean out?\n  hint: its options: recipe, dataset, out, settings, preset, old, resume, force, inputs, workers, skipBadImages, skipNonFinite, logEvery, saveEvery, signal, distributed, overlap, hooks, reporter',
      'extract: the option dataset is missing',
      'evaluate: wanted an object of options: title, old, candidates, seed, out, oracle, far, genuines, impostors, probes, resamples, maxZeroShare, memoryBytes, figures, trial, force, reporter',
      'exportModel has no option unitlength; did you mean unitLength?\n  hint: its options: to, out, space, unitLength, pixels, half, check, evaluation, force, reporter',
    ],
  });
});
