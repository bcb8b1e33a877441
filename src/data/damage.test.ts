import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { readDamaged, writeAnew } from '../../test/helpers/damage.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeSmallIjb } from '../../test/helpers/ijb.ts';
import { type Ijb, openIjb } from './ijb.ts';
import { openDataset } from './open-dataset.ts';
import { readPack } from './packs.ts';
import { packImage, recordFiles, writeRecords } from './recordio.ts';

// Ten thousand damaged copies of each kind of file: each is refused cleanly, or gives what it says.

test('damaged record sets', async (t) => {
  const folder = testFolder(t);
  const sources: Buffer[] = [];
  for (const header of [true, false]) {
    const prefix = join(folder, String(header));
    await writeRecords(prefix, (writer) => {
      if (header) writer.write(0, packImage({ labels: [5, 3], id: 0, image: new Uint8Array() }));
      for (let key = 1; key < 5; key++)
        writer.write(key, packImage({ labels: [header ? key % 3 : 1000 * key, 0], id: key, image: Buffer.from([9, 9, 9, 9, 0x0a, 0x23, 0xd7, 0xce, key]) })); // biome-ignore format: a record
    });
    const { rec, idx } = recordFiles(prefix);
    sources.push(readFileSync(rec), readFileSync(idx));
  }
  const [prefix, size] = [join(folder, 'damaged'), 4];
  const { rec, idx } = recordFiles(prefix);
  const counts = readDamaged(sources, (damaged, source) => {
    const pair = source - (source % 2);
    writeAnew(rec, source % 2 === 0 ? damaged : sources[pair]!);
    writeAnew(idx, source % 2 === 0 ? sources[pair + 1]! : damaged);
    using dataset = openDataset(prefix);
    const labels = dataset.labels();
    assert.equal(labels.length, dataset.size);
    assert.ok(labels.every((label) => label >= 0 && label < dataset.classes));
    assert.ok(dataset.size <= 3 * size, 'no more images than lines');
    assert.ok(dataset.classes <= dataset.size + 2 ** 20, 'classes are bounded by images');
    assert.ok((dataset.sidecar.classes?.length ?? dataset.classes) === dataset.classes);
    for (let i = 0; i < dataset.size; i++) assert.ok(dataset.record(i).image.length <= 1000);
  });
  assert.ok(counts.read > 500 && counts.refused > 500, JSON.stringify(counts));
});

test('damaged verification packs', (t) => {
  const path = join(testFolder(t), 'x.bin');
  const folder = resolve(import.meta.dirname, '../../../test/golden/packs');
  const sources = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
  const counts = readDamaged(sources, (damaged) => {
    writeAnew(path, damaged);
    const { images, same } = readPack(path);
    assert.equal(images.length, 2 * same.length);
    assert.ok(images.every((image) => image.length > 0 && image.length <= damaged.length));
  });
  assert.ok(counts.read > 500 && counts.refused > 500, JSON.stringify(counts));
});

test('damaged IJB lists', async (t) => {
  const root = testFolder(t);
  await writeSmallIjb(root, { subjects: 4 });
  const { files } = openIjb(root, 'IJBC');
  const cells = (path: string): string[][] =>
    readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => line.trim().split(/[ \t]+/)); // biome-ignore format: short
  /** What an open benchmark holds, against what plain reading of the file gives. */
  const lists = (ijb: Ijb): void => {
    const rows = cells(files.list);
    assert.deepEqual(ijb.images.names, rows.map(([name]) => name)); // biome-ignore format: short
    assert.deepEqual([...ijb.images.templates], rows.map((row) => Number(row[1]))); // biome-ignore format: short
    assert.deepEqual([...ijb.images.media], rows.map((row) => Number(row[2]))); // biome-ignore format: short
    const points = cells(files.landmarks);
    assert.deepEqual(ijb.images.landmarks, Float32Array.from(points.flatMap((row) => row.slice(1, 11).map(Number))));
  };
  const pairs = (ijb: Ijb): void => {
    const seen = [...ijb.pairs()].flatMap(({ gallery, query, same }) => Array.from(same, (s, i) => [gallery[i], query[i], s])); // biome-ignore format: short
    assert.deepEqual(seen, cells(files.pairs).map((row) => row.map(Number))); // biome-ignore format: short
    const { gallery, query } = ijb.genuinePairs();
    assert.deepEqual([...gallery].map((id, i) => [id, query[i], 1]), seen.filter(([, , same]) => same === 1)); // biome-ignore format: short
  };
  const people = (ijb: Ijb): void => {
    const { galleries, probes } = ijb.identification();
    for (const { templates } of [...galleries, probes]) assert.deepEqual(templates, Int32Array.from(new Set(templates)).sort()); // biome-ignore format: short
  };
  const kinds: readonly (readonly [string, (ijb: Ijb) => void])[] = [
    [files.list, lists],
    [files.landmarks, lists],
    [files.pairs, pairs],
    [files.galleries[0]!, people],
    [files.probes, people],
  ];
  const sources = kinds.map(([file]) => readFileSync(file));
  const counts = readDamaged(sources, (damaged, source) => {
    const [file, check] = kinds[source]!;
    writeAnew(file, damaged);
    try {
      check(openIjb(root, 'IJBC'));
    } finally {
      writeAnew(file, sources[source]!);
    }
  });
  assert.ok(counts.read > 300 && counts.refused > 500, JSON.stringify(counts));
});
