import assert from 'node:assert/strict';
import { appendFileSync, cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { writeJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { packageRoot } from '../base/version.ts';
import { openDataset } from '../data/index.ts';
import { holdOut, sampleImages } from '../data/split.ts';
import { packAccuracyArtifact, packAccuracyFile } from '../eval/pack-accuracy-artifact.ts';
import { FeatureSet, writeCredible, writeFeatureSet } from '../features/index.ts';
import { describePath } from './describe.ts';
import { followSources, type Link } from './follow.ts';

/** What 0.3.0 left on disk. */
function old(t: TestContext): (name: string) => string {
  const folder = testFolder(t);
  cpSync(join(packageRoot, 'test/fixtures/0.3.0'), folder, { recursive: true });
  return (name) => join(folder, name);
}

const linksOf = async (path: string) => await followSources(await describePath(path));

/** Kind and last part of the path of each link, with the problem of those that have one. */
const outline = (links: readonly Link[]): unknown[] =>
  links.map(({ kind, path, problem, sources }) => [
    problem === null ? `${kind} ${path?.split('/').at(-1)}` : `${kind}: ${problem}`,
    ...outline(sources),
  ]);

const oldRun = ['run old', ['dataset set_train_part_30_class']];
const oldFeatures = ['features old-features', oldRun, ['dataset set_train_part_70_class']];

test('artefacts of 0.3.0 are followed back to their data sets by what stands near them', async (t) => {
  const at = old(t);
  for (const name of ['credible', 'prototypes', 'boundaries'])
    assert.deepEqual(outline(await linksOf(at(`experiment/${name}`))), [oldFeatures], name);
  assert.deepEqual(outline(await linksOf(at('experiment/judge'))), [
    ['features old-eval', oldRun, ['dataset set_eval']],
    ['dataset set_eval'],
  ]);
  const [run] = await linksOf(at('experiment/new-eval'));
  const recorded = 'its place is not recorded, and nothing near has this digest';
  assert.deepEqual(outline([run!]), [['run new', ['dataset set_train_part_70_class'], [`old model: ${recorded}`]]]);
});

test('a link that cannot be followed says why, and what is known beyond it is told', async (t) => {
  const at = old(t);
  rmSync(at('experiment/old-features'), { recursive: true });
  rmSync(at('experiment/parts'), { recursive: true });
  const gone = 'its place is not recorded, and nothing near has this digest';
  const missing = 'dataset: not found at experiment/parts/set_train_part_70_class';
  assert.deepEqual(outline(await linksOf(at('experiment/credible'))), [[`features: ${gone}`, [missing]]]);
  appendFileSync(at('experiment/classes/set_eval.rec'), Buffer.alloc(4));
  const [, dataset] = await linksOf(at('experiment/old-eval'));
  assert.match(dataset!.problem!, /^what stands at .*set_eval now is another one \(digest [0-9a-f]{16}\)$/);
});

test('an artefact finds what it was made from where that was, wherever both were moved together', async (t) => {
  const folder = testFolder(t);
  const at = (name: string) => join(folder, name);
  await writeTinySet(at('set'), { perClass: [2, 2] });
  const content = {
    ...{ dim: 2, classes: 2, dataset: null, flip: 'none' as const },
    model: { name: 'm', digest: 'd', preset: 'default', differences: [], trainedOn: null },
    labels: Int32Array.of(0, 0, 1, 1),
    families: new Int32Array(4).fill(-1),
  };
  await writeFeatureSet(at('all/a/b/features'), content, {}, ({ append }) => append(new Float32Array(8).fill(1)));
  using features = FeatureSet.open(at('all/a/b/features'));
  await writeCredible(at('all/c/d/mask'), features, { keep: 0.5 });
  renameSync(at('all'), at('moved'));
  const expected = [['features features', ['run: its place is not recorded, and nothing near has this digest']]];
  assert.deepEqual(outline(await linksOf(at('moved/c/d/mask'))), expected);
  const { facts, madeBy } = await describePath(at('moved/c/d/mask'));
  assert.equal(facts['kept'], '2 of 4 rows');
  assert.equal(madeBy!.command, 'mixbct denoise');
});

test('a part of a data set is followed to what it was taken from', async (t) => {
  const folder = testFolder(t);
  const prefix = join(folder, 'set');
  await writeTinySet(prefix, { perClass: [3, 3, 3], families: 2 });
  {
    using dataset = openDataset(prefix);
    await holdOut(dataset, { classes: 1, seed: 1, out: join(folder, 'parts') });
  }
  {
    using dataset = openDataset(join(folder, 'parts/set_train'));
    await sampleImages(dataset, { perClass: 2, seed: 1, out: join(folder, 'samples') });
  }
  const [part] = await linksOf(join(folder, 'parts/set_eval'));
  assert.deepEqual(outline([part!]), [['dataset set']]);
  const { kind, facts, bytes, files } = await describePath(prefix);
  assert.deepEqual([kind, facts['images'], facts['families'], files], ['dataset', '9 of 3 classes', 2, 3]);
  assert.ok(bytes > 0);
  const [sample] = (await linksOf(join(folder, 'samples', 'set_train_sample_2'))) as [Link];
  assert.deepEqual(outline([sample]), [['dataset set_train', ['dataset set']]]);
  assert.equal(sample.note, '2 images of each class were drawn, seed 1');
});

test('runs, experiments, image folders and pack accuracies are described, and what is none of these is refused', async (t) => {
  const at = old(t);
  const { facts } = await describePath(at('unfinished'));
  assert.match(`${facts['state']} ${facts['model']} ${facts['step']}`, /^unfinished.* mbf, 8 dimensions 15$/);
  const experiment = await describePath(at('experiment'));
  assert.equal(experiment.facts['stages'], '11 of 11 begun are finished');
  assert.equal(experiment.madeBy!.mixbct, '0.3.0');
  mkdirSync(at('photos/anna'), { recursive: true });
  writeFileSync(at('photos/anna/1.jpg'), 'x');
  assert.equal((await describePath(at('photos'))).facts['images'], '1 of 1 classes');
  const result = { pack: 'lfw.bin', query: 'new', gallery: 'old', mean: 0.5, std: 0.25, folds: [], thresholds: [] };
  await packAccuracyArtifact.write(at('packs'), { inputs: [at('experiment/new')] }, (folder) => {
    writeJson(packAccuracyFile(folder), [result]);
    return {};
  });
  assert.equal((await describePath(at('packs'))).facts['lfw.bin: new on old'], '50.00 ± 25.00 %');
  assert.equal((await linksOf(at('packs')))[0]!.path, at('experiment/new'));
  writeJson(join(at('packs'), MANIFEST), { kind: 'puzzle' });
  await assert.rejects(describePath(at('packs')), /is of no kind that this mixbct knows \(puzzle\)/);
  writeFileSync(join(at('packs'), MANIFEST), '{');
  await assert.rejects(describePath(at('packs')), /manifest\.json: .*not valid JSON/);
  await assert.rejects(describePath(at('nothing')), /nothing: no such file or folder/);
  await assert.rejects(describePath(at('unfinished.json')), /unfinished\.json: is a file/);
});

test('mixbct info prints the description and the chain, as text and as JSON', (t) => {
  const at = old(t);
  const { out, code } = mixbct(at('.'), 'info', 'experiment/old');
  assert.equal(code, 0);
  assert.match(
    out,
    /^experiment\/old: run\n {2}model +old: mbf, 8 dimensions[\s\S]*made by +mixbct train, version 0\.3\.0/,
  );
  assert.match(out, /made from\n {2}data set experiment\/parts\/set_train_part_30_class \(digest \w{16}; 40 images/);
  const { sources, kind } = JSON.parse(mixbct(at('.'), 'info', 'experiment/old', '--json').out);
  assert.deepEqual([kind, sources[0].kind, sources[0].problem], ['run', 'dataset', null]);
});

test('mixbct info of a folder of artefacts or record sets names them', async (t) => {
  const at = old(t);
  const folder = at('together');
  mkdirSync(folder);
  for (const name of ['old', 'new']) renameSync(at(`experiment/${name}`), join(folder, name));
  await writeTinySet(join(folder, 'set'), { perClass: [2, 2] });
  await assert.rejects(
    describePath(folder),
    /is a folder of 3 things to describe: new, old, set\n.*mixbct info .*together\/new/,
  );
});

test('mixbct info of a file that another command reads names the command', (t) => {
  const folder = testFolder(t);
  const hints: Readonly<Record<string, RegExp>> = {
    'a.yaml': /mixbct run /,
    'a.pt': /mixbct import-model /,
    'a.npy': /mixbct import-features /,
  };
  for (const [name, hint] of Object.entries(hints)) {
    writeFileSync(join(folder, name), '');
    const { err, code } = mixbct(folder, 'info', name);
    assert.equal(code, 2);
    assert.match(err, hint);
  }
});
