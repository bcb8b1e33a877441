import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { recordingEncoder, SIDE } from '../../test/helpers/encoder.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeSmallIjb } from '../../test/helpers/ijb.ts';
import { pattern } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { encodePgm } from '../data/decode.ts';
import { alignedDataset, type Dataset, openDataset, openIjb, pixelMappings, pixelPresets } from '../data/index.ts';
import type { Encoder } from '../encoders/index.ts';
import {
  type ExtractOptions,
  embedFaces,
  extractFeatures,
  extractSharded,
  FeatureSet,
  requireSamePreprocessing,
} from './index.ts';

const IMAGES = 30;
const image = (i: number): string => `class/${String(i).padStart(3, '0')}.pgm`;

/** A folder of 30 images, and beside it an empty one for what is made of them. */
function folders(t: TestContext): { images: string; made: string } {
  const folder = testFolder(t);
  const [images, made] = [join(folder, 'images'), join(folder, 'made')];
  for (const path of [join(images, 'class'), made]) mkdirSync(path, { recursive: true });
  for (let i = 0; i < IMAGES; i++) writeFileSync(join(images, image(i)), encodePgm(pattern(i, 0, SIDE), SIDE, SIDE));
  return { images, made };
}

const options = { batchSize: 4, workers: 0, flip: 'random', seed: 3 } as const;
const contents = (path: string): Buffer[] => readdirSync(path).sort().map((file) => readFileSync(join(path, file))); // biome-ignore format: short

/** What `run` says on standard error. */
async function said(t: TestContext, run: () => Promise<unknown>): Promise<string> {
  const write = reportsOf(t);
  try {
    await run();
    return write.text();
  } finally {
    write.restore();
  }
}

function killed(images: string, out: string, batches: number, flip: 'random' | 'mean' = 'random'): void {
  const script = resolve(import.meta.dirname, '../../test/helpers/extract-until-killed.js');
  const { signal, stderr } = spawnSync(process.execPath, [script, images, out, flip, String(batches)], {
    encoding: 'utf8',
  });
  assert.equal(signal, 'SIGKILL', stderr);
}

/** An attempt that fails after `batches`. */
async function failed(t: TestContext, dataset: Dataset, out: string, batches: number): Promise<void> {
  const { encoder, batches: seen } = recordingEncoder(() => {
    if (seen.length > batches) throw new Error('out of memory');
  });
  await said(t, () => assert.rejects(extractFeatures(dataset, encoder, { ...options, out }), /out of memory/));
}

test('an extraction killed in its middle goes on to the same bytes, and looks at no image twice', async (t) => {
  const { images, made } = folders(t);
  using dataset = openDataset(images);
  const [whole, out] = [join(made, 'whole'), join(made, 'cut')];
  await extractFeatures(dataset, recordingEncoder().encoder, { ...options, out: whole });
  killed(images, out, 3);
  const [left] = readdirSync(made).filter((name) => name.endsWith('.part'));
  assert.match(left!, /^\.cut\.[0-9a-f]{16}\.part$/);
  appendFileSync(join(made, left!, 'features.npy'), Buffer.alloc(2 * 8 + 3, 1)); // two rows of a batch, and a torn one
  for (let i = 0; i < 12; i++) rmSync(join(images, image(i)));
  const { encoder, batches } = recordingEncoder();
  const text = await said(t, () => extractFeatures(dataset, encoder, { ...options, out }));
  assert.match(text, /cut: goes on from row 12 of 30/);
  assert.deepEqual(batches, [4, 4, 4, 4, 2]);
  assert.deepEqual(readdirSync(made).sort(), ['cut', 'whole']);
  assert.deepEqual(readdirSync(out).sort(), [
    'classes.npy',
    'families.npy',
    'features.npy',
    'ids.jsonl',
    'labels.npy',
    'manifest.json',
  ]);
  assert.deepEqual(contents(out), contents(whole));
});

test('an extraction that is told to stop keeps its rows, and goes on to the same bytes', async (t) => {
  const { images, made } = folders(t);
  using dataset = openDataset(images);
  const [whole, out] = [join(made, 'whole'), join(made, 'stopped')];
  await extractFeatures(dataset, recordingEncoder().encoder, { ...options, out: whole });
  const controller = new AbortController();
  const { encoder, batches } = recordingEncoder(() => batches.length === 3 && controller.abort());
  const { signal } = controller;
  await said(t, () =>
    assert.rejects(extractFeatures(dataset, encoder, { ...options, out, signal }), /stopped at image 12 of 30/),
  );
  const text = await said(t, () => extractFeatures(dataset, recordingEncoder().encoder, { ...options, out }));
  assert.match(text, /goes on from row 12 of 30/);
  assert.deepEqual(contents(out), contents(whole));
});

test('the crops of a benchmark become features, in two attempts as in one', async (t) => {
  const root = testFolder(t);
  const { rows } = await writeSmallIjb(root, { subjects: 8 });
  const ijb = openIjb(root, 'IJBC');
  using dataset = alignedDataset(ijb);
  const mean = { batchSize: 4, workers: 1, flip: 'mean' } as const;
  const [whole, out] = [join(root, 'made', 'whole'), join(root, 'made', 'cut')];
  const info = await extractFeatures(dataset, recordingEncoder().encoder, { ...mean, out: whole });
  assert.deepEqual([info.count, info.classes, info.preprocessing.alignment], [rows.length, 32, 'five-points']);
  using set = FeatureSet.open(whole);
  assert.deepEqual([...set.labels()].map((t) => ijb.templateIds[t]), [...ijb.images.templates]); // biome-ignore format: short
  assert.deepEqual(set.families(), ijb.images.media);
  killed(root, out, 20, 'mean');
  for (const { name } of rows.slice(0, 40)) rmSync(join(root, 'IJBC/loose_crop', name));
  const { encoder, batches } = recordingEncoder();
  assert.match(await said(t, () => extractFeatures(dataset, encoder, { ...mean, out })), /goes on from row 40 of 88/);
  assert.equal(batches.length, 2 * 12, 'each batch and its mirror images');
  assert.deepEqual(contents(out), contents(whole));
});

test('parts of several processes that flipped by another seed are made again', async (t) => {
  const { images, made } = folders(t);
  using dataset = openDataset(images);
  const { encoder } = recordingEncoder();
  reportsOf(t);
  const extract = async (
    out: string,
    seed: number,
    { ranks }: { readonly ranks: readonly number[] },
  ): Promise<void> => {
    for (const rank of ranks)
      await extractSharded(
        dataset,
        encoder,
        { ...options, seed, out: join(made, out) },
        {
          group: {
            rank,
            processes: 2,
            barrier: () => ({
              wait: () => {
                if (rank === 1) throw new Error('killed');
              },
            }),
          },
          broadcastFromRankZero: (body) => body(),
        },
      ).catch((error: unknown) => assert.match(String(error), /killed/));
  };
  await extract('of-3', 3, { ranks: [1, 0] });
  await extract('of-4', 4, { ranks: [1, 0] });
  await extract('again', 3, { ranks: [1] });
  await extract('again', 4, { ranks: [1, 0] });
  const [of3, of4, again] = ['of-3', 'of-4', 'again'].map((name) => contents(join(made, name)));
  assert.deepEqual(again, of4);
  assert.notDeepEqual(again, of3);
  assert.equal((readJson(join(made, 'again', 'manifest.json')) as { seed: number }).seed, 4);
});

test('rows of another model, seed or preprocessing are not gone on with', async (t) => {
  const { images, made } = folders(t);
  using dataset = openDataset(images);
  const out = join(made, 'set');
  const { encoder } = recordingEncoder();
  const others: readonly (readonly [Encoder, Partial<ExtractOptions>, Dataset])[] = [
    [{ ...encoder, digest: 'another' }, {}, dataset],
    [{ ...encoder, pixels: pixelMappings.ijb }, {}, dataset],
    [encoder, { seed: 4 }, dataset],
    [encoder, { flip: 'none' }, dataset],
    [encoder, {}, { ...view(dataset), digest: 'another' }],
    [encoder, {}, { ...view(dataset), alignment: 'five-points' }],
  ];
  for (const [model, changes, data] of others) {
    await failed(t, dataset, out, 3);
    const { batches, encoder: counted } = recordingEncoder();
    const text = await said(t, () =>
      extractFeatures(data, { ...model, embed: counted.embed }, { ...options, ...changes, out }),
    );
    assert.doesNotMatch(text, /goes on/);
    assert.equal(
      batches.reduce((a, b) => a + b),
      IMAGES,
    );
    assert.deepEqual(readdirSync(made), ['set'], 'the rows of the other attempt are gone');
    rmSync(out, { recursive: true });
  }
  await failed(t, dataset, `${out}-b`, 3);
  await said(t, () => extractFeatures(dataset, { ...encoder, digest: 'x' }, { ...options, out: join(made, 'se') }));
  assert.equal(readdirSync(made).length, 2, 'an attempt at a set of another name is left alone');
});

const view = (dataset: Dataset): Dataset => ({
  path: dataset.path,
  digest: dataset.digest,
  size: dataset.size,
  classes: dataset.classes,
  sidecar: dataset.sidecar,
  source: dataset.source,
  labels: () => dataset.labels(),
  families: () => dataset.families(),
  record: (i) => dataset.record(i),
  id: (i) => dataset.id(i),
  hasOwnIds: dataset.hasOwnIds,
  name: (i) => dataset.name(i),
  close: () => undefined,
  [Symbol.dispose]: () => undefined,
});

test('an image that cannot be read costs no rows, and those that earlier attempts missed stay marked', async (t) => {
  const { images, made } = folders(t);
  writeFileSync(join(images, image(1)), 'no image');
  writeFileSync(join(images, image(21)), 'no image');
  const out = join(made, 'set');
  using dataset = openDataset(images);
  const { encoder } = recordingEncoder();
  await assert.rejects(extractFeatures(dataset, encoder, { ...options, out }), /001\.pgm: cannot be read/);
  assert.deepEqual(readdirSync(made), [], 'an error before the first row leaves nothing');
  let calls = 0;
  const failing = async (images: Uint8Array, count: number): Promise<Float32Array> => {
    if (++calls === 7) throw new Error('out of memory');
    return encoder.embed(images, count);
  };
  const skip = { ...options, out, skipBadImages: true };
  await assert.rejects(extractFeatures(dataset, { ...encoder, embed: failing }, skip), /out of memory/);
  const text = await said(t, () => extractFeatures(dataset, encoder, skip));
  assert.match(text, /goes on from row 24 of 30/);
  assert.match(text, /2 of 30 rows have no embedding.*\n {2}row 1: .*001\.pgm .*\n {2}row 21: .*021\.pgm /);
  assert.deepEqual(readdirSync(out).sort(), [
    'classes.npy',
    'families.npy',
    'features.npy',
    'ids.jsonl',
    'labels.npy',
    'manifest.json',
  ]);
});

test('a manifest tells how pictures were made ready; unequal sets are told apart, old manifests are plain', async (t) => {
  const { images, made } = folders(t);
  using dataset = openDataset(images);
  const { encoder } = recordingEncoder();
  const [plain, ijb] = [join(made, 'plain'), join(made, 'ijb')];
  await extractFeatures(dataset, encoder, { ...options, out: plain });
  const alignedSet = { ...view(dataset), alignment: 'five-points' } as const;
  const info = await extractFeatures(alignedSet, { ...encoder, pixels: pixelMappings.ijb }, { ...options, out: ijb });
  assert.deepEqual(info.preprocessing, { alignment: 'five-points', pixelDivisor: 128 });
  const { preprocessing, ...old } = readJson(join(plain, 'manifest.json')) as Record<string, unknown>;
  assert.deepEqual(preprocessing, { alignment: 'none', pixelDivisor: 127.5 });
  writeJson(join(plain, 'manifest.json'), old);
  using one = FeatureSet.open(plain);
  using other = FeatureSet.open(ijb);
  assert.deepEqual(one.info.preprocessing, preprocessing);
  requireSamePreprocessing(one, one);
  assert.throws(
    () => requireSamePreprocessing(one, other),
    /plain \(alignment none, pixels divided by 127\.5\) and .*ijb \(alignment five-points, pixels divided by 128\)/,
  );
});

test('a set tells the mapping and resize rule that its model declares, and another model may declare others', async (t) => {
  const { images, made } = folders(t);
  using dataset = openDataset(images);
  const { encoder } = recordingEncoder();
  const unit = await extractFeatures(dataset, encoder, { ...options, out: join(made, 'unit') });
  const input = { pixels: pixelPresets.imagenet, resize: { rule: 'fit', background: [1, 2, 3] } } as const;
  const declared = await extractFeatures(
    dataset,
    { ...encoder, ...input },
    { ...options, out: join(made, 'declared') },
  );
  assert.deepEqual(declared.preprocessing, { alignment: 'none', ...structuredClone(input) });
  assert.equal(unit.preprocessing.pixels, undefined);
  using one = FeatureSet.open(join(made, 'unit'));
  using other = FeatureSet.open(join(made, 'declared'));
  requireSamePreprocessing(one, other);
  const aligned = { ...view(dataset), alignment: 'five-points' } as const;
  const faces = await extractFeatures(aligned, { ...encoder, ...input }, { ...options, out: join(made, 'faces') });
  assert.equal(faces.preprocessing.resize, undefined, 'aligned faces are not resized');
  using third = FeatureSet.open(join(made, 'faces'));
  assert.throws(
    () => requireSamePreprocessing(other, third),
    /RGB less 123\.675, 116\.28, 103\.53, divided by .* resize fit/,
  );
});

test('faces and their mirror images are embedded together', async (t) => {
  const { images, made } = folders(t);
  using dataset = openDataset(images);
  const { encoder } = recordingEncoder();
  const { original, mirrored, dim } = await embedFaces(dataset, encoder, { batchSize: 7, workers: 0 });
  assert.equal(dim, 2);
  await extractFeatures(dataset, encoder, { out: join(made, 'own'), batchSize: 7 });
  await extractFeatures(dataset, encoder, { out: join(made, 'mean'), batchSize: 7, flip: 'mean' });
  using own = FeatureSet.open(join(made, 'own'));
  using mean = FeatureSet.open(join(made, 'mean'));
  assert.deepEqual(original, own.all());
  assert.deepEqual(
    original.map((v, k) => (v + mirrored[k]!) / 2),
    mean.all(),
  );
  assert.notDeepEqual(original, mirrored);
});
