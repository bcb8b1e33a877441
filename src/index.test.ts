// The library from a program: what it does, and that it prints nothing unless asked.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../test/helpers/folder.ts';
import { writeTinySet } from '../test/helpers/images.ts';
import { unitRows } from '../test/helpers/paired-rows.ts';
import { Rng } from './base/rng.ts';
import { packageRoot } from './base/version.ts';
import { writeFeatureSet } from './features/index.ts';
import { cutOver, evaluate, type GalleryStore, loadGallery, migrate, openGallery, plan, planChain, rollBack, searchGallery, stampGallery, UserError, verifyGallery } from './index.ts'; // biome-ignore format: short

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
      'train has no option outt; did you mean out?\n  hint: its options: recipe, dataset, out, settings, preset, old, resume, force, inputs, workers, skipBadImages, skipNonFinite, logEvery, saveEvery, signal, distributed, overlap, hooks, validate, reporter',
      'extract: the option dataset is missing',
      'evaluate: wanted an object of options: title, old, candidates, seed, out, oracle, far, genuines, impostors, probes, resamples, maxZeroShare, memoryBytes, figures, pictures, trial, force, reporter',
      'exportModel has no option unitlength; did you mean unitLength?\n  hint: its options: to, out, space, unitLength, pixels, half, check, evaluation, force, reporter',
    ],
  });
});

test('a program plans an upgrade, keeps a gallery, searches it and moves it to the new model', async (t) => {
  const folder = testFolder(t);
  const [classes, images, dim] = [30, 4, 8];
  const labels = Int32Array.from({ length: classes * images }, (_, i) => Math.floor(i / images));
  const centres = unitRows(classes, dim, new Rng('centres'));
  for (const [name, noise] of [
    ['old', 0.8],
    ['new', 0.4],
  ] as const) {
    const noises = unitRows(labels.length, dim, new Rng(name));
    const rows = noises.map((x, i) => centres[labels[Math.floor(i / dim)]! * dim + (i % dim)]! + noise * x);
    const model = { name, digest: `digest of ${name}`, preset: 'default', differences: [], trainedOn: null };
    const families = new Int32Array(labels.length).fill(-1);
    await writeFeatureSet(join(folder, name), { dim, classes, labels, families, flip: 'none', dataset: null, model, id: String }, {}, ({ append }) => append(rows)); // biome-ignore format: short
  }
  const [old, fresh, evaluation] = ['old', 'new', 'evaluation'].map((name) => join(folder, name)) as [string, string, string]; // biome-ignore format: short
  await evaluate({ title: 'x', old, candidates: [{ name: 'new', features: fresh }], seed: 0, resamples: 20, out: evaluation }); // biome-ignore format: short
  const { verdict } = await plan({ evaluations: [evaluation], metric: 'rank-1', gallerySize: 1000 });
  assert.equal(typeof verdict.accepted, 'boolean');
  const chain = await planChain({ chain: [{ name: 'a', features: old }, { name: 'b', features: fresh }], metric: 'rank-1', resamples: 20 }); // biome-ignore format: short
  assert.equal(chain.models.length, 2);

  const url = `sqlite:${join(folder, 'gallery.db')}#faces`;
  assert.equal((await loadGallery({ features: old, url })).rows, labels.length);
  await stampGallery({ url, features: old });
  const [found] = await searchGallery({ url, features: old, rows: [7], k: 2 });
  assert.equal(found!.hits[0]!.id, '7');
  const run = await migrate({ url, features: fresh, order: join(folder, 'order.txt'), limit: 40, batchSize: 20 }).catch((error) => error); // biome-ignore format: short
  assert.ok(run instanceof UserError && /order\.txt/.test(run.message), String(run));
  assert.equal((await migrate({ url, features: fresh })).ended, 'moved');
  assert.ok((await verifyGallery(url, { sample: 10 })).ok);
  await cutOver(url);
  {
    await using gallery: GalleryStore = await openGallery(url);
    assert.deepEqual([(await gallery.state()).stamp!.model.name, (await gallery.counts()).moved], ['new', 120]);
  }
  await rollBack(url);
  await assert.rejects(migrate({ url, feature: fresh } as never), /migrate has no option feature; did you mean features/); // biome-ignore format: short
});
