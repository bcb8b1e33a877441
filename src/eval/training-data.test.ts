import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { classKeysOf, importDataset, openDataset, referenceTo } from '../data/index.ts';
import { packImage, writeRecords } from '../data/recordio.ts';
import { type Sidecar, writeSidecar } from '../data/sidecar.ts';
import { holdOut, sampleImages, split } from '../data/split.ts';
import { type KnownData, relateTrainingData, shareImages } from './training-data.ts';

function known(path: string): KnownData {
  using dataset = openDataset(path);
  return { dataset: referenceTo(dataset), classKeys: classKeysOf(dataset), labels: dataset.labels() };
}

/** As version 0.3.0 recorded it. */
const earlier = ({ dataset: { origin: _, ...dataset }, ...rest }: KnownData): KnownData => ({
  ...rest,
  dataset,
  classKeys: null,
});

/** Of a training set labels are not kept. */
const relate = ({ dataset, classKeys }: KnownData, evaluation: KnownData) => {
  const { path: _, ...relation } = relateTrainingData({ dataset, classKeys }, evaluation);
  return relation;
};

/** A set of 12 classes, its parts, and parts of them. */
async function family(t: TestContext, sidecar: Sidecar) {
  const root = join(testFolder(t), 'set');
  await writeTinySet(root, { perClass: Array.from({ length: 12 }, (_, i) => 4 + (i % 4)) });
  writeSidecar(root, sidecar);
  const parts = async (path: string, make: (set: ReturnType<typeof openDataset>) => Promise<{ prefix: string }[]>) => {
    using set = openDataset(path);
    return (await make(set)).map(({ prefix }) => prefix) as [string, string];
  };
  const [held, rest] = await parts(root, (set) => holdOut(set, { classes: 4, seed: 2 }));
  const [first, second] = await parts(rest, (set) => split(set, { by: 'class', ratio: 0.3 }));
  const [early, late] = await parts(rest, (set) => split(set, { by: 'data', ratio: 0.3 }));
  const [sample] = await parts(rest, async (set) => [await sampleImages(set, { perClass: 2, seed: 1 })]);
  const [drawn] = await parts(rest, async (set) => [
    await sampleImages(set, { perClass: 2, seed: 5, out: `${root}-again` }),
  ]);
  return Object.fromEntries(
    Object.entries({ root, held, rest, first, second, early, late, sample, drawn }).map(([name, path]) => [
      name,
      known(path),
    ]),
  ) as Record<'root' | 'held' | 'rest' | 'first' | 'second' | 'early' | 'late' | 'sample' | 'drawn', KnownData>;
}

test('parts of one set without class names are compared by the classes and images that they took of it', async (t) => {
  const { root, held, rest, first, second, early, late, sample, drawn } = await family(t, {});
  const comparedBy = 'origin';
  const disjoint = { relation: 'disjoint', sharedClasses: 0, comparedBy };
  for (const [a, b] of [
    [rest, held],
    [first, second],
    [early, held],
    [sample, held],
  ] as const)
    for (const [training, evaluation] of [
      [a, b],
      [b, a],
    ] as const)
      assert.deepEqual(relate(training, evaluation), disjoint);
  const same = (sharedClasses: number) => ({ relation: 'same', sharedClasses, images: 'shared', comparedBy });
  assert.deepEqual(relate(root, held), same(4), 'trained on the whole, evaluated on a part');
  assert.deepEqual(relate(rest, early), same(8));
  assert.deepEqual(relate(held, held), { ...same(4), comparedBy: 'digest' });
  assert.deepEqual(relate(first, rest), { relation: 'overlapping', sharedClasses: 2, images: 'shared', comparedBy });
  assert.deepEqual(relate(sample, rest), { relation: 'overlapping', sharedClasses: 8, images: 'shared', comparedBy });
  const open = { relation: 'overlapping', sharedClasses: 8, images: 'different', comparedBy };
  assert.deepEqual([relate(early, late), relate(late, early)], [open, open], 'open data');
  assert.deepEqual(
    relate(sample, drawn),
    { relation: 'overlapping', sharedClasses: 8, comparedBy },
    'two draws may have images in common',
  );
  assert.deepEqual(relate(second, late), { relation: 'overlapping', sharedClasses: 6, images: 'shared', comparedBy });
});

test('without their classes, sets share images for certain if they are one, or one is the set of the other', async (t) => {
  const { root, held, rest, second, sample } = await family(t, {});
  for (const [a, b, expected] of [
    [held, held, true],
    [root, held, true],
    [sample, root, true],
    [rest, held, false],
    [second, held, false],
    [sample, held, false],
  ] as const)
    assert.equal(shareImages(a.dataset, b.dataset), expected);
});

test('classes without images count on neither side, however many a header states', async (t) => {
  const folder = testFolder(t);
  const make = async (name: string, perClass: number[], classes: string[]): Promise<KnownData> => {
    await writeTinySet(join(folder, name), { perClass });
    writeSidecar(join(folder, name), { classes });
    return known(join(folder, name));
  };
  const training = await make('training', [2, 0, 3], ['ada', 'bob', 'eve']);
  const evaluation = await make('evaluation', [0, 4, 5], ['ada', 'bob', 'eve']);
  assert.deepEqual(relate(training, evaluation), { relation: 'overlapping', sharedClasses: 1, comparedBy: 'names' });
  await writeRecords(join(folder, 'large'), (writer) => {
    writer.write(0, packImage({ labels: [3, 1e6], id: 0, image: new Uint8Array() }));
    for (const [i, label] of [5, 9].entries())
      writer.write(i + 1, packImage({ labels: [label, 0], id: i + 1, image: Buffer.from('x') }));
  });
  const { classKeys } = known(join(folder, 'large'));
  assert.deepEqual(
    [[...classKeys!.labels], [...classKeys!.ids]],
    [
      [5, 9],
      [5, 9],
    ],
  );
});

test('a set of another origin is compared by class names, and unknown without', async (t) => {
  const folder = testFolder(t);
  const make = async (name: string, classes: string[] | null, perClass = 2): Promise<KnownData> => {
    await writeTinySet(join(folder, name), { perClass: (classes ?? [1, 2]).map(() => perClass) });
    writeSidecar(join(folder, name), classes ? { classes } : {});
    return known(join(folder, name));
  };
  const training = await make('training', ['ada', 'bob', 'eve']);
  const comparedBy = 'names';
  assert.deepEqual(relate(training, await make('a', ['eve', 'zoe'], 3)), {
    relation: 'overlapping',
    sharedClasses: 1,
    comparedBy,
  });
  assert.deepEqual(relate(training, await make('b', ['joe', 'zoe'], 4)), {
    relation: 'disjoint',
    sharedClasses: 0,
    comparedBy,
  });
  assert.deepEqual(relate(training, await make('c', null, 5)), { relation: 'unknown' });
  assert.deepEqual(relateTrainingData(null, training), { relation: 'unknown' });
  assert.deepEqual(relateTrainingData(training, null), { relation: 'unknown', path: training.dataset.path });
});

test('a set that was renamed or imported again is recognised', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [3, 2, 4] });
  const training = known(join(folder, 'set'));
  using set = openDataset(join(folder, 'set'));
  await importDataset(set, join(folder, 'again'));
  const again = known(join(folder, 'again'));
  assert.deepEqual(relate(training, again).relation, 'same');
  assert.deepEqual(relate(again, training).relation, 'same');
  const renamed = { ...training, dataset: { ...training.dataset, path: 'elsewhere' } };
  assert.deepEqual(relate(renamed, training), {
    relation: 'same',
    sharedClasses: 3,
    images: 'shared',
    comparedBy: 'digest',
  });
});

test('what version 0.3.0 recorded is unknown, unless it is the set itself or the set that the other is a part of', async (t) => {
  const { root, held, rest, first } = await family(t, { classes: Array.from({ length: 12 }, (_, i) => `class ${i}`) });
  assert.deepEqual(relate(earlier(rest), held), { relation: 'unknown' });
  assert.deepEqual(relate(rest, earlier(held)), { relation: 'unknown' });
  assert.equal(relate(earlier(held), earlier(held)).relation, 'same');
  assert.equal(relate(earlier(root), first).relation, 'same');
  assert.deepEqual(relate(first, earlier(root)), {
    relation: 'overlapping',
    sharedClasses: 2,
    images: 'shared',
    comparedBy: 'origin',
  });
});
