// Rows without an embedding: how they come into a set, and that nothing takes their zeros for one.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { recordingEncoder, SIDE } from '../../test/helpers/encoder.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { inMemory } from '../../test/helpers/rows.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { Rng } from '../base/rng.ts';
import { encodePgm } from '../data/decode.ts';
import { openDataset } from '../data/index.ts';
import { boundaries } from './boundaries.ts';
import type { LabelledRows } from './class-blocks.ts';
import { denoise } from './denoise.ts';
import {
  extractFeatures,
  extractSharded,
  FeatureSet,
  openCredible,
  openPrototypes,
  rowsByClass,
  writeCredible,
  writePrototypes,
} from './index.ts';
import { classPrototypes } from './prototypes.ts';

/** Two classes of five images; the positions `bad` hold no image. */
function folders(t: TestContext, bad: readonly number[]): { images: string; made: string; mend: () => void } {
  const folder = testFolder(t);
  const [images, made] = [join(folder, 'images'), join(folder, 'made')];
  for (const path of [join(images, 'a'), join(images, 'b'), made]) mkdirSync(path, { recursive: true });
  const at = (i: number): string => join(images, i < 5 ? 'a' : 'b', `${i}.pgm`);
  const picture = (i: number): Uint8Array => encodePgm(pattern(i, 0, SIDE), SIDE, SIDE);
  for (let i = 0; i < 10; i++) writeFileSync(at(i), bad.includes(i) ? new Uint8Array(picture(i).length) : picture(i)); // equal sizes
  const mend = (): void => {
    for (const i of bad) writeFileSync(at(i), picture(i));
  };
  return { images, made, mend };
}

const skip = { batchSize: 4, workers: 0, skipBadImages: true } as const;

const quiet = reportsOf;

test('with every flip, an unreadable image is a row of zeros that the manifest names; all others are as without it', async (t) => {
  const { images, made, mend } = folders(t, [1, 8, 9]); // the last batch of two has none that can be read
  quiet(t);
  for (const flip of ['none', 'mean', 'random'] as const) {
    using dataset = openDataset(images);
    const { missing } = await extractFeatures(dataset, recordingEncoder().encoder, {
      ...skip,
      flip,
      out: join(made, flip),
    });
    assert.deepEqual(
      missing.map(({ row }) => row),
      [1, 8, 9],
    );
    assert.match(missing[1]!.id, /b\/8\.pgm$/);
    assert.ok(missing[1]!.problem.length > 0);
  }
  mend();
  for (const flip of ['none', 'mean', 'random'] as const) {
    using dataset = openDataset(images);
    const whole = join(made, `${flip}-whole`);
    assert.deepEqual(
      (await extractFeatures(dataset, recordingEncoder().encoder, { ...skip, flip, out: whole })).missing,
      [],
    );
    using expected = FeatureSet.open(whole);
    using set = FeatureSet.open(join(made, flip));
    assert.deepEqual([...set.missing()], [1, 8, 9]);
    const rows = expected.all().slice();
    for (const row of set.missing()) rows.fill(0, 2 * row, 2 * row + 2);
    assert.deepEqual(set.all(), rows);
  }
});

test('a set in which nothing could be read is refused, and so are lists of missing rows that cannot be', async (t) => {
  const { images, made } = folders(t, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  quiet(t);
  using dataset = openDataset(images);
  const out = join(made, 'set');
  await assert.rejects(
    extractFeatures(dataset, recordingEncoder().encoder, { ...skip, out }),
    /none of the 10 rows has an embedding\n.*the first: .*0\.pgm \(/,
  );
  assert.ok(!existsSync(out));
  const some = folders(t, [3]);
  using readable = openDataset(some.images);
  const set = join(some.made, 'set');
  const info = await extractFeatures(readable, recordingEncoder().encoder, { ...skip, out: set });
  const lost = { row: 2, id: 'x', problem: 'y' };
  for (const [missing, problem] of [
    [[{ ...lost, row: 10 }], /manifest\.json: marks row 10 as missing, the set has 10 rows/],
    [[lost, lost], /marks row 2 as missing after row 2/],
    [[lost, { ...lost, row: 1 }], /marks row 1 as missing after row 2/],
    [[{ ...lost, row: -1 }], /manifest\.json: its "missing\.0\.row" is damaged/],
    [[{ ...lost, row: 1.5 }], /its "missing\.0\.row" is damaged/],
    [[lost, { row: 3 }], /its "missing\.1\.id" is damaged/],
    ['none', /its "missing" is damaged/],
  ] as const) {
    writeJson(join(set, 'manifest.json'), { ...info, missing });
    assert.throws(() => FeatureSet.open(set), problem);
  }
  const { missing: _, ...before } = info;
  writeJson(join(set, 'manifest.json'), before);
  using old = FeatureSet.open(set);
  assert.equal(old.missing().size, 0, 'manifests of older versions list none');
});

test('an attempt without leave to skip reads again what an earlier one could not', async (t) => {
  const { images, made, mend } = folders(t, [5]);
  quiet(t);
  const out = join(made, 'set');
  const { encoder } = recordingEncoder();
  let calls = 0;
  const embed = async (pixels: Uint8Array, count: number): Promise<Float32Array> => {
    if (++calls === 3) throw new Error('out of memory');
    return encoder.embed(pixels, count);
  };
  using dataset = openDataset(images);
  await assert.rejects(extractFeatures(dataset, { ...encoder, embed }, { ...skip, out }), /out of memory/);
  const strict = { ...skip, skipBadImages: false, out };
  await assert.rejects(extractFeatures(dataset, encoder, strict), /b\/5\.pgm: cannot be read/);
  mend();
  const { missing } = await extractFeatures(dataset, encoder, strict);
  assert.deepEqual(missing, []);
  using set = FeatureSet.open(out);
  assert.ok(set.rows([5]).every((value) => value > 0));
});

test('several processes merge what each could not read, also if one has nothing else', async (t) => {
  const { images, made } = folders(t, [1, 5, 6, 7, 8, 9]);
  const write = quiet(t);
  using dataset = openDataset(images);
  const { encoder } = recordingEncoder();
  const out = join(made, 'set');
  const together = (rank: number, wait: () => void) => ({
    group: { rank, processes: 2, barrier: () => ({ wait }) },
    broadcastFromRankZero: <T>(body: () => T): T => body(),
  });
  const member = (rank: number) =>
    extractSharded(
      dataset,
      encoder,
      { ...skip, out },
      together(rank, () => {
        if (rank === 1) throw new Error('the others are not here');
      }),
    );
  await assert.rejects(member(1), /not here/);
  await assert.rejects(
    extractSharded(
      dataset,
      encoder,
      { ...skip, out, skipBadImages: false },
      together(1, () => undefined),
    ),
    /b\/5\.pgm: cannot be read/,
    'a part with missing rows does not pass for one without',
  );
  await assert.rejects(member(1), /not here/);
  const { missing } = await member(0);
  assert.deepEqual(
    missing.map(({ row }) => row),
    [1, 5, 6, 7, 8, 9],
  );
  assert.match(missing[1]!.id, /b\/5\.pgm$/);
  assert.match(write.text(), /set: 6 of 10 rows have no embedding/);
  assert.deepEqual(readdirSync(made), ['set']);
});

/** Features of 40 rows in 4 classes, some of them zeros and missing; and the same without these rows. */
function withAndWithout(): { features: LabelledRows; kept: number[]; dense: LabelledRows } {
  const rng = new Rng('missing');
  const dim = 6;
  const labels = Array.from({ length: 40 }, (_, i) => (i < 4 ? i : rng.integer(4)));
  const missing = new Set([0, 7, 8, 21, 39]);
  const data = Float32Array.from({ length: 40 * dim }, (_, i) =>
    missing.has(Math.floor(i / dim)) ? 0 : rng.uniform(),
  );
  const features = inMemory(data, labels, dim, missing);
  const kept = [...labels.keys()].filter((row) => !missing.has(row));
  const dense = inMemory(features.rows(kept), kept.map((row) => labels[row]!), dim); // biome-ignore format: short
  return { features, kept, dense };
}

test('masks, means and boundaries of a set with missing rows are those of the set without them', () => {
  const { features, kept, dense } = withAndWithout();
  for (const rule of ['distance', 'entropy'] as const)
    for (const keep of [0.3, 0.6, 1]) {
      const mask = denoise(features, { keep, rule });
      const expected = denoise(dense, { keep, rule });
      assert.deepEqual(
        kept.map((row) => mask[row]),
        [...expected],
      );
      for (const row of features.missing!()) assert.equal(mask[row], 0, `${rule} ${keep}: row ${row} is trusted`);
    }
  assert.deepEqual(classPrototypes(features), classPrototypes(dense));
  assert.deepEqual(boundaries(features), boundaries(dense));
  assert.deepEqual(
    rowsByClass(features).map((rows) => [...rows]),
    rowsByClass(dense).map((rows) => Array.from(rows, (i) => kept[i]!)),
  );
});

test('a class whose rows are all missing has a prototype of zeros and no say; one that never had a row is an error', () => {
  const data = Float32Array.of(3, 4, 0, 0, 1, 0, 0, 0, 4, 3);
  const features = inMemory(data, [0, 1, 2, 1, 2], 2, new Set([1, 3]));
  assert.deepEqual(classPrototypes(features).subarray(2, 4), Float32Array.of(0, 0));
  assert.deepEqual([...boundaries(features).kept], [1, 0, 2]);
  assert.deepEqual(boundaries(features).centres.subarray(2, 4), Float32Array.of(0, 0));
  const without = inMemory(Float32Array.of(3, 4, 1, 0, 4, 3), [0, 1, 1], 2);
  assert.deepEqual(
    [0, 2, 4].map((row) => denoise(features, { keep: 1, rule: 'entropy' })[row]),
    [...denoise(without, { keep: 1, rule: 'entropy' })],
  );
  assert.deepEqual([...denoise(features, { keep: 1 })], [1, 0, 1, 0, 1]);
  assert.throws(
    () => classPrototypes(inMemory(data, [0, 1, 3, 1, 3], 2, new Set([1, 3]))),
    /class 2 of 4 has no features/,
  );
});

test('masks and prototypes say what is missing', async (t) => {
  const { images, made } = folders(t, [1, 5, 6, 7, 8, 9]);
  const write = quiet(t);
  using dataset = openDataset(images);
  const at = (name: string): string => join(made, name);
  await extractFeatures(dataset, recordingEncoder().encoder, { ...skip, out: at('set') });
  using features = FeatureSet.open(at('set'));
  await writeCredible(at('mask'), features, { keep: 1 });
  assert.deepEqual([openCredible(at('mask')).info.kept, openCredible(at('mask')).info.missing], [4, 6]);
  await writePrototypes(at('prototypes'), features);
  assert.deepEqual(openPrototypes(at('prototypes')).info.empty, [1]);
  assert.match(write.text(), /prototypes of 1 of 2 classes are zeros/);
  const { missing: _, ...before } = readJson(join(at('mask'), 'manifest.json')) as Record<string, unknown>;
  writeJson(join(at('mask'), 'manifest.json'), before);
  assert.equal(openCredible(at('mask')).info.missing, 0, 'masks of older versions open');
});
