import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Rng } from '../../src/base/rng.ts';
import type { GalleryRow, GalleryStore, MovedRow, SearchedSpace } from '../../src/stores/gallery-store.ts';
import type { MigrationRecord } from '../../src/stores/migration-record.ts';
import { openStore } from '../../src/stores/open-store.ts';
import type { Stamp } from '../../src/stores/stamp.ts';
import { unitRows } from './paired-rows.ts';

/** A row as an application writes it. */
export type TestRow = { readonly key: string; readonly vector: Float32Array; readonly path: string };

/** A gallery in a table with the columns `id`, `vector` and `path`, and what its application does to it. */
export type TestGallery = {
  readonly url: string;
  /** Inserts rows; a row with a key that is there is replaced. */
  insert(rows: readonly TestRow[]): Promise<void>;
  remove(key: string): Promise<void>;
  setVector(key: string, vector: Float32Array): Promise<void>;
  /** The application's rows, their vectors as bytes, by key. */
  content(): Promise<ReadonlyMap<string, { readonly vector: Uint8Array; readonly path: string }>>;
};
export type MakeGallery = (t: TestContext, rows: readonly TestRow[]) => Promise<TestGallery>;

const [COUNT, DIM, NEW_DIM] = [60, 8, 12];
/** Stores may keep cosines in single precision. */
const TOLERANCE = 1e-6;

const flat = unitRows(COUNT, DIM, new Rng('old'));
/** Vectors of any length: a gallery need not be normalised. */
const oldVector = (i: number): Float32Array => flat.slice(i * DIM, (i + 1) * DIM).map((x) => x * (1 + i));
const newVectors = unitRows(COUNT, NEW_DIM, new Rng('new'));
const newVector = (i: number): Float32Array => newVectors.slice(i * NEW_DIM, (i + 1) * NEW_DIM);
const keyOf = (i: number): string => String(1000 + i);
const indexOf = (key: string): number => Number(key) - 1000;
const rowOf = (i: number, vector = oldVector(i)): TestRow => ({ key: keyOf(i), vector, path: `images/${i}.jpg` });
const all = Array.from({ length: COUNT }, (_, i) => i);

export const stampOf = (name: string, dim: number): Stamp => ({
  ...{ model: { name, digest: `digest of ${name}` }, dim, normalised: false },
  ...{ preprocessing: null, flip: null, adapter: null },
});
export const [oldStamp, newStamp] = [stampOf('old', DIM), stampOf('new', NEW_DIM)];
export const migrationTo = (target: Stamp, from = oldStamp): MigrationRecord => ({
  ...{ id: 'a', from, target, source: { kind: 'features', path: 'features/new', digest: 'abc' }, order: null },
  ...{ phase: 'moving', paused: false, startedAt: '2026-01-01T00:00:00.000Z' },
});

const query = (stamp: Stamp, vector: Float32Array): [string, Float32Array] => [stamp.model.digest, vector];
const entry = (batch: number) => ({ batch, at: '2026-01-01T00:00:00.000Z', ms: 5 });
const moved = (rows: readonly GalleryRow[]): MovedRow[] =>
  rows.map(({ key, version }) => ({ key, version, vector: newVector(indexOf(key) % COUNT) }));

/** The columns that a row must have. */
const fieldsOf = (key: string, asked: object | readonly string[]) =>
  (Array.isArray(asked) ? asked.includes('id') : 'id' in asked) ? { id: key } : { path: `images/${indexOf(key)}.jpg` };

/** Every page of a gallery. */
async function pagesOf(store: GalleryStore, fields: readonly string[], only?: 'unmoved'): Promise<GalleryRow[]> {
  const rows: GalleryRow[] = [];
  for (;;) {
    const page = await store.page(rows.at(-1)?.key ?? null, 7, { fields, ...(only && { only }) });
    if (page.length === 0) return rows;
    rows.push(...page);
  }
}

/** What a search must find among these rows. */
function nearest(rows: ReadonlyMap<string, Float32Array>, to: Float32Array, k: number) {
  const cosine = (a: Float32Array): number => {
    const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, value, d) => sum + value * y[d]!, 0);
    return dot(a, to) / Math.sqrt(dot(a, a) * dot(to, to));
  };
  const scored = [...rows].map(([key, vector]) => ({ key, score: cosine(vector) }));
  return scored.sort((a, b) => b.score - a.score).slice(0, k);
}

function assertHits(space: SearchedSpace | undefined, stamp: Stamp, wanted: ReturnType<typeof nearest>): void {
  assert.deepEqual(space?.stamp, stamp);
  assert.deepEqual(space?.hits?.map(({ key }) => key), wanted.map(({ key }) => key)); // biome-ignore format: short
  for (const [i, { key, score, fields }] of space!.hits!.entries()) {
    assert.ok(Math.abs(score - wanted[i]!.score) < TOLERANCE, `${score} of ${key}, wanted ${wanted[i]!.score}`);
    assert.deepEqual(fields, fieldsOf(key, fields));
  }
}

type StoreOptions = {
  /** Whether galleries have the column `path`. */
  readonly path?: boolean;
  readonly open?: typeof openStore;
};

/** Defines the tests that every store passes. `make` writes a gallery as an application would; `path`: whether it has that column. */
export function storeConformance(
  name: string,
  make: MakeGallery,
  { path = true, open = openStore }: StoreOptions = {},
): void {
  const fields = [path ? 'path' : 'id'];
  const everyRow = (store: GalleryStore, only?: 'unmoved') => pagesOf(store, fields, only);
  const opened = async (t: TestContext, count = COUNT) => {
    const gallery = await make(t, all.slice(0, count).map((i) => rowOf(i))); // biome-ignore format: short
    const store = await open(gallery.url);
    t.after(() => store[Symbol.asyncDispose]());
    return { gallery, store };
  };
  /** A stamped gallery in a migration, of which the first `done` rows are moved. */
  const migrating = async (t: TestContext, done: number) => {
    const { gallery, store } = await opened(t);
    await store.stamp(oldStamp);
    await store.beginMigration(migrationTo(newStamp));
    const rows = await store.rows(all.slice(0, done).map(keyOf));
    if (done > 0) assert.equal(await store.commit({ rows: moved(rows), entry: entry(1) }), done);
    return { gallery, store };
  };
  const without = (rows: readonly number[], vectorOf: (i: number) => Float32Array) =>
    new Map(rows.map((i) => [keyOf(i), vectorOf(i)]));

  test(`${name}: pages and keys give every row once, with the columns that are asked for`, async (t) => {
    const { store } = await opened(t);
    const { dim, columns, id, vector } = await store.describe();
    assert.deepEqual({ dim, id, vector, columns: [...columns].sort() }, { dim: DIM, id: 'id', vector: 'vector', columns: ['id', ...(path ? ['path'] : []), 'vector'] }); // biome-ignore format: short
    assert.deepEqual(await store.counts(), { rows: COUNT, moved: 0 });
    const rows = await everyRow(store);
    assert.deepEqual(rows.map(({ key }) => key).sort(), all.map(keyOf));
    for (const row of rows) {
      assert.deepEqual(row.vector, oldVector(indexOf(row.key)));
      assert.ok(!row.moved && row.beside === null);
      assert.deepEqual(row.fields, fieldsOf(row.key, fields));
    }
    const some = await store.rows([keyOf(3), 'nobody', keyOf(41)]);
    assert.deepEqual(some.map(({ key }) => key).sort(), [keyOf(3), keyOf(41)]);
    const versions = new Map(rows.map(({ key, version }) => [key, version]));
    for (const { key, version } of some) assert.equal(version, versions.get(key));
    await assert.rejects(store.rows([keyOf(3)], ['label']), /has no column label; its columns: /);
  });

  test(`${name}: a search finds what brute force finds, and only by queries of the model in the stamp`, async (t) => {
    const { gallery, store } = await opened(t);
    const to = flat.slice(0, DIM).map((x, d) => x + 0.3 * d);
    const search = () => store.search(new Map([query(oldStamp, to)]), { k: 5, fields });
    await assert.rejects(search(), /nothing says which model.*\n.*mixbct store stamp/);
    await store.stamp(stampOf('mistaken', DIM));
    await store.stamp(oldStamp);
    assert.deepEqual(await store.state(), { stamp: oldStamp, migration: null });
    await gallery.setVector(keyOf(7), new Float32Array(DIM));
    const others = all.filter((i) => i !== 7);
    const [space, ...more] = await search();
    assert.equal(more.length, 0);
    assertHits(space, oldStamp, nearest(without(others, oldVector), to, 5));
    assertHits((await store.search(new Map([query(oldStamp, to)]), { k: 500, fields }))[0], oldStamp, nearest(without(others, oldVector), to, 500)); // biome-ignore format: short
    assert.deepEqual(await store.search(new Map([query(newStamp, to)]), { k: 5 }), [{ stamp: oldStamp, hits: null }]);
    await assert.rejects(store.search(new Map([query(oldStamp, newVector(0))]), { k: 5 }), /12 dimensions .*8 dim/);
  });

  test(`${name}: during a migration each row is searched in its own space`, async (t) => {
    const { store } = await migrating(t, 20);
    const [a, b] = [oldVector(30), newVector(30)];
    const spaces = await store.search(new Map([query(oldStamp, a), query(newStamp, b)]), { k: 9, fields });
    assert.equal(spaces.length, 2);
    assertHits(spaces[0], oldStamp, nearest(without(all.slice(20), oldVector), a, 9));
    assertHits(spaces[1], newStamp, nearest(without(all.slice(0, 20), newVector), b, 9));
    const [old, fresh] = await store.search(new Map([query(newStamp, b)]), { k: 9 });
    assert.ok(old!.hits === null && fresh!.hits!.length === 9);
    assert.deepEqual(await store.counts(), { rows: COUNT, moved: 20 });
    assert.equal((await everyRow(store, 'unmoved')).length, COUNT - 20);
    for (const row of await everyRow(store)) {
      assert.deepEqual(row.vector, oldVector(indexOf(row.key)));
      assert.deepEqual(row.beside, row.moved ? newVector(indexOf(row.key)) : null);
      assert.equal(row.moved, indexOf(row.key) < 20);
    }
    assert.deepEqual(await store.journal(), [{ ...entry(1), rows: 20 }]);
  });

  test(`${name}: rows that were written meanwhile are not moved; a commit takes none that changed`, async (t) => {
    const { gallery, store } = await migrating(t, 20);
    const read = await store.rows([20, 21, 22, 23].map(keyOf));
    await gallery.remove(keyOf(0)); // moved
    await gallery.setVector(keyOf(1), oldVector(50)); // moved
    await gallery.insert([rowOf(2, oldVector(51)), { ...rowOf(3), path: 'images/3.jpg' }]); // moved; replaced
    await gallery.remove(keyOf(20));
    await gallery.setVector(keyOf(21), oldVector(52));
    await gallery.insert([rowOf(70, oldVector(0))]);
    assert.equal(await store.commit({ rows: moved(read), entry: entry(2) }), 2);
    const again = await store.commit({ rows: moved(read), entry: entry(3) });
    assert.equal(again, 0, 'rows that are moved are not moved twice');
    const now = new Map((await everyRow(store)).map(({ key, moved }) => [indexOf(key), moved]));
    assert.deepEqual([0, 1, 2, 4, 20, 21, 22, 23, 70].map((i) => now.get(i)), [undefined, false, false, true, undefined, false, true, true, false]); // biome-ignore format: short
    const [old, fresh] = await store.search(new Map([query(oldStamp, oldVector(0)), query(newStamp, newVector(0))]), { k: 100 }); // biome-ignore format: short
    const keys = (space: SearchedSpace | undefined) => space!.hits!.map(({ key }) => indexOf(key));
    const inSpace = (wanted: boolean) => [...now].filter(([, is]) => is === wanted).map(([i]) => i).sort(); // biome-ignore format: short
    assert.deepEqual(keys(old).sort(), inSpace(false));
    assert.deepEqual(keys(fresh).sort(), inSpace(true));
    assert.deepEqual(await store.counts(), { rows: COUNT - 1, moved: inSpace(true).length });
    assert.deepEqual((await store.journal()).map(({ rows }) => rows), [20, 2, 0]); // biome-ignore format: short
    await assert.rejects(store.commit({ rows: [{ ...read[2]!, vector: new Float32Array(3) }], entry: entry(4) }), RangeError); // biome-ignore format: short
    assert.equal((await store.journal()).length, 3);
  });

  test(`${name}: a migration is begun once, on a stamped gallery, and another handle sees it`, async (t) => {
    const { gallery, store } = await opened(t);
    await assert.rejects(store.beginMigration(migrationTo(newStamp)), /store stamp/);
    for (const step of [
      () => store.cutOver(),
      () => store.rollback(),
      () => store.finish(),
      () => store.setPaused(true),
    ])
      await assert.rejects(step(), /no migration has begun/);
    await store.stamp(oldStamp);
    await store.beginMigration(migrationTo(newStamp));
    await assert.rejects(store.beginMigration(migrationTo(newStamp)), /is in a migration to new/);
    await assert.rejects(store.stamp(oldStamp), /is in a migration to new/);
    await assert.rejects(store.finish(), /the cut-over has not been/);
    {
      await using other = await open(gallery.url);
      await other.setPaused(true);
      assert.deepEqual(await other.state(), { stamp: oldStamp, migration: { ...migrationTo(newStamp), paused: true } });
      await using _ = await other.claim();
      await assert.rejects(store.claim());
    }
    assert.equal((await store.state()).migration?.paused, true);
    await using _ = await store.claim();
  });

  test(`${name}: the cut-over makes the new vectors the application's, the rollback gives back the bytes`, async (t) => {
    const { gallery, store } = await migrating(t, 20);
    const before = await gallery.content();
    await assert.rejects(store.cutOver(), /40 rows have no new vector\n.*migrate run/);
    assert.deepEqual(await gallery.content(), before);
    await store.commit({ rows: moved(await everyRow(store, 'unmoved')), entry: entry(2) });
    assert.deepEqual(await gallery.content(), before, 'what the application reads does not change before the cut-over');
    await store.cutOver();
    const { stamp, migration } = await store.state();
    assert.deepEqual([stamp, migration?.phase], [newStamp, 'cut-over']);
    for (const row of await everyRow(store)) {
      assert.deepEqual(row.vector, newVector(indexOf(row.key)));
      assert.deepEqual(row.beside, oldVector(indexOf(row.key)));
    }
    assert.equal((await store.describe()).dim, NEW_DIM);
    const spaces = await store.search(new Map([query(newStamp, newVector(3))]), { k: 4, fields });
    assert.equal(spaces.length, 1);
    assertHits(spaces[0], newStamp, nearest(without(all, newVector), newVector(3), 4));
    await gallery.insert([rowOf(70, newVector(1))]);
    await gallery.remove(keyOf(5));
    await assert.rejects(store.rollback(), /1 row was written since the cut-over and has no old vector/);
    await gallery.remove(keyOf(70));
    await store.rollback();
    const after = new Map(before);
    after.delete(keyOf(5));
    assert.deepEqual(await gallery.content(), after);
    assert.deepEqual(await store.state(), { stamp: oldStamp, migration: null });
    assert.deepEqual(await store.counts(), { rows: COUNT - 1, moved: 0 });
  });

  test(`${name}: a migration that is rolled back before its end leaves the gallery as it was, and can begin again`, async (t) => {
    const { gallery, store } = await opened(t);
    const before = await gallery.content();
    await store.stamp(oldStamp);
    for (const rounds of [0, 1]) {
      await store.beginMigration(migrationTo(newStamp));
      assert.deepEqual(await store.counts(), { rows: COUNT, moved: 0 }, `round ${rounds}`);
      assert.deepEqual(await store.journal(), []);
      await store.commit({ rows: moved(await store.page(null, 11)), entry: entry(1) });
      await store.rollback();
      assert.deepEqual(await gallery.content(), before);
      assert.deepEqual(await store.state(), { stamp: oldStamp, migration: null });
    }
    assert.equal((await everyRow(store)).filter(({ beside }) => beside !== null).length, 0);
  });

  test(`${name}: what is finished has the new vectors only, and can migrate again`, async (t) => {
    const { gallery, store } = await migrating(t, COUNT);
    await store.cutOver();
    await assert.rejects(store.cutOver(), /the cut-over has been/);
    await assert.rejects(store.commit({ rows: [], entry: entry(9) }), /the cut-over has been/);
    await store.finish();
    assert.deepEqual(await store.state(), { stamp: newStamp, migration: null });
    for (const [key, { vector, path: image }] of await gallery.content()) {
      assert.deepEqual(new Uint8Array(vector), new Uint8Array(newVector(indexOf(key)).buffer));
      if (path) assert.equal(image, `images/${indexOf(key)}.jpg`);
    }
    await using reopened = await open(gallery.url);
    assert.deepEqual(await reopened.state(), { stamp: newStamp, migration: null });
    await reopened.beginMigration(migrationTo(oldStamp, newStamp));
    assert.deepEqual(await reopened.counts(), { rows: COUNT, moved: 0 });
  });
}
