// What PostgreSQL says when something is missing, and what of the table a migration keeps.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inspect } from 'node:util';
import { testFolder } from '../../test/helpers/folder.ts';
import { PASSWORD, postgresGallery, startPostgres, type TestServer } from '../../test/helpers/postgres.ts';
import { migrationTo, newStamp, oldStamp, stampOf, type TestRow } from '../../test/helpers/store-conformance.ts';
import { UserError } from '../base/errors.ts';
import type { GalleryStore } from './gallery-store.ts';
import { openStore } from './open-store.ts';

let server: TestServer;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const rowsOf = (count: number): TestRow[] =>
  Array.from({ length: count }, (_, i) => ({
    ...{ key: String(i), path: `${i}.jpg` },
    vector: Float32Array.from({ length: 8 }, (_, d) => Math.sin(i + 3 * d)),
  }));

/** That opening fails with this message, in which there is no password. */
async function refuses(url: string, wanted: RegExp): Promise<void> {
  await assert.rejects(openStore(url), (error: Error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.match(error.message, wanted);
    assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(PASSWORD));
    return true;
  });
}

test('PostgreSQL: what is missing is named, and no message has the password', async () => {
  const { url } = server;
  await server.application.query(
    'CREATE TABLE plain (id text PRIMARY KEY, embedding real[]); CREATE TABLE twice (id text, vector vector(8))',
  );
  await server.application.query(
    'CREATE TABLE two (id text PRIMARY KEY, embedding vector(8), vector vector(8)); CREATE VIEW seen AS SELECT * FROM two',
  );
  await refuses(`${url}#nowhere`, /:\*\*\*@.*there is no table nowhere; tables with vectors: .*public\.two/);
  await refuses(url, /the URL names no table; tables with vectors: /);
  await refuses(`${url}#plain`, /the column embedding is of type real\[\], wanted vector\n/);
  await refuses(`${url}#twice`, /the column id is not declared unique/);
  await refuses(`${url}#two`, /columns vector and embedding, and the URL does not say which/);
  await refuses(`${url}#two?vector=face`, /has no column face; its columns: id, embedding, vector/);
  await refuses(`${url}#seen?vector=vector`, /seen is no table that rows can be written to/);
  await refuses(`${url.replace(String(server.port), '1')}#two`, /no server answers there\n.*check host and port/);
  await refuses(`postgres://u:${PASSWORD}@127.0.0.1:99999/x#two`, /is no URL of a server/);
  await refuses(`${url.replace('127.0.0.1', 'nowhere.invalid')}#two`, /host/);
  await server.application.query("CREATE TABLE nobody (id text UNIQUE, vector vector(2)); INSERT INTO nobody VALUES (NULL, '[1,2]')"); // biome-ignore format: short
  await refuses(`${url}#nobody`, /the column id holds NULL/);
  await server.application.query('DROP TABLE plain, twice, two, nobody CASCADE');
});

test('PostgreSQL: a database without pgvector is refused', async (t) => {
  const bare = await startPostgres({ pgvector: false });
  t.after(() => bare[Symbol.asyncDispose]());
  await refuses(`${bare.url}#faces`, /pgvector is not installed in this database\n.*CREATE EXTENSION vector/);
});

test('PostgreSQL: an index of the vectors is there after a cut-over to other dimensions, and after the rollback', async () => {
  const { url } = await postgresGallery(server, rowsOf(30), 'id text PRIMARY KEY, vector vector(8), path text');
  const table = url.slice(url.indexOf('#') + 1);
  await server.application.query(`CREATE INDEX near ON ${table} USING hnsw (vector vector_cosine_ops)`);
  const shape = async () => {
    const { rows } = await server.application.query(
      `SELECT format_type(atttypid, atttypmod) AS type, (SELECT count(*)::int FROM pg_indexes WHERE indexname = 'near') AS indexes FROM pg_attribute WHERE attrelid = '${table}'::regclass AND attname = 'vector'`,
    );
    return rows[0];
  };
  await using store = await openStore(url);
  await store.stamp(oldStamp);
  await store.beginMigration(migrationTo(newStamp));
  const rows = await store.page(null, 100);
  const fresh = rows.map(({ key, version }, i) => ({ key, version, vector: new Float32Array(12).fill(0).map((_, d) => Math.cos(i * d)) })); // biome-ignore format: short
  await store.commit({ rows: fresh, entry: { batch: 1, at: '2026-01-01', ms: 1 } });
  await store.cutOver();
  assert.deepEqual(await shape(), { type: 'vector(12)', indexes: 1 });
  const [space] = await store.search(new Map([[newStamp.model.digest, fresh[4]!.vector]]), { k: 1 });
  assert.equal(space!.hits![0]!.key, fresh[4]!.key);
  await store.rollback();
  assert.deepEqual(await shape(), { type: 'vector(8)', indexes: 1 });
});

test('PostgreSQL: indexes of a partitioned table are there after a cut-over to other dimensions, one made on a partition, too', async () => {
  await server.application.query(
    `CREATE TABLE parts (id text PRIMARY KEY, vector vector(8)) PARTITION BY RANGE (id);
    CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('5');
    CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM ('5') TO (MAXVALUE);
    CREATE INDEX parts_near ON parts USING hnsw (vector vector_cosine_ops);
    CREATE INDEX parts_b_far ON parts_b USING hnsw (vector vector_l2_ops)`,
  );
  for (const { key, vector } of rowsOf(10)) await server.application.query('INSERT INTO parts VALUES ($1, $2)', [key, `[${vector.join(',')}]`]); // biome-ignore format: short
  await using store = await openStore(`${server.url}#parts`);
  const indexes = async () => {
    const { rows } = await server.application.query(
      `SELECT c.relname AS table, count(*)::int AS n, bool_and(i.indisvalid) AS valid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
      JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam WHERE m.amname = 'hnsw' AND c.relname LIKE 'parts%' GROUP BY 1 ORDER BY 1`,
    );
    return rows.map(({ table, n, valid }) => `${table} ${n} ${valid}`);
  };
  const wanted = ['parts 1 true', 'parts_a 1 true', 'parts_b 2 true'];
  assert.deepEqual(await indexes(), wanted);
  await moveAll(store);
  await store.cutOver();
  assert.deepEqual(await indexes(), wanted);
  await store.rollback();
  assert.deepEqual(await indexes(), wanted);
});

test('PostgreSQL: an index of an expression of the vectors is named before a migration to other dimensions', async () => {
  for (const [column, expression] of [
    ['vector(8)', 'vector::halfvec(8)'],
    ['vector', 'vector::vector(8)'],
  ]) {
    const { url } = await postgresGallery(server, rowsOf(3), `id text PRIMARY KEY, vector ${column}, path text`);
    const table = url.slice(url.indexOf('#') + 1);
    const operators = expression === 'vector::halfvec(8)' ? 'halfvec_cosine_ops' : 'vector_cosine_ops';
    const create = `CREATE INDEX half ON ${table} USING hnsw ((${expression}) ${operators})`;
    await server.application.query(create);
    await using store = await openStore(url);
    await store.stamp(oldStamp);
    await assert.rejects(store.beginMigration(migrationTo(newStamp)), /the index half is of an expression of vector.*\n.*DROP INDEX half/); // biome-ignore format: short
    assert.equal((await store.state()).migration, null);
    await store.beginMigration(migrationTo(stampOf('same', 8)));
    await store.rollback();
    await server.application.query(`DROP INDEX half; CREATE INDEX rest ON ${table} (path) WHERE vector IS NOT NULL`);
    await moveAll(store);
    await server.application.query(create);
    await assert.rejects(store.cutOver(), /the index half is of an expression of vector/);
    await server.application.query('DROP INDEX half');
    await store.cutOver();
    await server.application.query('DROP INDEX rest');
  }
});

test('PostgreSQL: a search finds as many rows as it is asked for, whatever an index of the vectors yields', async () => {
  const near = (i: number): TestRow => ({ key: String(i), path: '', vector: Float32Array.from({ length: 8 }, (_, d) => 1 + 0.001 * Math.sin(i + d)) }); // biome-ignore format: short
  const far = (i: number): TestRow => ({ ...near(i), vector: Float32Array.from({ length: 8 }, (_, d) => (d % 2 ? 1 : -0.5) + 0.01 * Math.sin(i + d)) }); // biome-ignore format: short
  const rows = Array.from({ length: 305 }, (_, i) => (i < 300 ? near(i) : far(i)));
  for (const index of ['hnsw (vector vector_cosine_ops)', 'ivfflat (vector vector_cosine_ops) WITH (lists = 20)']) {
    const { url } = await postgresGallery(server, rows, 'id text PRIMARY KEY, vector vector(8), path text');
    const table = url.slice(url.indexOf('#') + 1);
    await server.application.query(`CREATE INDEX ON ${table} USING ${index}; SET enable_seqscan = off`);
    try {
      await using store = await openStore(url);
      await store.stamp(oldStamp);
      const hits = async (k: number) => {
        const queries = new Map([[oldStamp.model.digest, new Float32Array(8).fill(1)]]);
        return (await store.search(queries, { k }))[0]!.hits!.map(({ key }) => Number(key));
      };
      for (const k of [5, 100, 301, 2000])
        assert.equal(new Set(await hits(k)).size, Math.min(k, 305), `${k} by ${index}`);
      await store.beginMigration(migrationTo(newStamp));
      const moved = (await store.page(null, 400)).filter(({ key }) => Number(key) < 300).map(({ key, version }) => ({ key, version, vector: new Float32Array(12).fill(1) })); // biome-ignore format: short
      assert.equal(await store.commit({ rows: moved, entry: { batch: 1, at: '2026-01-01', ms: 1 } }), 300);
      assert.deepEqual((await hits(5)).sort(), [300, 301, 302, 303, 304], index);
    } finally {
      await server.application.query('RESET enable_seqscan');
    }
  }
});

/** Moves all rows of a gallery to vectors of twelve dimensions. */
async function moveAll(store: GalleryStore): Promise<void> {
  await store.stamp(oldStamp);
  await store.beginMigration(migrationTo(newStamp));
  const rows = (await store.page(null, 100)).map(({ key, version }) => ({ key, version, vector: new Float32Array(12).fill(1) })); // biome-ignore format: short
  assert.equal(await store.commit({ rows, entry: { batch: 1, at: '2026-01-01', ms: 1 } }), rows.length);
}

test('PostgreSQL: two columns of vectors of one table are two galleries, whose migrations do not touch each other', async () => {
  const { url, content } = await postgresGallery(server, rowsOf(5), 'id text PRIMARY KEY, vector vector(8), path text, face vector(8)'); // biome-ignore format: short
  const table = url.slice(url.indexOf('#') + 1);
  await server.application.query(`UPDATE ${table} SET face = vector`);
  await using store = await openStore(`${url}?vector=vector`);
  await using face = await openStore(`${url}?vector=face`);
  await moveAll(store);
  // as an earlier version named them
  const { rows } = await server.application.query(`SELECT tgname AS name FROM pg_trigger WHERE tgrelid = '${table}'::regclass AND NOT tgisinternal`); // biome-ignore format: short
  for (const { name } of rows) await server.application.query(`ALTER TRIGGER "${name}" ON ${table} RENAME TO ${name.replace(/^(mixbct_[a-z]+)_.*/, '$1')}`); // biome-ignore format: short
  await moveAll(face);
  await server.application.query(`UPDATE ${table} SET face = NULL WHERE id = '1'`);
  const counts = async () => [(await store.counts()).moved, (await face.counts()).moved];
  assert.deepEqual(await counts(), [5, 4]);
  await face.rollback();
  await server.application.query(`UPDATE ${table} SET vector = '[8,7,6,5,4,3,2,1]' WHERE id = '1'`);
  assert.deepEqual(await counts(), [4, 0], 'the triggers of the other gallery are there');
  const before = await content();
  await store.rollback();
  assert.deepEqual(await content(), before);
});

test('PostgreSQL: a row whose vector changes without a trigger, or unseen by its trigger, is not moved', async () => {
  const { url, content } = await postgresGallery(server, rowsOf(5), 'id text PRIMARY KEY, vector vector(8), path text'); // biome-ignore format: short
  const table = url.slice(url.indexOf('#') + 1);
  const unseen = async (sql: string) => {
    await server.application.query('SET session_replication_role = replica');
    await server.application.query(sql).finally(() => server.application.query('RESET session_replication_role'));
  };
  await using store = await openStore(url);
  await moveAll(store);
  await unseen(`UPDATE ${table} SET vector = '[8,7,6,5,4,3,2,1]' WHERE id = '1'; DELETE FROM ${table} WHERE id = '2'`);
  await server.application.query(`UPDATE ${table} SET path = 'elsewhere' WHERE id = '4'`);
  assert.deepEqual(await store.counts(), { rows: 4, moved: 3 });
  const unmoved = await store.page(null, 9, { only: 'unmoved' });
  assert.deepEqual(unmoved.map(({ key, beside }) => [key, beside]), [['1', null]]); // biome-ignore format: short
  const query = new Map([oldStamp, newStamp].map(({ model, dim }) => [model.digest, new Float32Array(dim).fill(1)]));
  const found = (await store.search(query, { k: 9 })).map(({ hits }) => hits!.map(({ key }) => key).sort());
  assert.deepEqual(found, [['1'], ['0', '3', '4']]);
  await assert.rejects(store.cutOver(), /1 row has no new vector/);
  const before = new Map(await content());
  const rows = unmoved.map(({ key, version }) => ({ key, version, vector: new Float32Array(12).fill(2) }));
  for (const taken of [1, 0]) assert.equal(await store.commit({ rows, entry: { batch: 3 - taken, at: '', ms: 1 } }), taken); // biome-ignore format: short
  await store.cutOver();
  assert.deepEqual(await store.counts(), { rows: 4, moved: 4 });
  const [row] = await store.rows(['1']);
  assert.deepEqual([row!.vector, row!.beside], [new Float32Array(12).fill(2), Float32Array.of(8, 7, 6, 5, 4, 3, 2, 1)]);
  await unseen(`UPDATE ${table} SET vector = vector WHERE id = '0'; UPDATE ${table} SET vector = '[1,2,3,4,5,6,7,8,9,10,11,12]' WHERE id = '3'`); // biome-ignore format: short
  await assert.rejects(store.rollback(), /1 row was written since the cut-over/);
  await server.application.query(`DELETE FROM ${table} WHERE id = '3'`);
  await store.rollback();
  before.delete('3');
  assert.deepEqual(await content(), before);
});

test('PostgreSQL: a migration that an earlier version began goes on, before the cut-over and after it', async () => {
  const { url, content } = await postgresGallery(server, rowsOf(6), 'id text PRIMARY KEY, vector vector(8), path text'); // biome-ignore format: short
  const before = await content();
  const table = url.slice(url.indexOf('#') + 1);
  const asBefore = () =>
    server.application.query(`ALTER TABLE "mixbct_beside_${table}.vector" DROP COLUMN version, DROP COLUMN written_by`);
  await using first = await openStore(url);
  await moveAll(first);
  await server.application.query(`UPDATE ${table} SET vector = '[8,7,6,5,4,3,2,1]' WHERE id = '1'`);
  await asBefore();
  await server.application.query('SET default_transaction_read_only = on');
  await assert.rejects(openStore(url), /an earlier version of mixbct began its migration[\s\S]*on the primary server/);
  await server.application.query('SET default_transaction_read_only = off');
  await using store = await openStore(url);
  assert.deepEqual(await store.counts(), { rows: 6, moved: 5 });
  const rows = (await store.page(null, 9, { only: 'unmoved' })).map(({ key, version }) => ({ key, version, vector: new Float32Array(12).fill(2) })); // biome-ignore format: short
  assert.equal(await store.commit({ rows, entry: { batch: 2, at: '', ms: 1 } }), 1);
  await store.cutOver();
  await asBefore();
  await using last = await openStore(url);
  assert.deepEqual(await last.counts(), { rows: 6, moved: 6 });
  await last.rollback();
  const after = await content();
  for (const key of ['0', '2', '3', '4', '5']) assert.deepEqual(after.get(key), before.get(key));
});

test('PostgreSQL: a server that answers nothing is given up', async (t) => {
  const silent = createServer().listen(0, '127.0.0.1');
  t.after(() => silent.close());
  await once(silent, 'listening');
  t.mock.timers.enable({ apis: ['setTimeout'] });
  for (const [wish, seconds] of [
    ['', 30],
    ['?connect_timeout=5', 5],
  ] as const) {
    const opening = assert.rejects(openStore(`postgres://u:${PASSWORD}@127.0.0.1:${(silent.address() as AddressInfo).port}/x${wish}#faces`), /no server answers there/); // biome-ignore format: short
    const [socket] = (await once(silent, 'connection')) as [Socket];
    t.after(() => socket.destroy());
    t.mock.timers.tick(1000 * seconds);
    await opening;
  }
});

test('PostgreSQL: ids of any length are found, numbers to the ends of their range', async () => {
  const uuid = '123e4567-e89b-12d3-a456-426614174000';
  const ids = { 'char(36)': [uuid, 'short'], bigint: [String(-(2n ** 63n)), String(2n ** 63n - 1n)], integer: ['2147483647'], smallint: ['-32768'] }; // biome-ignore format: short
  for (const [type, keys] of Object.entries(ids)) {
    const table = `ids_${type.replace(/\W/g, '')}`;
    await server.application.query(`CREATE TABLE ${table} (id ${type} PRIMARY KEY, vector vector(8))`);
    for (const key of keys) await server.application.query(`INSERT INTO ${table} VALUES ('${key}', '[1,2,3,4,5,6,7,8]')`); // biome-ignore format: short
    await using store = await openStore(`${server.url}#${table}`);
    const found = (await store.rows([...keys, 'nobody', '9223372036854775808'])).map(({ key }) => key);
    assert.deepEqual(found.sort(), [...keys].sort(), type);
    await moveAll(store);
    await store.cutOver();
  }
});

test('PostgreSQL: a batch that a full disk of the server has no room for is refused, and nothing is changed', async () => {
  const { url, content } = await postgresGallery(server, rowsOf(6), 'id text PRIMARY KEY, vector vector(8), path text'); // biome-ignore format: short
  const before = await content();
  await using store = await openStore(url);
  await store.stamp(oldStamp);
  await store.beginMigration(migrationTo(newStamp));
  const fresh = (await store.page(null, 10)).map(({ key, version }) => ({ key, version, vector: new Float32Array(12).fill(1) })); // biome-ignore format: short
  const table = url.slice(url.indexOf('#') + 1);
  const { rows } = await server.application.query(`SELECT relname AS name FROM pg_class WHERE relname LIKE 'mixbct%beside%${table}%' AND relkind = 'r'`); // biome-ignore format: short
  // what the server says when it has written some of a batch
  await server.application.query(
    `CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = '4' THEN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON "${rows[0].name}" FOR EACH ROW EXECUTE FUNCTION full()`,
  );
  const entry = { batch: 1, at: '2026-01-01', ms: 1 };
  await assert.rejects(store.commit({ rows: fresh, entry }), /No space left on device\n.*make room on the server/);
  assert.deepEqual([await store.counts(), await store.journal()], [{ rows: 6, moved: 0 }, []]);
  assert.deepEqual(await content(), before);
  await server.application.query(`DROP TRIGGER full_disk ON "${rows[0].name}"`);
  assert.equal(await store.commit({ rows: fresh, entry }), 6);
});

test('PostgreSQL: a role that may only read is told so, and nothing is written', async () => {
  const { url } = await postgresGallery(server, rowsOf(3), 'id text PRIMARY KEY, vector vector(8), path text');
  const table = url.slice(url.indexOf('#') + 1);
  await server.application.query(`CREATE ROLE reader; CREATE SCHEMA own; ALTER TABLE ${table} SET SCHEMA own; GRANT USAGE ON SCHEMA own TO reader; GRANT SELECT ON own.${table} TO reader; SET ROLE reader`); // biome-ignore format: short
  try {
    await using store = await openStore(`${server.url}#own.${table}`);
    assert.equal((await store.counts()).rows, 3);
    await assert.rejects(store.stamp(oldStamp), /permission denied for schema own\n.*must own the table.*GRANT CREATE/);
    assert.deepEqual(await store.state(), { stamp: null, migration: null });
  } finally {
    await server.application.query('RESET ROLE');
  }
});

test('PostgreSQL: a server that goes away is told, and what was committed is there when it is back', async (t) => {
  const folder = join(testFolder(t), 'data');
  const first = await startPostgres({ folder });
  await first.application.query("CREATE TABLE faces (id text PRIMARY KEY, vector vector(2)); INSERT INTO faces VALUES ('a', '[1,2]')"); // biome-ignore format: short
  const store = await openStore(`${first.url}#faces`);
  await store.stamp(stampOf('old', 2));
  await first[Symbol.asyncDispose]();
  await assert.rejects(store.counts(), /connection to the server was lost; .*\n.*goes on where it stopped/);
  await store[Symbol.asyncDispose]();
  await using _second = await startPostgres({ folder, port: first.port });
  await using again = await openStore(`${first.url}#faces`);
  assert.deepEqual(await again.state(), { stamp: stampOf('old', 2), migration: null });
});
