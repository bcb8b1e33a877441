import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern, writeTinySet } from '../../test/helpers/images.ts';
import { Rng } from '../base/rng.ts';
import type { Dataset } from './dataset.ts';
import { encodePgm } from './decode.ts';
import { importDataset } from './import-dataset.ts';
import { lineageOf } from './lineage.ts';
import { openDataset } from './open-dataset.ts';
import { formatRanges, type NumberList, parseRanges } from './ranges.ts';
import { sidecarPath, writeSidecar } from './sidecar.ts';
import { holdOut, sampleImages, split } from './split.ts';

const opened = (t: { after(f: () => void): void }, prefix: string): Dataset => {
  const dataset = openDataset(prefix);
  t.after(() => dataset.close());
  return dataset;
};

const listed = (numbers: NumberList): number[] => Array.from({ length: numbers.length }, (_, i) => numbers.at(i));

test('ranges give back every list of numbers in its order, and refuse what is not one', () => {
  const rng = new Rng('ranges');
  const lists = [
    [0],
    [5, 4, 3],
    [0, 1, 2, 7, 9, 10, 3],
    [2 ** 31 - 1],
    Array.from({ length: 500 }, () => rng.integer(40)),
  ];
  const format = (list: readonly number[]): string => formatRanges({ length: list.length, at: (i) => list[i]! });
  for (const list of lists) assert.deepEqual(listed(parseRanges(format(list))!), list);
  assert.equal(format([0, 1, 2, 7, 9, 10, 3]), '0-2,7,9-10,3');
  const large = parseRanges('7-2000000006,3')!;
  assert.deepEqual([large.length, large.at(1_999_999_999), large.at(2_000_000_000)], [2_000_000_001, 2_000_000_006, 3]);
  for (const text of ['3-0', '', '1,,2', '-1', '0-99999999999', '2147483647-2147483648', 'a'])
    assert.equal(parseRanges(text), null, text);
});

test('parts of parts of a set without names know its classes and how their images were drawn', async (t) => {
  const prefix = join(testFolder(t), 'set');
  const perClass = Array.from({ length: 12 }, (_, i) => 2 + (i % 3));
  await writeTinySet(prefix, { perClass });
  writeSidecar(prefix, {});
  const root = opened(t, prefix);
  assert.deepEqual(lineageOf(root).origin, { digest: root.digest, draws: [] });
  const [held, rest] = await holdOut(root, { classes: 5, seed: 3 });
  const train = opened(t, rest!.prefix);
  const classesOf = (path: string): number[] => listed(lineageOf(opened(t, path)).classes);
  const byClass = await split(train, { by: 'class', ratio: 0.4 });
  const named = [held!, ...byClass].flatMap(({ prefix }) => classesOf(prefix));
  assert.deepEqual(
    named.toSorted((a, b) => a - b),
    root.sidecar.classes ?? perClass.map((_, i) => i),
    'held-out classes and those of both parts are all, each once',
  );
  for (const part of [held!, ...byClass]) {
    const set = opened(t, part.prefix);
    const { origin, classes } = lineageOf(set);
    assert.equal(origin.digest, root.digest);
    const counts = new Int32Array(set.classes);
    for (const label of set.labels()) counts[label]!++;
    assert.deepEqual(
      Array.from(counts),
      listed(classes).map((id) => perClass[id]),
      'a class has the images of its origin',
    );
  }
  const sample = await sampleImages(train, { perClass: 3, seed: 7 });
  const byData = await split(opened(t, sample.prefix), { by: 'data', ratio: 0.4 });
  const draws = byData.map(({ prefix }) => lineageOf(opened(t, prefix)).origin.draws);
  const { digest } = opened(t, sample.prefix);
  assert.deepEqual(draws[1], [
    { of: train.digest, perClass: 3, seed: 7 },
    { of: digest, ratio: 0.4, part: 'second', shared: 0 },
  ]);
  assert.deepEqual(draws[0]![1], { of: digest, ratio: 0.4, part: 'first', shared: 0 });
  assert.deepEqual(classesOf(byData[0]!.prefix), classesOf(rest!.prefix));
});

test('an import of a folder knows the folder, moved or renamed', async (t) => {
  const folder = testFolder(t);
  for (const name of ['photos', 'moved'])
    for (const [label, person] of ['ada', 'bob', 'eve'].entries()) {
      mkdirSync(join(folder, name, person), { recursive: true });
      writeFileSync(join(folder, name, person, '1.pgm'), encodePgm(pattern(label, 0, 16), 16, 16));
    }
  await importDataset(opened(t, join(folder, 'photos')), join(folder, 'a'));
  await importDataset(opened(t, join(folder, 'moved')), join(folder, 'b'));
  const [a, b] = ['a', 'b'].map((name) => lineageOf(opened(t, join(folder, name))));
  assert.deepEqual([a!.origin, listed(a!.classes)], [b!.origin, [0, 1, 2]]);
  assert.equal(a!.origin.digest, opened(t, join(folder, 'photos')).digest);
});

test('a description whose classes are not those of the set is refused with its file', async (t) => {
  const prefix = join(testFolder(t), 'set');
  await writeTinySet(prefix, { perClass: [2, 2, 2] });
  const write = (classes: string) => writeSidecar(prefix, { origin: { digest: 'd', draws: [], classes } });
  write('4,9,6');
  assert.deepEqual(listed(lineageOf(opened(t, prefix)).classes), [4, 9, 6]);
  for (const classes of ['0-2000000000', '4,9', 'x']) {
    write(classes);
    assert.throws(() => lineageOf(opened(t, prefix)), /set\.json: origin\.classes does not list the 3 classes/);
  }
  writeFileSync(sidecarPath(prefix), readFileSync(sidecarPath(prefix), 'utf8').replace('"origin"', '"orgin"'));
  assert.throws(() => openDataset(prefix), /is not the description of a dataset/);
});
