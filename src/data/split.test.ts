import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { writeIds } from '../artifacts/id-list.ts';
import { Rng } from '../base/rng.ts';
import type { Dataset } from './dataset.ts';
import { openDataset } from './open-dataset.ts';
import { writeRecordSets } from './record-output.ts';
import { packImage, RecordFile, readIndex, recordFiles, unpackImage, writeRecords } from './recordio.ts';
import { firstShare, holdOut, partNames, roundHalfEven, sampleImages, split, type WrittenPart } from './split.ts';

/** All records of a set, header included. */
function records(prefix: string) {
  const { rec, idx } = recordFiles(prefix);
  const { keys, offsets } = readIndex(idx);
  const file = new RecordFile(rec);
  try {
    return Array.from(keys, (key, i) => ({ key, ...unpackImage(file.read(offsets[i]!, key)) }));
  } finally {
    file.close();
  }
}

const opened = (t: { after(f: () => void): void }, prefix: string): Dataset => {
  const dataset = openDataset(prefix);
  t.after(() => dataset.close());
  return dataset;
};

test('counts of methods.md 1.3', () => {
  assert.equal(roundHalfEven(93431 * 0.3), 28029);
  const expected = {
    2: 1,
    3: 1,
    4: 1,
    5: 2,
    6: 2,
    8: 2,
    10: 3,
    12: 4,
    15: 4,
    25: 8,
    35: 10,
    45: 14,
    55: 16,
    65: 20,
    75: 22,
  };
  for (const [n, k] of Object.entries(expected)) assert.equal(firstShare(Number(n), 0.3), k, `k(${n})`);
});

test('by class: positional, relabelled, keys from 1, second label carried through', async (t) => {
  const prefix = join(testFolder(t), 'train');
  await writeTinySet(prefix, { perClass: [3, 1, 4, 2, 5], families: 3 });
  const whole = records(prefix).slice(1);
  const parts = await split(opened(t, prefix), { by: 'class', ratio: 0.3 });
  assert.deepEqual(
    parts,
    [
      { prefix: `${prefix}_part_30_class`, images: 8, classes: 2 }, // 1.5 rounds to the even 2 … and 4 images
      { prefix: `${prefix}_part_70_class`, images: 7, classes: 3 },
    ].map((part, i) => ({ ...part, images: [4, 11][i] })),
  );
  for (const [part, from, to, base] of [
    [parts[0]!, 0, 4, 0],
    [parts[1]!, 4, 15, 2],
  ] as const) {
    const [header, ...images] = records(part.prefix);
    assert.deepEqual([header!.key, header!.labels], [0, [part.images + 1, part.classes]]);
    const expected = whole
      .slice(from, to)
      .map((r, i) => ({ ...r, key: i + 1, id: i + 1, labels: [r.labels[0]! - base, r.labels[1]!] }));
    assert.deepEqual(images, expected);
    const dataset = opened(t, part.prefix);
    assert.deepEqual([dataset.size, dataset.classes], [part.images, part.classes]);
    assert.deepEqual(
      dataset.sidecar.classes,
      Array.from({ length: part.classes }, (_, i) => `class ${base + i}`),
    );
  }
});

test('by data: the first k of each class, labels kept, a single image in both', async (t) => {
  const prefix = join(testFolder(t), 'train');
  await writeTinySet(prefix, { perClass: [5, 1, 2, 10] });
  const [first, second] = await split(opened(t, prefix), { by: 'data', ratio: 0.3 });
  const labels = (p: string): number[] => Array.from(opened(t, p).labels());
  assert.deepEqual(labels(first!.prefix), [0, 0, 1, 2, 3, 3, 3]);
  assert.deepEqual(labels(second!.prefix), [0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3, 3]);
  assert.equal(first!.prefix, `${prefix}_part_30_data`);
  assert.deepEqual(records(first!.prefix)[0]!.labels, [8, 4]);
  assert.deepEqual(
    Buffer.from(records(second!.prefix)[1]!.image),
    Buffer.from(records(prefix)[3]!.image),
    'class 0 goes on with its third image',
  );
});

test('unsorted labels and senseless ratios are refused', async (t) => {
  const prefix = join(testFolder(t), 'a');
  await writeRecords(prefix, (writer) => {
    writer.write(0, packImage({ labels: [4, 2], id: 0, image: new Uint8Array() }));
    for (const [i, label] of [0, 1, 0].entries())
      writer.write(i + 1, packImage({ labels: [label, 1], id: i + 1, image: Buffer.from('x') }));
  });
  const dataset = opened(t, prefix);
  await assert.rejects(split(dataset, { by: 'data', ratio: 0.3 }), /key 3\).*class 0 follows class 1/);
  await assert.rejects(split(dataset, { by: 'class', ratio: 1.2 }), /wanted a share between 0 and 1/);
  const sorted = join(testFolder(t), 'b');
  await writeRecords(sorted, (writer) => {
    writer.write(0, packImage({ labels: [5, 2], id: 0, image: new Uint8Array() }));
    for (const [i, label] of [0, 0, 1, 1].entries())
      writer.write(i + 1, packImage({ labels: [label, 1], id: i + 1, image: Buffer.from('x') }));
  });
  await assert.rejects(split(opened(t, sorted), { by: 'data', ratio: 0.9 }), /leaves one part without images/);
  assert.deepEqual(readdirSync(dirname(sorted)).sort(), ['b.idx', 'b.rec'], 'nothing is written');
});

test('held-out classes are disjoint, drawn by seed, and nothing is overwritten', async (t) => {
  const prefix = join(testFolder(t), 'set');
  await writeTinySet(prefix, { perClass: Array.from({ length: 12 }, (_, i) => 1 + (i % 3)), families: 2 });
  const dataset = opened(t, prefix);
  const parts = await holdOut(dataset, { classes: 4, seed: 1 });
  const named = parts.map((part) => opened(t, part.prefix).sidecar.classes!);
  assert.deepEqual([named[0]!.length, named[1]!.length], [4, 8]);
  assert.equal(new Set(named.flat()).size, 12);
  assert.equal(parts[0]!.images + parts[1]!.images, dataset.size);
  assert.deepEqual(
    opened(t, parts[0]!.prefix)
      .families()
      .every((f) => f === 0 || f === 1),
    true,
  );
  await assert.rejects(holdOut(dataset, { classes: 4, seed: 2 }), /exists already/);
  await holdOut(dataset, { classes: 4, seed: 2, force: true });
  assert.notDeepEqual(opened(t, parts[0]!.prefix).sidecar.classes, named[0]);
});

test('the MS1M layout: identity records after the images are no samples, and give the class count', async (t) => {
  const prefix = join(testFolder(t), 'ms1m');
  await writeRecords(prefix, (writer) => {
    writer.write(0, packImage({ labels: [4, 6], id: 0, image: new Uint8Array() }));
    for (const [i, label] of [0, 0, 1].entries())
      writer.write(i + 1, packImage({ labels: [label, 1], id: i + 1, image: Buffer.from('x') }));
    for (const key of [4, 5]) writer.write(key, packImage({ labels: [1, 3], id: key, image: new Uint8Array() }));
  });
  const dataset = opened(t, prefix);
  assert.deepEqual([dataset.size, dataset.classes, Array.from(dataset.labels())], [3, 2, [0, 0, 1]]);
});

test('a sample keeps some images of each class in their order, drawn anew for another seed', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [9, 2, 6], families: 9 });
  using dataset = openDataset(join(folder, 'set'));
  const drawn = async (seed: number, out: string): Promise<number[]> => {
    const written = await sampleImages(dataset, { perClass: 4, seed, out: join(folder, out) });
    assert.deepEqual([basename(written.prefix), written.images, written.classes], ['set_sample_4', 10, 3]);
    using sample = openDataset(written.prefix);
    assert.deepEqual(Array.from(sample.labels()), [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]);
    const bytes = (set: Dataset, i: number): string => Buffer.from(set.record(i).image).toString('latin1');
    const all = Array.from({ length: dataset.size }, (_, i) => bytes(dataset, i));
    const rows = Array.from({ length: 10 }, (_, i) => all.indexOf(bytes(sample, i)));
    assert.deepEqual(
      rows,
      [...rows].sort((a, b) => a - b),
    );
    return rows;
  };
  assert.deepEqual(await drawn(1, 'a'), await drawn(1, 'b'));
  assert.notDeepEqual(await drawn(1, 'c'), await drawn(2, 'd'));
  await assert.rejects(sampleImages(dataset, { perClass: 0, seed: 1 }), /per-class 0: wanted a whole number/);
});

test('parts of every ratio have names of their own', async (t) => {
  assert.deepEqual(partNames(0.3), ['part_30', 'part_70']);
  assert.deepEqual(partNames(0.301), ['part_30.1', 'part_69.9']);
  assert.deepEqual(partNames(0.29), ['part_29', 'part_71']);
  assert.deepEqual(partNames(1e-7), ['part_0.00001', 'part_99.99999']);
  const rng = new Rng('ratios');
  const ratios = [0.5, 0.3, 0.7, 0.301, 0.304, 1 / 3, 2 / 3, 1e-9, ...Array.from({ length: 500 }, () => rng.uniform())];
  assert.equal(new Set(ratios.flatMap((ratio) => [...partNames(ratio)])).size, 2 * ratios.length);
  const prefix = join(testFolder(t), 'set');
  await writeTinySet(prefix, { perClass: Array(8).fill(6) });
  const dataset = opened(t, prefix);
  for (const by of ['class', 'data'] as const) {
    const parts = [];
    for (const ratio of [0.5, 0.3, 0.7, 0.51, 0.504]) parts.push(...(await split(dataset, { by, ratio })));
    const sizes = parts.map((part) => opened(t, part.prefix).size);
    assert.deepEqual(sizes, parts.map(({ images }) => images)); // biome-ignore format: short
    assert.equal(sizes.reduce((a, b) => a + b), 5 * 48, by); // biome-ignore format: short
  }
});

test('two record sets of one name are refused before anything is written', async (t) => {
  const folder = testFolder(t);
  const about = () => ({ sidecar: {} });
  const set = { images: 1, classes: 1, about, fill: () => assert.fail('nothing is written') };
  for (const force of [false, true])
    await assert.rejects(
      writeRecordSets(
        [
          { ...set, prefix: join(folder, 'a') },
          { ...set, prefix: `${folder}/b/../a` },
        ],
        { force },
      ),
      /two record sets would be written to this name/,
    );
  await assert.rejects(
    writeRecordSets([{ ...set, prefix: join(folder, 'a'), classes: 2 ** 24 }], {}),
    /a: 16777216 classes, but a record set holds 1 to 16777215/,
  );
  assert.deepEqual(readdirSync(folder), []);
});

type Command = (dataset: Dataset, out: string, force?: boolean) => Promise<readonly WrittenPart[]>;
const commands: readonly (readonly [string, Command])[] = [
  ['split by class', (dataset, out, force = false) => split(dataset, { by: 'class', ratio: 0.5, out, force })],
  ['split by data', (dataset, out, force = false) => split(dataset, { by: 'data', ratio: 0.3, out, force })],
  ['hold-out', (dataset, out, force = false) => holdOut(dataset, { classes: 3, seed: 1, out, force })],
  ['sample', async (dataset, out, force = false) => [await sampleImages(dataset, { perClass: 2, seed: 1, out, force })]],
]; // biome-ignore format: a table

const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'hex')]));

for (const [name, command] of commands)
  test(`${name}: whatever a kill left, the same command again gives the same bytes`, async (t) => {
    const folder = testFolder(t);
    const [source, whole] = [join(folder, 'set'), join(folder, 'whole')];
    await writeTinySet(source, { perClass: [3, 1, 4, 2, 5], families: 2 });
    writeIds(
      `${source}.ids.jsonl`,
      Array.from({ length: 15 }, (_, i) => `class/${i}.png`),
    );
    const dataset = opened(t, source);
    await command(dataset, whole);
    const expected = contents(whole);
    const files = Object.keys(expected);
    assert.ok(files.some((file) => file.endsWith('.ids.jsonl')));
    await assert.rejects(command(dataset, whole), /exists already/);
    await command(dataset, whole, true);
    assert.deepEqual(contents(whole), expected);
    const ends = ['.ids.jsonl', '.json', '.rec', '.idx'];
    const names = files.filter((file) => file.endsWith('.idx')).map((file) => file.slice(0, -4));
    // Killed while the finished files appear one by one.
    for (let appeared = 0; appeared <= files.length; appeared++) {
      const out = join(folder, `appeared ${appeared}`);
      mkdirSync(out);
      for (const [n, prefix] of names.entries()) {
        const staging = join(out, `.${prefix}.set.part`);
        mkdirSync(staging);
        if (appeared > 4 * n) mkdirSync(join(staging, 'replaced'));
        writeFileSync(join(staging, 'complete'), JSON.stringify(names));
        for (const [i, end] of ends.entries())
          copyFileSync(join(whole, prefix + end), join(4 * n + i < appeared ? out : staging, prefix + end));
      }
      await command(dataset, out);
      assert.deepEqual(contents(out), expected, `${appeared} had appeared`);
    }
    // One of two is there, or files that an older version left without their index.
    for (const left of [names.slice(1).flatMap((prefix) => ends.map((end) => prefix + end)), [`${names[0]}.rec`]]) {
      const out = join(folder, `left ${left.length}`);
      mkdirSync(out);
      for (const file of left) copyFileSync(join(whole, file), join(out, file));
      await command(dataset, out);
      assert.deepEqual(contents(out), expected, left.join());
    }
  });

for (const [name, command] of commands)
  test(`${name}: an image that cannot be read, or a file of somebody else, leaves everything as it was`, async (t) => {
    const folder = testFolder(t);
    const source = join(folder, 'set');
    await writeRecords(source, (writer) => {
      writer.write(0, packImage({ labels: [11, 5], id: 0, image: new Uint8Array() }));
      for (let i = 0; i < 10; i++)
        writer.write(i + 1, packImage({ labels: [i >> 1, 0], id: i + 1, image: Buffer.from(i === 9 ? '' : `image ${i}`) })); // biome-ignore format: a record
    });
    const dataset = opened(t, source);
    const out = join(folder, 'out');
    await assert.rejects(command(dataset, out), /record with key 10 .* holds no image/);
    assert.deepEqual(existsSync(out) ? readdirSync(out) : [], []);
    await writeTinySet(join(folder, 'good', 'set'), { perClass: [3, 3, 3, 3, 3] });
    const good = opened(t, join(folder, 'good', 'set'));
    const [first] = await command(good, join(folder, 'made'));
    for (const end of ['.rec', '.idx', '.json', '.ids.jsonl']) {
      const [stranger, taken] = [join(folder, `taken${end}`), `${basename(first!.prefix)}${end}`];
      mkdirSync(stranger);
      writeFileSync(join(stranger, taken), 'of somebody else');
      await assert.rejects(command(good, stranger), /exists already/);
      assert.deepEqual(contents(stranger), { [taken]: Buffer.from('of somebody else').toString('hex') });
    }
  });
