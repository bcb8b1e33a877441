// What an old model left: samples or classes that it has nothing of, and artefacts that do not belong together.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern } from '../../test/helpers/images.ts';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { derivedSide, type OldSide, tinySet, weights } from '../../test/helpers/runs.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { encodePgm } from '../data/decode.ts';
import { type Dataset, openDataset } from '../data/index.ts';
import { FeatureSet, type FeaturesInfo, writeFeatureSet, writePrototypes } from '../features/index.ts';
import { type OldModelPaths, openOldModelInputs } from './old-model-inputs.ts';
import { train } from './train.ts';

/** Samples 3 and 12, and all of class 2: 17 … 23 of 50 images in 6 classes of 9, 8, 7, 9, 8, 9. */
const MISSING = [3, 12, 17, 18, 19, 20, 21, 22, 23];

/** An old model's features of a set, without those of some rows, and what is derived of them. */
async function oldSideWithout(
  dataset: Dataset,
  folder: string,
  missing: readonly number[],
  model: FeaturesInfo['model'] = null,
): Promise<OldSide> {
  const at = (name: string): string => join(folder, name);
  const dim = 8;
  const content = {
    ...{ dim, classes: dataset.classes, model, flip: 'none' as const },
    dataset: { path: dataset.path, digest: dataset.digest, count: dataset.size, classes: dataset.classes },
    labels: dataset.labels(),
    families: dataset.families(),
  };
  await writeFeatureSet(at('features'), content, {}, ({ append, markMissing }) => {
    for (let row = 0; row < dataset.size; row++)
      append(
        Float32Array.from({ length: dim }, (_, d) =>
          missing.includes(row) ? 0 : Math.sin(content.labels[row]! * 7 + d + row / 90 + (model?.name.length ?? 0)),
        ),
      );
    markMissing(missing.map((row) => ({ row, id: `image ${row}`, problem: 'for the test' })));
  });
  return derivedSide(folder);
}

test('each method skips the samples of which it needs something that is missing, counts and names them', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const write = reportsOf(t);
  const side = await oldSideWithout(dataset, folder, MISSING);
  const without = (rows: readonly number[]): number[] => [...Array(50).keys()].filter((i) => !rows.includes(i));
  const lostClass = MISSING.slice(2);
  const cases: readonly (readonly [string, (keyof OldModelPaths)[], readonly number[]])[] = [
    ['independent', [], []],
    ['l2', ['features'], MISSING],
    ['mixbct', ['features', 'credible'], MISSING],
    ['nccl', ['features'], MISSING],
    ['advbct', ['features', 'boundaries'], MISSING],
    ['bct', ['prototypes'], lostClass],
    ['unibct', ['features'], lostClass],
    ['pairs', ['features'], MISSING],
    ['joint', ['features'], MISSING],
    ['ndpp', ['prototypes'], lostClass],
  ];
  for (const [kind, paths, lost] of cases) {
    const method = { kind, ...(kind === 'unibct' && { startEpoch: 0, refreshEpochs: [0] }) };
    const recipe = tinyRecipe({ method, epochs: 2 });
    using supply = openOldModelInputs(recipe, Object.fromEntries(paths.map((what) => [what, side[what]])), dataset);
    const seen = new Set<number>();
    const old = {
      ...supply,
      forBatch: (indices: Int32Array) => {
        for (const i of indices) seen.add(i);
        return supply.forBatch(indices);
      },
    };
    const out = join(folder, kind);
    const { counts, steps } = await train({ recipe, dataset, old, out });
    assert.ok([...seen].every((i) => !lost.includes(i)), kind); // biome-ignore format: short
    assert.deepEqual([...(supply.samples ?? without([]))], without(lost), kind);
    assert.equal(steps, 2 * Math.floor((50 - lost.length) / 8), kind);
    assert.equal(counts['images without an old embedding'], lost.length || undefined, kind);
    const said = write.text();
    assert.equal(said.includes(`${out}: training skips ${lost.length} of 50 images`), lost.length > 0, kind);
  }
  const few = tinyRecipe({ method: { kind: 'l2' }, batchSize: 48 });
  using supply = openOldModelInputs(few, { features: side.features }, dataset);
  await assert.rejects(
    train({ recipe: few, dataset, old: supply, out: join(folder, 'few') }),
    /41 images do not fill one batch of 48 \(9 more have no old embedding\)/,
  );
});

test('a run with skipped samples resumes to the same bytes, and counts them once', async (t) => {
  const { folder, dataset } = await tinySet(t);
  reportsOf(t);
  const side = await oldSideWithout(dataset, folder, MISSING);
  const recipe = tinyRecipe({ method: { kind: 'l2' }, epochs: 2 });
  using old = openOldModelInputs(recipe, { features: side.features }, dataset);
  const whole = join(folder, 'whole');
  await train({ recipe, dataset, old, out: whole });
  const cut = join(folder, 'cut');
  const stop = new AbortController();
  const stopping = {
    ...old,
    forBatch: (indices: Int32Array) => {
      stop.abort();
      return old.forBatch(indices);
    },
  };
  await assert.rejects(train({ recipe, dataset, old: stopping, out: cut, signal: stop.signal }), /stopped at step 1 /);
  const { counts } = await train({ recipe, dataset, old, out: cut, resume: true });
  assert.equal(counts['images without an old embedding'], 9);
  assert.deepEqual(weights(cut), weights(whole));
});

const modelNamed = (name: string): FeaturesInfo['model'] => ({
  ...{ name, digest: `digest of ${name}`, preset: 'default', differences: [], trainedOn: null },
});

test('masks, prototypes and boundaries of another model or of other features are refused', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const [a, b, again] = await Promise.all(
    [
      ['a', modelNamed('a'), []],
      ['b', modelNamed('other'), []],
      ['again', modelNamed('a'), [4]],
    ].map(([name, model, missing]) =>
      oldSideWithout(dataset, join(folder, name as string), missing as number[], model as FeaturesInfo['model']),
    ),
  );
  const open = (kind: string, paths: OldModelPaths): void =>
    openOldModelInputs(tinyRecipe({ method: { kind } }), paths, dataset)[Symbol.dispose]();
  open('mixbct', { features: a!.features, credible: a!.credible });
  open('advbct', { features: a!.features, boundaries: a!.boundaries });
  open('advbct', { features: a!.features, boundaries: again!.boundaries });
  assert.throws(
    () => open('mixbct', { features: a!.features, credible: b!.credible }),
    /b\/credible \(model other .*\) does not belong to .*a\/features \(model a /,
  );
  assert.throws(
    () => open('mixbct', { features: a!.features, credible: again!.credible }),
    /again\/credible .* does not belong to/,
    'a mask is of single rows: those of other features may be other ones',
  );
  assert.throws(
    () => open('advbct', { features: a!.features, boundaries: b!.boundaries }),
    /b\/boundaries .* does not belong to/,
  );
  const manifest = join(b!.boundaries, 'manifest.json');
  const { model: _, ...before } = readJson(manifest) as Record<string, unknown>;
  writeJson(manifest, before);
  assert.throws(
    () => open('advbct', { features: a!.features, boundaries: b!.boundaries }),
    /b\/boundaries \(features [0-9a-f]+\) does not belong to/,
    'boundaries of an older version name their features alone',
  );
  open('advbct', { features: b!.features, boundaries: b!.boundaries });
});

test('prototypes of fewer classes than the dataset has are refused: they are looked up by label', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const content = { dim: 8, classes: 5, model: null, dataset: null, flip: 'none' as const };
  const labels = dataset.labels().map((label) => Math.min(label, 4));
  const path = join(folder, 'foreign');
  await writeFeatureSet(path, { ...content, labels, families: labels }, {}, ({ append }) =>
    append(Float32Array.from({ length: 50 * 8 }, (_, i) => Math.sin(i))),
  );
  using set = FeatureSet.open(path);
  await writePrototypes(join(folder, 'prototypes'), set);
  assert.throws(
    () =>
      openOldModelInputs(tinyRecipe({ method: { kind: 'bct' } }), { prototypes: join(folder, 'prototypes') }, dataset),
    /prototypes: made of 5 classes, .*set has 6\n.*--data/,
  );
});

test('what is made of features without a dataset is refused where their classes have other numbers', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const write = reportsOf(t);
  const made = async (name: string, labels: Int32Array): Promise<OldSide> => {
    const content = { dim: 8, classes: dataset.classes, model: null, dataset: null, flip: 'none' as const };
    await writeFeatureSet(join(folder, name, 'features'), { ...content, labels, families: labels }, {}, ({ append }) =>
      append(Float32Array.from({ length: 50 * 8 }, (_, i) => Math.sin(i))),
    );
    return derivedSide(join(folder, name));
  };
  const [same, permuted] = [
    await made('same', dataset.labels()),
    await made('permuted', dataset.labels().map((label) => (label + 1) % dataset.classes)), // biome-ignore format: short
  ];
  const open = (kind: string, paths: OldModelPaths): void =>
    openOldModelInputs(tinyRecipe({ method: { kind } }), paths, dataset)[Symbol.dispose]();
  for (const kind of ['bct', 'ndpp']) {
    open(kind, { prototypes: same.prototypes });
    assert.throws(
      () => open(kind, { prototypes: permuted.prototypes }),
      /permuted\/prototypes: made of rows of other classes than the images of .*set, or in another order\n.*--data/,
    );
  }
  assert.throws(() => open('advbct', { features: same.features, boundaries: permuted.boundaries }), /other classes/);
  assert.throws(() => open('mixbct', { features: same.features, credible: permuted.credible }), /other classes/);
  assert.equal(write.text(), '');
  const manifest = join(permuted.prototypes, 'manifest.json');
  const { labels: _, ...before } = readJson(manifest) as Record<string, unknown>;
  writeJson(manifest, before);
  open('bct', { prototypes: permuted.prototypes });
  assert.match(write.text(), /note: .*permuted\/prototypes names no dataset; its classes are taken for those of .*set/);
});

test('with leave to skip unreadable images, UniBCT embeds its training set and says what it could not read', async (t) => {
  const folder = testFolder(t);
  const images = join(folder, 'images');
  for (const label of ['a', 'b', 'c']) {
    mkdirSync(join(images, label), { recursive: true });
    for (let i = 0; i < 6; i++)
      writeFileSync(join(images, label, `${i}.pgm`), encodePgm(pattern(label.charCodeAt(0), i, 16), 16, 16));
  }
  writeFileSync(join(images, 'b', '2.pgm'), 'no picture');
  const write = reportsOf(t);
  using dataset = openDataset(images);
  const { features } = await oldSideWithout(dataset, folder, [8]);
  const recipe = tinyRecipe({ method: { kind: 'unibct', startEpoch: 0, refreshEpochs: [0] }, epochs: 1 });
  using old = openOldModelInputs(recipe, { features }, dataset);
  const out = join(folder, 'run');
  const { badImages } = await train({ recipe, dataset, old, out, skipBadImages: true, workers: 0 });
  assert.equal(badImages, 1);
  const said = write.text();
  assert.match(said, /run: 1 unreadable image, each replaced by another image of its batch:\n {2}.*b\/2\.pgm \(/);
});
