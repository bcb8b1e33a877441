import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern } from '../../test/helpers/images.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { sqliteGallery } from '../../test/helpers/sqlite-gallery.ts';
import type { TestGallery, TestRow } from '../../test/helpers/store-conformance.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { backfillArtifact, backfillFiles } from '../backfill/backfill-artifact.ts';
import { writeOrder, writeOrderIds } from '../backfill/order-file.ts';
import { Rng } from '../base/rng.ts';
import { encodePgm } from '../data/decode.ts';
import { writeFeatureSet } from '../features/index.ts';
import { importModel } from '../runs/import-model.ts';
import { openStore } from '../stores/open-store.ts';
import { openSqlite } from '../stores/sqlite-driver.ts';
import type { Stamp } from '../stores/stamp.ts';
import { writeAdapter } from './adapt.ts';
import {
  cutOver,
  finishMigration,
  migrate,
  migrationStatus,
  pauseMigration,
  planMigration,
  rollBack,
  verifyGallery,
} from './migrate.ts';
import { openOrder } from './migration-order.ts';

const [CLASSES, IMAGES, DIM] = [20, 6, 8];
const COUNT = CLASSES * IMAGES;
const keyOf = (i: number): string => `${Math.floor(i / IMAGES)}/${i % IMAGES}.pgm`;
const labels = Int32Array.from({ length: COUNT }, (_, i) => Math.floor(i / IMAGES));

/** Embeddings of classes around their centres. */
function embeddings(name: string, dim: number, noise: number): Float32Array {
  const [centres, noises] = [unitRows(CLASSES, dim, new Rng('centres')), unitRows(COUNT, dim, new Rng(name))];
  return noises.map((value, i) => centres[labels[Math.floor(i / dim)]! * dim + (i % dim)]! + noise * value);
}

/** A stamped gallery in SQLite, with feature sets of its images by the old and the new model. */
async function world(t: TestContext, { normalised = false, newDim = DIM + 4 } = {}) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const write = async (name: string, rows: Float32Array, dim: number, model: string | null = name) => {
    const info = model === null ? null : { name: model, digest: `digest of ${model}`, preset: 'default', differences: [], trainedOn: null }; // biome-ignore format: short
    const content = { dim, classes: CLASSES, labels, families: new Int32Array(COUNT).fill(-1), flip: 'none' as const, dataset: null, model: info, id: keyOf }; // biome-ignore format: short
    await writeFeatureSet(at(name), content, { force: true }, ({ append }) => append(rows.slice()));
    return at(name);
  };
  const old = embeddings('old', DIM, 1);
  const fresh = embeddings('new', newDim, 0.3);
  await write('old', old, DIM);
  await write('new', fresh, newDim);
  const row = (i: number): TestRow => ({ key: keyOf(i), vector: old.slice(i * DIM, (i + 1) * DIM), path: keyOf(i) });
  const gallery = await sqliteGallery(
    t,
    Array.from({ length: COUNT }, (_, i) => row(i)),
  );
  await stamp(gallery, { normalised });
  const newVector = (key: string): Float32Array => {
    const [label, image] = key.replace('.pgm', '').split('/').map(Number) as [number, number];
    const i = label * IMAGES + image;
    return fresh.slice(i * newDim, (i + 1) * newDim);
  };
  return { at, write, gallery, url: gallery.url, row, newVector, features: at('new') };
}

async function stamp({ url }: TestGallery, more: Partial<Stamp> = {}): Promise<void> {
  await using store = await openStore(url);
  const model = { name: 'old', digest: 'digest of old' };
  await store.stamp({ model, dim: DIM, normalised: false, preprocessing: null, flip: null, adapter: null, ...more });
}

test('a gallery moves to the vectors of a feature set in the order asked for, is checked, cut over and finished', async (t) => {
  const { at, url, gallery, newVector, features } = await world(t);
  const before = await gallery.content();
  const plan = await planMigration({ url, features, rate: 40 });
  assert.deepEqual([plan.rows, plan.available, plan.bytes, plan.seconds], [COUNT, COUNT, COUNT * 12 * 4, 3]);
  const order = Array.from({ length: COUNT }, (_, i) => keyOf(COUNT - 1 - i));
  writeFileSync(at('order.txt'), `${['not/there.pgm', ...order.slice(0, 50)].join('\n')}\n`);
  const controller = new AbortController();
  const stopping = migrate({ url, features, order: at('order.txt'), batchSize: 10, rate: 50, signal: controller.signal }); // biome-ignore format: short
  void setTimeout(300).then(() => controller.abort());
  await assert.rejects(stopping, { name: 'Interrupted', message: /^stopped with \d+ rows moved/ });
  {
    const { moved, migration, secondsLeft } = await migrationStatus(url);
    assert.ok(moved < COUNT, `${moved} moved`);
    assert.equal(migration?.order?.path, at('order.txt'));
    assert.ok(secondsLeft === null || secondsLeft > 0);
    await using store = await openStore(url);
    const rows = await store.rows(order);
    assert.deepEqual(
      rows.filter((row) => row.moved).map(({ key }) => key).sort(), // biome-ignore format: short
      order.slice(0, moved).sort(),
      'the rows that are moved are the first of the order',
    );
  }
  await assert.rejects(cutOver(url), /rows have no new vector/);
  assert.equal((await verifyGallery(url)).ok, false);
  assert.deepEqual(await gallery.content(), before);
  assert.equal((await migrate({ url })).ended, 'moved');
  const check = await verifyGallery(url, { sample: 30 });
  assert.deepEqual([check.ok, check.rows, check.sampled, check.otherwise], [true, COUNT, 30, 0]);
  assert.deepEqual(await gallery.content(), before);
  await cutOver(url);
  assert.ok((await verifyGallery(url, { sample: 30 })).ok);
  await finishMigration(url);
  for (const [key, { vector, path }] of await gallery.content()) {
    assert.deepEqual(new Uint8Array(vector), new Uint8Array(newVector(key).buffer));
    assert.equal(path, key);
  }
  const { stamp, migration } = await migrationStatus(url);
  assert.deepEqual([stamp?.model, stamp?.dim, migration], [{ name: 'new', digest: 'digest of new' }, 12, null]);
  await assert.rejects(planMigration({ url, features }), /its vectors are of new .* already/);
});

test('the order of a simulated backfill is read by its ids, or by numbers of rows without them; one of other models is refused', async (t) => {
  const { url, at, features } = await world(t);
  const rows = Int32Array.of(70, 3, 119, 0, 44);
  const simulate = async (name: string, newer: string, ids: boolean) => {
    const side = (model: string) => ({
      model: { name: model, digest: `digest of ${model}` },
      dim: DIM,
      features: model,
    });
    await backfillArtifact.write(at(name), {}, (folder) => {
      writeFileSync(backfillFiles(folder).simulation, '{}\n');
      if (ids)
        writeOrderIds(
          folder,
          Array.from({ length: COUNT }, (_, i) => keyOf(i)),
        );
      return {
        ...{ old: side('old'), new: side(newer), adapter: null, dataset: null, seed: 0, count: COUNT, ids },
        ...{ rows: rows.length, orders: [writeOrder(folder, 'disagreement', rows)] },
        digest: fileDigest(backfillFiles(folder).simulation),
      };
    });
    return `${at(name)}:disagreement`;
  };
  const order = await simulate('simulated', 'new', true);
  const foreign = await simulate('foreign', 'third', true);
  await assert.rejects(migrate({ url, features, order: foreign }), /simulation with another new model \(third/);
  await assert.rejects(migrate({ url, features, order: `${at('simulated')}:random` }), /has no order random/);
  await assert.rejects(migrate({ url, features, order: at('none.txt') }), /no such file/);
  assert.equal((await migrationStatus(url)).migration, null);
  const controller = new AbortController();
  const running = migrate({ url, features, order, batchSize: 5, rate: 10, signal: controller.signal });
  while ((await migrationStatus(url)).moved < 5) await setTimeout(5);
  controller.abort();
  await assert.rejects(running, { name: 'Interrupted' });
  await using store = await openStore(url);
  const first = await store.rows(Array.from(rows, keyOf));
  assert.deepEqual([first.length, first.every(({ moved }) => moved)], [5, true]);
  const models = { from: (await store.state()).stamp!, to: (await store.state()).migration!.target };
  const numbers = openOrder(await simulate('nameless', 'new', false), models);
  assert.deepEqual([...numbers!.keys], ['70', '3', '119', '0', '44']);
});

test('new vectors have length 1 if the old ones do', async (t) => {
  const { url, features } = await world(t, { normalised: true });
  await migrate({ url, features });
  await using store = await openStore(url);
  for (const { beside } of await store.page(null, COUNT)) assert.ok(Math.abs(Math.hypot(...beside!) - 1) < 1e-6);
  assert.ok((await verifyGallery(url, { sample: 10 })).ok);
});

test('a second process pauses a migration; rows that are written meanwhile are moved at its end', async (t) => {
  const { url, features, gallery, row, newVector } = await world(t);
  const running = migrate({ url, features, batchSize: 10, rate: 50 });
  const looking = async (least: number) => {
    while ((await migrationStatus(url)).moved < least) await setTimeout(5);
  };
  await looking(20);
  await assert.rejects(migrate({ url }), /process \d+ is writing it/);
  await gallery.remove(keyOf(1));
  await gallery.setVector(keyOf(2), row(9).vector);
  await pauseMigration(url);
  const paused = await running;
  assert.equal(paused.ended, 'paused');
  await assert.rejects(migrate({ url }), /is paused\n.*migrate resume/);
  await gallery.insert([row(1)]);
  await gallery.setVector(keyOf(2), row(2).vector);
  assert.equal((await migrate({ url, resume: true })).ended, 'moved');
  await using store = await openStore(url);
  for (const { key, moved, beside } of await store.page(null, COUNT)) {
    assert.ok(moved, key);
    assert.deepEqual(beside, newVector(key));
  }
  await rollBack(url);
  assert.equal((await migrationStatus(url)).migration, null);
});

test('a migration that is killed at any batch goes on: no row is lost, none is moved twice', async (t) => {
  const { url, features, gallery } = await world(t);
  const before = await gallery.content();
  const script = resolve(import.meta.dirname, '../../test/helpers/migrate-until-killed.js');
  await migrate({ url, features, signal: AbortSignal.abort() }).catch(() => undefined);
  assert.equal((await migrationStatus(url)).moved, 0);
  for (const [round, killAt] of [0, 1, 4].entries()) {
    const { signal } = spawnSync(process.execPath, [script, url, features, String(killAt)]);
    assert.equal(signal, 'SIGKILL');
    const { moved, batches } = await migrationStatus(url);
    assert.deepEqual([moved, batches], [[0, 10, 50][round], [0, 1, 5][round]]);
  }
  assert.equal((await migrate({ url })).moved, COUNT - 50);
  assert.ok((await verifyGallery(url, { sample: COUNT })).ok);
  await using store = await openStore(url);
  const journal = await store.journal();
  assert.equal(journal.reduce((sum, { rows }) => sum + rows, 0), COUNT); // biome-ignore format: short
  await cutOver(url);
  await rollBack(url);
  assert.deepEqual(await gallery.content(), before);
});

test('an adapter for the gallery moves it without images, one for the query or between other models is refused', async (t) => {
  const { url, at, write, features, gallery } = await world(t, { newDim: DIM });
  await write('foreign', embeddings('foreign', DIM, 0.4), DIM);
  const fit = (out: string, direction: 'query' | 'gallery', old = at('old')) =>
    writeAdapter({ old, new: features, direction, out: at(out), metric: 'rank-1', candidates: ['procrustes'], resamples: 10, allowWorse: true }); // biome-ignore format: short
  await fit('gallery', 'gallery');
  await fit('query', 'query');
  await fit('other', 'gallery', at('foreign'));
  await assert.rejects(migrate({ url, adapter: at('query') }), /is an adapter for the query.*\n.*--direction gallery/);
  await assert.rejects(migrate({ url, adapter: at('other') }), /maps vectors of foreign .*holds those of old/);
  await assert.rejects(migrate({ url, adapter: at('gallery'), features }), /wanted one source/);
  await assert.rejects(migrate({ url }), /wanted one source/);
  assert.equal((await migrationStatus(url)).migration, null);
  await migrate({ url, adapter: at('gallery') });
  assert.ok((await verifyGallery(url, { sample: 20 })).ok);
  await assert.rejects(migrate({ url, features }), /takes new vectors from .*gallery \(adapter\)/);
  await cutOver(url);
  assert.ok((await verifyGallery(url, { sample: 20 })).ok, 'the old vectors are beside now');
  const { stamp } = await migrationStatus(url);
  assert.deepEqual([stamp?.model.digest, stamp?.adapter?.direction], ['digest of new', 'gallery']);
  await finishMigration(url);
  await assert.rejects(migrate({ url, adapter: at('gallery') }), /holds those of new/);
  assert.equal((await gallery.content()).size, COUNT);
});

test('rows that the application wrote since the cut-over are not made again', async (t) => {
  const { url, features, gallery, newVector } = await world(t);
  await migrate({ url, features });
  await cutOver(url);
  await gallery.insert([{ key: 'later/1.pgm', vector: newVector(keyOf(0)), path: 'later/1.pgm' }]);
  const { rows, sampled, otherwise, ok } = await verifyGallery(url, { sample: COUNT + 1 });
  assert.deepEqual([rows, sampled, otherwise, ok], [COUNT + 1, COUNT, 0, true]);
});

test('vectors that an adapter mapped into the space of a model can be moved to those of the model itself', async (t) => {
  const { url, at, features } = await world(t, { newDim: DIM });
  await writeAdapter({ old: at('old'), new: features, direction: 'gallery', out: at('gallery'), metric: 'rank-1', candidates: ['procrustes'], resamples: 10, allowWorse: true }); // biome-ignore format: short
  for (const source of [{ adapter: at('gallery') }, { features }]) {
    await migrate({ url, ...source });
    await cutOver(url);
    await finishMigration(url);
  }
  assert.equal((await migrationStatus(url)).stamp?.adapter, null);
  await assert.rejects(migrate({ url, features }), /its vectors are of new .* already/);
});

test('an adapter names a row whose old vector is zeros or not finite, and moves the others', async (t) => {
  const { url, at, gallery, features } = await world(t, { newDim: DIM });
  await writeAdapter({ old: at('old'), new: features, direction: 'gallery', out: at('gallery'), metric: 'rank-1', candidates: ['procrustes'], resamples: 10, allowWorse: true }); // biome-ignore format: short
  await gallery.setVector(keyOf(2), new Float32Array(DIM).fill(Number.NaN));
  await gallery.setVector(keyOf(3), new Float32Array(DIM).fill(1).fill(Number.POSITIVE_INFINITY, 1, 2));
  await gallery.setVector(keyOf(4), new Float32Array(DIM));
  assert.equal((await planMigration({ url, adapter: at('gallery') })).sampled, COUNT);
  await assert.rejects(migrate({ url, adapter: at('gallery'), batchSize: 16 }), /3 rows have no new vector, the others are moved:\n {2}0\/2\.pgm: its old vector is not finite\n {2}0\/3\.pgm: its old vector is not finite\n {2}0\/4\.pgm: its new vector is zeros\n/); // biome-ignore format: short
  assert.equal((await migrationStatus(url)).moved, COUNT - 3);
});

test('an order that is gone or has changed is news: the migration goes on without it', async (t) => {
  const reports = reportsOf(t);
  const { at, url, features } = await world(t);
  const order = at('order.txt');
  writeFileSync(order, `${keyOf(7)}\n`);
  await migrate({ url, features, order, batchSize: 10, limit: 1 });
  writeFileSync(order, `${keyOf(8)}\n`);
  await migrate({ url, batchSize: 10, limit: 1 });
  assert.match(reports.text(), /order\.txt has changed since the migration began: the other rows follow/);
  rmSync(order);
  assert.equal((await migrate({ url })).ended, 'moved');
  assert.match(reports.text(), /order\.txt cannot be read any more \(.*no such file/);
});

test('a migration that has begun takes no other order', async (t) => {
  const { at, url, features } = await world(t);
  const write = (name: string, i: number): string => {
    writeFileSync(at(name), `${keyOf(i)}\n`);
    return at(name);
  };
  const [order, same, other] = [write('order.txt', 7), write('same.txt', 7), write('other.txt', 8)];
  const few = { url, features, batchSize: 10, limit: 1 };
  await migrate({ ...few, order });
  await assert.rejects(migrate({ ...few, order: other }), /its migration follows the order \S*order\.txt, not \S*other\.txt\n.*migrate resume/); // biome-ignore format: short
  await assert.rejects(migrate({ ...few, order: at('none.txt') }), /no such file/);
  for (const given of [order, same, undefined]) await migrate({ ...few, order: given });
  write('order.txt', 9); // the order that it began with has changed: news, no other order
  await migrate({ ...few, order });
  await rollBack(url);
  await migrate(few);
  await assert.rejects(migrate({ ...few, order }), /its migration follows no order, not \S*order\.txt/);
});

test('a feature set that has changed, lacks rows or ids, or names no model is refused or says which rows it lacks', async (t) => {
  const { url, at, write, features, gallery, row } = await world(t);
  await write('nameless', embeddings('new', DIM, 0.3), DIM, null);
  await assert.rejects(migrate({ url, features: at('nameless') }), /does not say which model/);
  await assert.rejects(migrate({ url, features: at('old') }), /its vectors are of old .* already/);
  await gallery.insert([{ ...row(0), key: 'elsewhere/1.pgm' }]);
  await assert.rejects(migrate({ url, features }), /1 row has no new vector, the others are moved:\n {2}elsewhere\/1\.pgm: .* has no row of this id/); // biome-ignore format: short
  assert.equal((await migrationStatus(url)).moved, COUNT);
  await gallery.remove('elsewhere/1.pgm');
  await write('new', embeddings('newer', DIM + 4, 0.3), DIM + 4);
  for (const options of [{ url }, { url, features }])
    await assert.rejects(migrate(options), /new is not what it was when the migration .* began.*\n.*migrate rollback/);
});

test('images of a column of paths, of a column of bytes and of a folder by id give the vectors of mixbct embed', async (t) => {
  const folder = testFolder(t);
  const { file, ...about } = checkpoints.networks.find(({ file }) => file === 'mbf.pt')!;
  await importModel(checkpointPath(file), about, join(folder, 'run'));
  const [count, side] = [12, 16];
  const key = (i: number): string => `${i % 3}/${i}.pgm`;
  for (let i = 0; i < count; i++) {
    mkdirSync(join(folder, 'photos', String(i % 3)), { recursive: true });
    writeFileSync(join(folder, 'photos', key(i)), encodePgm(pattern(i % 3, i, side), side, side));
  }
  assert.equal(mixbct(folder, 'embed', 'run', 'photos', '--out', 'photos.npy', '--threads', '1').code, 0);
  const ids = readFileSync(join(folder, 'photos.ids.jsonl'), 'utf8').trimEnd().split('\n').map((line) => String(JSON.parse(line))); // biome-ignore format: short
  const bytes = readFileSync(join(folder, 'photos.npy'));
  const wanted = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 128, bytes.byteOffset + bytes.length));
  const dim = wanted.length / count;
  const rows = Array.from({ length: count }, (_, i) => ({ key: key(i), vector: new Float32Array(DIM).fill(1), path: join(folder, 'photos', key(i)) })); // biome-ignore format: short
  const gallery = await sqliteGallery(t, rows, 'id TEXT PRIMARY KEY, vector BLOB, path TEXT, image BLOB');
  const { database } = await openSqlite(gallery.url.slice('sqlite:'.length, -'#faces'.length));
  t.after(() => database.close());
  for (const row of rows)
    database.prepare('UPDATE faces SET image = ? WHERE id = ?').run(readFileSync(row.path), row.key);
  await stamp(gallery);
  const model = join(folder, 'run');
  for (const source of [{ images: 'path' }, { images: 'image' }, { folder: join(folder, 'photos') }]) {
    await migrate({ url: gallery.url, model, ...source, batchSize: 5 });
    await using store = await openStore(gallery.url);
    for (const { key, beside } of await store.page(null, count)) {
      const at = ids.findIndex((id) => id.endsWith(key));
      const same = wanted.subarray(at * dim, (at + 1) * dim);
      for (const [d, x] of beside!.entries()) assert.ok(Math.abs(x - same[d]!) < 1e-4, `${x}, wanted ${same[d]}`);
    }
    assert.ok((await verifyGallery(gallery.url, { sample: 5 })).ok);
    await rollBack(gallery.url);
  }
  await migrate({ url: gallery.url, model, images: 'path', flip: 'mean', batchSize: 5, limit: 5 });
  const began = /takes new vectors from .*run \(images of the column path in \S+, flip mean\), not from /;
  for (const other of [{ images: 'path' }, { images: 'image', flip: 'mean' as const }, { folder: join(folder, 'photos'), flip: 'mean' as const }]) // biome-ignore format: short
    await assert.rejects(migrate({ url: gallery.url, model, ...other }), began);
  await migrate({ url: gallery.url, model, images: 'path', flip: 'mean', limit: 5 });
  assert.equal((await migrate({ url: gallery.url })).ended, 'moved');
  assert.ok((await verifyGallery(gallery.url, { sample: count })).ok);
  await rollBack(gallery.url);
  await assert.rejects(migrate({ url: gallery.url, model, images: 'label' }), /has no column label/);
  assert.equal((await migrationStatus(gallery.url)).migration, null);
  writeFileSync(join(folder, 'photos', key(4)), 'no image');
  await assert.rejects(
    migrate({ url: gallery.url, model, images: 'path' }),
    /1 row has no new vector.*\n {2}1\/4\.pgm: /,
  );
});
