import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { readOnly } from '../../test/helpers/read-only.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import { sqliteGallery } from '../../test/helpers/sqlite-gallery.ts';
import {
  type MakeGallery,
  migrationTo,
  stampOf,
  storeConformance,
  type TestRow,
} from '../../test/helpers/store-conformance.ts';
import { createGallery } from './create-gallery.ts';
import { openStore } from './open-store.ts';
import { openSqlite } from './sqlite-driver.ts';
import { openSqliteStore } from './sqlite-store.ts';
import { parseStoreUrl } from './store-url.ts';
import { vectorBytes } from './vectors.ts';

const withText: MakeGallery = (t, rows) => sqliteGallery(t, rows, 'id TEXT PRIMARY KEY, vector BLOB, path TEXT');
const withIntegers: MakeGallery = (t, rows) =>
  sqliteGallery(t, rows, 'path TEXT, vector BLOB NOT NULL, id INTEGER PRIMARY KEY');

storeConformance('SQLite', withText);
storeConformance('SQLite with whole numbers as ids', withIntegers);

const rowsOf = (count: number): TestRow[] =>
  Array.from({ length: count }, (_, i) => ({
    ...{ key: String(i), path: `${i}.jpg` },
    vector: Float32Array.from({ length: 4 }, (_, d) => Math.sin(i + 3 * d)),
  }));

test('the search without sqlite-vec finds the same rows with the same scores', async (t) => {
  const { url } = await withText(t, rowsOf(300));
  await using store = await openSqliteStore(parseStoreUrl(url));
  await using plain = await openSqliteStore(parseStoreUrl(url), { extension: false });
  await store.stamp(stampOf('old', 4));
  for (const { vector } of rowsOf(3)) {
    const [fast, slow] = await Promise.all(
      [store, plain].map((one) => one.search(new Map([['digest of old', vector]]), { k: 10 })),
    );
    assert.equal(fast![0]!.hits!.length, 10);
    assert.deepEqual(fast, slow);
  }
});

test('what is no gallery in SQLite is refused in words, and nothing is made of it', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const refused = (url: string, message: RegExp) =>
    assert.rejects(openStore(url), { name: /^(User|File)Error$/, message });
  await refused(`sqlite:${at('none.db')}`, /there is no file .*none\.db/);
  assert.ok(!existsSync(at('none.db')));
  mkdirSync(at('folder.db'));
  await refused(`sqlite:${at('folder.db')}`, /is no file/);
  writeFileSync(at('empty.db'), '');
  await refused(`sqlite:${at('empty.db')}`, /is empty/);
  writeFileSync(at('text.db'), 'not a database, but long enough to be taken for one'.repeat(40));
  await refused(`sqlite:${at('text.db')}`, /is no SQLite database/);
  const path = at('gallery.db');
  const { database, vec } = await openSqlite(path);
  t.after(() => database.close());
  assert.ok(vec, 'sqlite-vec is a development dependency');
  database.exec(
    `CREATE TABLE faces (id TEXT PRIMARY KEY, embedding BLOB, vector BLOB); CREATE TABLE twice (id TEXT, vector BLOB);
    CREATE TABLE floats (id REAL PRIMARY KEY, vector BLOB); INSERT INTO floats VALUES (1.5, NULL);
    CREATE TABLE nobody (id TEXT UNIQUE, vector BLOB); INSERT INTO nobody VALUES ('a', NULL), (NULL, NULL);
    CREATE TABLE mixed (id INT UNIQUE, vector BLOB); INSERT INTO mixed VALUES (1, NULL), ('abc', NULL);
    CREATE TABLE halves (id NUMERIC UNIQUE, vector BLOB); INSERT INTO halves VALUES (1, NULL), (1.5, NULL), (2, NULL);
    CREATE TABLE texts (id TEXT PRIMARY KEY, vector); INSERT INTO texts VALUES ('a', '[1, 2]');
    CREATE TABLE torn (id TEXT PRIMARY KEY, vector BLOB); INSERT INTO torn VALUES ('a', x'0000000000');
    CREATE TABLE zero (id TEXT PRIMARY KEY, vector BLOB); INSERT INTO zero VALUES ('a', NULL), ('x' || char(0) || 'y', NULL);
    CREATE VIRTUAL TABLE rows USING vec0(vector float[4])`,
  );
  const url = `sqlite:${path}`;
  await refused(url, /the URL names no table; tables: faces, floats, halves, mixed, nobody.*\n.*#TABLE/);
  await refused(`${url}#people`, /there is no table people; tables: faces, /);
  await refused(`${url}#faces`, /has the columns vector and embedding, and the URL does not say/);
  await refused(`${url}#faces?vector=face`, /has no column face; its columns: id, embedding, vector/);
  await refused(`${url}#faces?vector=embedding&id=key`, /has no column key/);
  await refused(`${url}#twice`, /the column id is not declared unique.*\n.*CREATE UNIQUE INDEX/);
  await refused(`${url}#floats`, /the column id holds real/);
  await refused(`${url}#nobody`, /the column id holds null/);
  await refused(`${url}#mixed`, /the column id holds both integer and text/);
  await refused(`${url}#halves`, /the column id holds both integer and real/);
  await refused(`${url}#zero`, /the column id holds the character NUL, after x\n/);
  await refused(`${url}#rows`, /is a virtual table/);
  await using texts = await openStore(`${url}#texts`);
  await assert.rejects(texts.page(null, 1), /row a: the vector is string, wanted a blob of float32/);
  await using torn = await openStore(`${url}#torn`);
  await assert.rejects(torn.page(null, 1), /is 5 bytes long/);
});

test('a database that may not be written, is locked or full says so, and keeps its content', async (t) => {
  const disk = smallDisk(t, 1 << 20);
  if (!disk) return;
  const { database } = await openSqlite(join(disk, 'gallery.db'));
  database.exec('CREATE TABLE faces (id INTEGER PRIMARY KEY, vector BLOB)');
  const insert = database.prepare('INSERT INTO faces VALUES (?, ?)');
  const [old, fresh] = [new Float32Array(64).fill(1), new Float32Array(4096).fill(2)];
  for (let i = 0; i < 100; i++) insert.run(i, vectorBytes(old));
  database.close();
  await using store = await openStore(`sqlite:${join(disk, 'gallery.db')}`);
  await store.stamp(stampOf('old', 64));
  await store.beginMigration(migrationTo(stampOf('new', 4096)));
  const rows = (await store.page(null, 100)).map((row) => ({ ...row, vector: fresh }));
  const entry = { batch: 1, at: '', ms: 0 };
  await assert.rejects(store.commit({ rows, entry }), /gallery\.db: the disk is full/);
  assert.deepEqual([await store.counts(), await store.journal()], [{ rows: 100, moved: 0 }, []]);
  assert.equal(await store.commit({ rows: rows.slice(0, 5), entry }), 5);
  await store.rollback();
  const restore = readOnly(t, disk);
  if (!restore) return;
  await using locked = await openStore(`sqlite:${join(disk, 'gallery.db')}`);
  await assert.rejects(locked.stamp(stampOf('old', 64)), /: is read-only/);
  restore();
});

test('a row that is replaced by another one with the same value in another column is found and counted no more', async (t) => {
  const { url, insert } = await sqliteGallery(t, rowsOf(3), 'id TEXT PRIMARY KEY, vector BLOB, path TEXT UNIQUE');
  await using store = await openStore(url);
  const [old, fresh] = [stampOf('old', 4), stampOf('new', 4)];
  await store.stamp(old);
  await store.beginMigration(migrationTo(fresh, old));
  const all = async () =>
    (await store.page(null, 9, { only: 'unmoved' })).map((row) => ({ ...row, vector: row.vector! }));
  await store.commit({ rows: await all(), entry: { batch: 1, at: '', ms: 0 } });
  await insert([{ ...rowsOf(4)[3]!, path: '1.jpg' }]); // deletes row 1
  assert.deepEqual(await store.counts(), { rows: 3, moved: 2 });
  const found = await store.search(new Map([['digest of new', rowsOf(2)[1]!.vector]]), { k: 9, fields: ['path'] });
  assert.deepEqual(found[1]!.hits!.map(({ fields }) => fields['path']).sort(), ['0.jpg', '2.jpg']); // biome-ignore format: short
  await store.commit({ rows: await all(), entry: { batch: 2, at: '', ms: 0 } });
  await insert([{ ...rowsOf(2)[1]!, path: '3.jpg' }]);
  assert.deepEqual((await store.page(null, 9, { only: 'unmoved' })).map(({ key }) => key), ['1'], 'an id that is back is not moved'); // biome-ignore format: short
  await store.commit({ rows: await all(), entry: { batch: 3, at: '', ms: 0 } });
  await store.cutOver();
  await store.rollback();
});

test('ids that a collation takes for the same are those of two rows: the one that replaces the other is not moved', async (t) => {
  const { url, insert } = await sqliteGallery(t, [], 'id TEXT COLLATE NOCASE PRIMARY KEY, vector BLOB, path TEXT');
  await insert(rowsOf(5).map((row) => ({ ...row, key: `r${row.key}` })));
  await using store = await openStore(url);
  const [old, fresh] = [stampOf('old', 4), stampOf('new', 4)];
  await store.stamp(old);
  await store.beginMigration(migrationTo(fresh, old));
  const unmoved = async () => (await store.page(null, 9, { only: 'unmoved' })).map((row) => ({ ...row, vector: row.vector! })); // biome-ignore format: short
  const read = await unmoved();
  await store.commit({ rows: read, entry: { batch: 1, at: '', ms: 0 } });
  const { vector } = rowsOf(9)[8]!;
  await insert([{ key: 'R1', path: '', vector }]);
  assert.deepEqual(await store.counts(), { rows: 5, moved: 4 });
  assert.deepEqual((await unmoved()).map(({ key }) => key), ['R1']); // biome-ignore format: short
  const queries = new Map(['old', 'new'].map((name) => [`digest of ${name}`, vector]));
  const found = (await store.search(queries, { k: 9 })).map(({ hits }) => hits!.map(({ key }) => key).sort());
  assert.deepEqual(found, [['R1'], ['r0', 'r2', 'r3', 'r4']]);
  await assert.rejects(store.cutOver(), /1 row has no new vector/);
  const { database } = await openSqlite(parseStoreUrl(url).location);
  t.after(() => database.close());
  database.exec("UPDATE faces SET id = 'R3' WHERE id = 'r3'");
  database.prepare("UPDATE faces SET vector = ? WHERE id = 'R3'").run(vectorBytes(vector));
  database.exec("UPDATE faces SET id = 'r3' WHERE id = 'R3'");
  assert.deepEqual((await unmoved()).map(({ key }) => key).sort(), ['R1', 'r3']); // biome-ignore format: short
  await insert([{ key: 'R2', path: '', vector: read[2]!.vector }]);
  assert.equal(await store.commit({ rows: [read[2]!], entry: { batch: 2, at: '', ms: 0 } }), 0, 'row r2 is gone');
  await store.commit({ rows: await unmoved(), entry: { batch: 3, at: '', ms: 0 } });
  await store.cutOver();
  assert.deepEqual(await store.counts(), { rows: 5, moved: 5 });
  await store.rollback();
});

test('whole numbers of 64 bits are fields that JSON has: numbers if they are exact, else text', async (t) => {
  const { url } = await sqliteGallery(t, [], 'id INTEGER PRIMARY KEY, vector BLOB, path INTEGER');
  const { database } = await openSqlite(parseStoreUrl(url).location);
  t.after(() => database.close());
  database.prepare('INSERT INTO faces VALUES (9223372036854775807, ?, 9007199254740993), (2, ?, 5)').run(...[0, 1].map(() => vectorBytes(new Float32Array([1, 2])))); // biome-ignore format: short
  await using store = await openStore(url);
  const wanted = { '2': 5, '9223372036854775807': '9007199254740993' };
  const byKey = (rows: readonly { readonly key: string; readonly fields: object }[]) => Object.fromEntries(rows.map(({ key, fields }) => [key, Object.values(fields)[0]])); // biome-ignore format: short
  assert.deepEqual(byKey(await store.page(null, 9, { fields: ['path'] })), wanted);
  assert.deepEqual(byKey(await store.rows(['2', '9223372036854775807', '9223372036854775808'], ['path'])), wanted);
  await store.stamp(stampOf('old', 2));
  const [space] = await store.search(new Map([['digest of old', new Float32Array([1, 2])]]), {
    k: 9,
    fields: ['path'],
  });
  assert.deepEqual(byKey(space!.hits!), wanted);
});

test('a table that a full disk has no room for says so', async (t) => {
  const disk = smallDisk(t, 1 << 20);
  if (!disk) return;
  const row = { id: 'a', vector: new Float32Array(2 ** 19), label: 0, image: null };
  const create = createGallery(`sqlite:${join(disk, 'gallery.db')}#faces`, { dim: row.vector.length, images: false, blocks: () => [[row]] }); // biome-ignore format: short
  await assert.rejects(create, /gallery\.db: the disk is full/);
});

test('another process that holds the database is named as the reason', async (t) => {
  const { url } = await withText(t, rowsOf(3));
  await using store = await openSqliteStore(parseStoreUrl(url), { busyMs: 10 });
  const { database } = await openSqlite(parseStoreUrl(url).location);
  t.after(() => database.close());
  database.exec('BEGIN EXCLUSIVE');
  await assert.rejects(store.stamp(stampOf('old', 4)), /is locked by another process\n/);
  database.exec('ROLLBACK');
  await store.stamp(stampOf('old', 4));
});

test('without a package for SQLite the message says what to install', () => {
  const moduleOf = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;
  const hook = `export const resolve = (name, context, next) => {
    if (/^(node:|@photostructure.)?sqlite(-vec)?$/.test(name)) throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });
    return next(name, context);
  };`;
  const register = moduleOf(`import { register } from 'node:module'; register(${JSON.stringify(moduleOf(hook))});`);
  const driver = new URL('./sqlite-driver.js', import.meta.url).href;
  const open = `const { openSqlite } = await import(${JSON.stringify(driver)}); await openSqlite('x.db');`;
  const { stderr } = spawnSync(process.execPath, ['--import', register, '--input-type=module', '-e', open], { encoding: 'utf8' }); // biome-ignore format: short
  assert.match(
    stderr,
    /needs the package @photostructure\/sqlite .*not installed\n.*npm install @photostructure\/sqlite sqlite-vec/,
  );
});
