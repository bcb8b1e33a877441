import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import {
  type MakeGallery,
  migrationTo,
  newStamp,
  oldStamp,
  stampOf,
  storeConformance,
  type TestGallery,
  type TestRow,
} from '../../test/helpers/store-conformance.ts';
import { writeIds } from '../artifacts/id-list.ts';
import { NpyFile, writeNpy } from '../features/npy.ts';
import { FilesJournal } from './files-journal.ts';
import type { GalleryStore } from './gallery-store.ts';
import { openStore } from './open-store.ts';
import { vectorBytes } from './vectors.ts';

/** A gallery in files, which its application replaces whenever a row changes. */
function filesGallery(path: string, first: readonly TestRow[]): TestGallery {
  const ids = path.replace('.npy', '.ids.jsonl');
  const read = (): Map<string, Float32Array> => {
    using file = new NpyFile(path, ['<f4']);
    const keys = readFileSync(ids, 'utf8').split('\n').filter(Boolean).map((line) => String(JSON.parse(line))); // biome-ignore format: short
    return new Map(keys.map((key, row) => [key, file.read(row, 1) as Float32Array]));
  };
  const write = (rows: ReadonlyMap<string, Float32Array>): void => {
    const vectors = [...rows.values()];
    writeNpy(`${path}.new`, '<f4', Float32Array.from(vectors.flatMap((vector) => [...vector])), [vectors[0]!.length]);
    renameSync(`${path}.new`, path);
    writeIds(ids, rows.keys());
  };
  const change = async (how: (rows: Map<string, Float32Array>) => void): Promise<void> => {
    const rows = read();
    how(rows);
    write(rows);
  };
  write(new Map(first.map(({ key, vector }) => [key, vector])));
  return {
    url: `files:${path}`,
    insert: (rows) => change((all) => rows.forEach(({ key, vector }) => void all.set(key, vector))), // biome-ignore format: short
    remove: (key) => change((all) => void all.delete(key)),
    setVector: (key, vector) => change((all) => void all.set(key, vector)),
    content: async () => new Map(Array.from(read(), ([key, vector]) => [key, { vector: vectorBytes(vector), path: '' }])), // biome-ignore format: short
  };
}

const make: MakeGallery = async (t, rows) => filesGallery(join(testFolder(t), 'gallery.npy'), rows);
storeConformance('Files', make, { path: false });

const rowsOf = (count: number): TestRow[] =>
  Array.from({ length: count }, (_, i) => ({
    ...{ key: `${i}.jpg`, path: '' },
    vector: Float32Array.from({ length: oldStamp.dim }, (_, d) => Math.sin(i + 3 * d)),
  }));

const allMoved = async (store: GalleryStore, to = newStamp): Promise<void> => {
  const rows = (await store.page(null, 1000)).map((row, i) => ({ ...row, vector: new Float32Array(to.dim).fill(i + 1) })); // biome-ignore format: short
  await store.commit({ rows, entry: { batch: 1, at: '', ms: 0 } });
};

async function moved(t: TestContext) {
  const path = join(testFolder(t), 'gallery.npy');
  const gallery = filesGallery(path, rowsOf(30));
  const before = readFileSync(path);
  const store = await openStore(gallery.url);
  t.after(() => store[Symbol.asyncDispose]());
  await store.stamp(oldStamp);
  await store.beginMigration(migrationTo(newStamp));
  await allMoved(store);
  return { path, store, before, url: gallery.url };
}

test('what an attempt that was killed has left behind the last whole line of the journal does not count', async (t) => {
  const { path, store, url } = await moved(t);
  const at = (name: string): string => join(`${path}.mixbct`, name);
  const [lines, vectors] = [readFileSync(at('journal.jsonl')), readFileSync(at('vectors.f32'))];
  for (const torn of [0, 1, lines.length - 1]) {
    writeFileSync(at('journal.jsonl'), lines.subarray(0, torn));
    writeFileSync(at('vectors.f32'), vectors.subarray(0, torn));
    await using other = await openStore(url);
    assert.deepEqual([await other.counts(), await other.journal()], [{ rows: 30, moved: 0 }, []]);
    await allMoved(other);
    assert.deepEqual(readFileSync(at('vectors.f32')), vectors);
    assert.equal((await other.counts()).moved, 30);
  }
  assert.equal((await store.counts()).moved, 30);
});

test('an exchange that was killed before or after its rename is seen as what it is, and can be repeated', async (t) => {
  for (const step of ['cut-over', 'rollback'] as const) {
    const { path, store, before, url } = await moved(t);
    const record = join(`${path}.mixbct`, 'gallery.json');
    const next = join(`${path}.mixbct`, 'next.npy');
    if (step === 'rollback') await store.cutOver();
    const gallery = readFileSync(path);
    const saved = JSON.parse(readFileSync(record, 'utf8'));
    // before the rename: the next file is there
    writeFileSync(record, JSON.stringify({ ...saved, step }));
    writeFileSync(next, 'whatever it would be');
    await using killed = await openStore(url);
    assert.equal((await killed.state()).migration?.phase, step === 'cut-over' ? 'moving' : 'cut-over');
    await (step === 'cut-over' ? killed.cutOver() : killed.rollback());
    const after = readFileSync(path);
    assert.ok(!after.equals(gallery));
    // after the rename: it is gone
    if (step === 'cut-over') {
      writeFileSync(record, JSON.stringify({ ...saved, step }));
      assert.equal((await killed.state()).migration?.phase, 'cut-over');
      assert.deepEqual((await killed.counts()).moved, 30);
      await killed.rollback();
    } else {
      writeFileSync(record, JSON.stringify({ ...saved, step }));
      assert.deepEqual(await killed.state(), { stamp: oldStamp, migration: null });
      await killed.beginMigration(migrationTo(newStamp));
      await killed.rollback();
    }
    assert.ok(readFileSync(path).equals(before), 'the very file');
    assert.deepEqual(readdirSync(`${path}.mixbct`), ['gallery.json']);
  }
});

test('a gallery behind a symbolic link is cut over and rolled back; the file that the link names stays', async (t) => {
  const folder = testFolder(t);
  mkdirSync(join(folder, 'data'));
  filesGallery(join(folder, 'data', 'gallery.npy'), rowsOf(5));
  const path = join(folder, 'gallery.npy');
  for (const name of ['gallery.npy', 'gallery.ids.jsonl']) symlinkSync(join('data', name), join(folder, name));
  const before = readFileSync(path);
  await using store = await openStore(`files:${path}`);
  await store.stamp(oldStamp);
  await store.beginMigration(migrationTo(newStamp));
  await allMoved(store);
  await store.cutOver();
  assert.deepEqual([(await store.describe()).dim, (await store.counts()).moved], [newStamp.dim, 5]);
  assert.ok(readFileSync(join(folder, 'data', 'gallery.npy')).equals(before));
  await store.rollback();
  assert.ok(readFileSync(path).equals(before));
});

test('a handle that stays open sees the second of two migrations that another one has made', async (t) => {
  const path = join(testFolder(t), 'gallery.npy');
  const { url } = filesGallery(path, rowsOf(5));
  await using watcher = await openStore(url);
  await using store = await openStore(url);
  await store.stamp(oldStamp);
  for (const [id, from, to] of [
    ['first', oldStamp, newStamp],
    ['second', newStamp, oldStamp],
  ] as const) {
    await store.beginMigration({ ...migrationTo(to, from), id });
    await allMoved(store, to);
    await store.cutOver();
    const [row] = await watcher.page(null, 1);
    assert.deepEqual([(await watcher.counts()).moved, row!.vector!.length, row!.beside!.length], [5, to.dim, from.dim]);
    if (id === 'first') await store.finish();
  }
  await watcher.rollback();
  assert.deepEqual(await watcher.state(), { stamp: newStamp, migration: null });
});

test('a journal is read by chunks, in which lines may begin, end or be longer', async (t) => {
  const { path } = await moved(t);
  const whole = new FilesJournal(`${path}.mixbct`);
  whole.append([{ key: 'x', version: 'v', vector: new Float32Array(newStamp.dim) }], { batch: 2, at: '', ms: 0 }, newStamp.dim); // biome-ignore format: short
  for (const chunk of [1, 100, whole.size, whole.size + 1]) {
    const journal = new FilesJournal(`${path}.mixbct`, chunk);
    journal.refresh();
    assert.deepEqual([journal.entries, journal.size, journal.position('x')], [whole.entries, whole.size, 30]);
  }
});

test('what is no gallery in files is refused in words', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const refused = (name: string, message: RegExp) => assert.rejects(openStore(`files:${at(name)}`), { name: /^(User|File)Error$/, message }); // biome-ignore format: short
  await refused('none.npy', /there is no file/);
  mkdirSync(at('folder.npy'));
  await refused('folder.npy', /there is no file/);
  writeFileSync(at('text.txt'), '1 2 3');
  await refused('text.txt', /wanted a \.npy file with ids beside it, or a \.parquet file/);
  writeFileSync(at('text.npy'), '1 2 3');
  await refused('text.npy', /is no \.npy file/);
  writeNpy(at('flat.npy'), '<f4', new Float32Array(3));
  await refused('flat.npy', /has shape \[3\], wanted rows/);
  writeNpy(at('a.npy'), '<f4', new Float32Array(6), [3]);
  await refused('a.npy', /a\.ids\.jsonl: is not there/);
  writeIds(at('a.ids.jsonl'), ['x']);
  await refused('a.npy', /holds 1 id, wanted 2/);
  writeIds(at('a.ids.jsonl'), ['x', 'x']);
  await refused('a.npy', /names 1 ids twice: x/);
  writeNpy(at('b.npy'), '<f8', new Float64Array(6), [3]);
  await refused('b.npy', /holds <f8, wanted <f4/);
  await refused('a.npy#faces', /a \.npy file has no tables\n/);
  await refused('a.npy?id=key', /a \.npy file has no tables and columns/);
  assert.ok(!existsSync(`${at('a.npy')}.mixbct`));
});

test('a disk that is full leaves the gallery and what was moved before as they were', async (t) => {
  const disk = smallDisk(t, 256 << 10);
  if (!disk) return;
  const path = join(disk, 'gallery.npy');
  const gallery = filesGallery(path, rowsOf(30));
  const before = readFileSync(path);
  await using store = await openStore(gallery.url);
  await store.stamp(oldStamp);
  const wide = stampOf('wide', 4096);
  await store.beginMigration(migrationTo(wide));
  await assert.rejects(allMoved(store, wide), /the disk is full/);
  assert.deepEqual([await store.counts(), await store.journal()], [{ rows: 30, moved: 0 }, []]);
  await store.rollback(); // the torn batch is gone: there is room again
  await store.beginMigration(migrationTo(stampOf('wide', 1024)));
  await allMoved(store, stampOf('wide', 1024)); // fits once, but not twice
  await assert.rejects(store.cutOver(), /the disk is full/);
  assert.equal((await store.state()).migration?.phase, 'moving');
  assert.ok(readFileSync(path).equals(before));
  await store.rollback();
  assert.ok(readFileSync(path).equals(before));
});
