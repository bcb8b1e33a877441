import { join } from 'node:path';
import * as lance from '@lancedb/lancedb';
import pg from 'pg';
import { arrow, quotedText, vectorType } from '../../src/stores/lance-driver.ts';
import { openSqlite } from '../../src/stores/sqlite-driver.ts';
import { parseStoreUrl } from '../../src/stores/store-url.ts';
import { vectorBytes } from '../../src/stores/vectors.ts';
import { PASSWORD } from '../../test/helpers/postgres.ts';

export type AppRow = { readonly key: string; readonly vector: Float32Array; readonly path: string };

/** What an application does to its gallery, without mixbct. */
export interface Application extends AsyncDisposable {
  insert(rows: readonly AppRow[]): Promise<void>;
  remove(key: string): Promise<void>;
  setVector(key: string, vector: Float32Array): Promise<void>;
  /** Every row's key and the bytes of its vector, a row that is there twice twice. */
  content(): Promise<[key: string, vector: Uint8Array][]>;
}

/** A store that roll-outs are tried in. */
export type StoreKind = {
  /** Arguments of the script that is its server; none: it has none. */
  readonly server?: (folder: string, port: number) => readonly string[];
  /** Makes an empty gallery in a folder, or on the server at a port. → its URL */
  readonly create: (folder: string, dim: number, port: number) => Promise<string>;
  readonly connect: (url: string) => Promise<Application>;
};

const sqlite: StoreKind = {
  create: async (folder) => {
    const path = join(folder, 'gallery.db');
    const { database } = await openSqlite(path);
    database.exec('CREATE TABLE faces (id TEXT PRIMARY KEY, vector BLOB NOT NULL, path TEXT)');
    database.close();
    return `sqlite:${path}#faces`;
  },
  connect: async (url) => {
    const { database } = await openSqlite(parseStoreUrl(url).location);
    return {
      insert: async (rows) => {
        database.exec('BEGIN IMMEDIATE');
        const into = database.prepare('INSERT INTO faces VALUES (?, ?, ?)');
        for (const { key, vector, path } of rows) into.run(key, vectorBytes(vector), path);
        database.exec('COMMIT');
      },
      remove: async (key) => void database.prepare('DELETE FROM faces WHERE id = ?').run(key),
      setVector: async (key, vector) =>
        void database.prepare('UPDATE faces SET vector = ? WHERE id = ?').run(vectorBytes(vector), key),
      content: async () =>
        database
          .prepare('SELECT id, vector FROM faces')
          .all()
          .map(({ id, vector }) => [String(id), vector as Uint8Array]),
      [Symbol.asyncDispose]: async () => database.close(),
    };
  },
};

const postgres: StoreKind = {
  server: (folder, port) => ['roll-out/postgres-server.js', join(folder, 'data'), String(port)],
  create: async (_, dim, port) => {
    const url = `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`;
    await using client = await postgresClient(url);
    await client.query(`CREATE TABLE faces (id text PRIMARY KEY, vector vector(${dim}) NOT NULL, path text)`);
    return `${url}#faces`;
  },
  connect: async (url) => {
    const client = await postgresClient(parseStoreUrl(url).location);
    const text = (vector: Float32Array): string => `[${vector.join(',')}]`;
    return {
      insert: async (rows) => {
        const columns = [rows.map(({ key }) => key), rows.map(({ vector }) => text(vector)), rows.map(({ path }) => path)]; // biome-ignore format: short
        await client.query('INSERT INTO faces SELECT * FROM unnest($1::text[], $2::vector[], $3::text[])', columns);
      },
      remove: async (key) => void (await client.query('DELETE FROM faces WHERE id = $1', [key])),
      setVector: async (key, vector) =>
        void (await client.query('UPDATE faces SET vector = $2 WHERE id = $1', [key, text(vector)])),
      content: async () => {
        const { rows } = await client.query('SELECT id, vector::real[] AS vector FROM faces');
        return rows.map(({ id, vector }) => [id, vectorBytes(Float32Array.from(vector))]);
      },
      [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
    };
  },
};

async function postgresClient(url: string) {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
  client.on('error', () => undefined); // a server that is killed
  await client.connect();
  const query = (sql: string, values: readonly unknown[] = []) => client.query(sql, [...values]);
  return { query, [Symbol.asyncDispose]: () => client.end() };
}

const lancedb: StoreKind = {
  create: async (folder, dim) => {
    const path = join(folder, 'gallery');
    const db = await lance.connect(path);
    const a = arrow();
    const schema = new a.Schema([
      new a.Field('id', new a.Utf8(), false),
      new a.Field('vector', vectorType(dim), true),
      new a.Field('path', new a.Utf8(), true),
    ]);
    await db.createEmptyTable('faces', schema);
    db.close();
    return `lancedb:${path}#faces`;
  },
  connect: async (url) => {
    const db = await lance.connect(parseStoreUrl(url).location);
    const table = () => db.openTable('faces');
    return {
      insert: async (rows) => void (await (await table()).add(rows.map(({ key, vector, path }) => ({ id: key, vector: [...vector], path })))), // biome-ignore format: short
      remove: async (key) => void (await (await table()).delete(`id = ${quotedText(key)}`)),
      setVector: async (key, vector) =>
        void (await (await table()).update({ where: `id = ${quotedText(key)}`, values: { vector: [...vector] } })),
      content: async () => {
        const found = await (await table()).query().select(['id', 'vector']).toArray();
        return found.map(({ id, vector }) => [String(id), vectorBytes(Float32Array.from(vector))]);
      },
      [Symbol.asyncDispose]: async () => db.close(),
    };
  },
};

export const stores: Readonly<Record<string, StoreKind>> = { sqlite, postgres, lancedb };
