import { PGlite } from '@electric-sql/pglite';
import { vector } from '@electric-sql/pglite-pgvector';
import pg from 'pg';
import { vectorBytes } from '../../src/stores/vectors.ts';
import { servePostgres } from './postgres-sockets.ts';
import type { TestGallery, TestRow } from './store-conformance.ts';

/** A PostgreSQL with pgvector in this process, which `pg` reaches over TCP. Its connections take turns, transaction by transaction. */
export type TestServer = AsyncDisposable & {
  readonly port: number;
  /** `postgres://postgres:…@127.0.0.1:PORT/postgres` */
  readonly url: string;
  /** A connection of an application. */
  readonly application: pg.Client;
};

/** The password in the URL: it must be nowhere else. */
export const PASSWORD = 'geheim-17';

type ServerOptions = {
  /** Where it keeps its data; default: in memory. */
  readonly folder?: string;
  readonly port?: number;
  /** Whether the database has the extension. */
  readonly pgvector?: boolean;
};

export async function startPostgres({ folder, port = 0, pgvector = true }: ServerOptions = {}): Promise<TestServer> {
  const database = await PGlite.create({ extensions: { vector }, ...(folder !== undefined && { dataDir: folder }) });
  const server = await servePostgres(database, port);
  const url = `postgres://postgres:${PASSWORD}@127.0.0.1:${server.port}/postgres`;
  const application = new pg.Client({ connectionString: url });
  application.on('error', () => {}); // the server goes first
  await application.connect();
  if (pgvector) await application.query('CREATE EXTENSION IF NOT EXISTS vector');
  return {
    ...{ port: server.port, url, application },
    [Symbol.asyncDispose]: async () => {
      await application.end();
      await server[Symbol.asyncDispose]();
      await database.close();
    },
  };
}

let galleries = 0;

/** A gallery as an application makes it; `declared` are the columns of its table. */
export async function postgresGallery(
  { url, application }: TestServer,
  rows: readonly TestRow[],
  declared: string,
): Promise<TestGallery> {
  const table = `faces${++galleries}`;
  const idType = declared.includes('bigint') ? 'bigint' : 'text';
  await application.query(`CREATE TABLE ${table} (${declared})`);
  const text = (vector: Float32Array): string => `[${vector.join(',')}]`;
  const insert = async (more: readonly TestRow[]): Promise<void> => {
    const column = <T>(of: (row: TestRow) => T): T[] => more.map(of);
    await application.query(
      `INSERT INTO ${table} (id, vector, path) SELECT * FROM unnest($1::${idType}[], $2::vector[], $3::text[])
      ON CONFLICT (id) DO UPDATE SET vector = excluded.vector, path = excluded.path`,
      [column(({ key }) => key), column(({ vector }) => text(vector)), column(({ path }) => path)],
    );
  };
  await insert(rows);
  return {
    url: `${url}#${table}`,
    insert,
    remove: async (key) => void (await application.query(`DELETE FROM ${table} WHERE id = $1`, [key])),
    setVector: async (key, vector) =>
      void (await application.query(`UPDATE ${table} SET vector = $2 WHERE id = $1`, [key, text(vector)])),
    content: async () => {
      const found = await application.query(`SELECT id::text AS id, vector::real[] AS vector, path FROM ${table} ORDER BY id`); // biome-ignore format: short
      return new Map(found.rows.map(({ id, vector, path }) => [id, { vector: vectorBytes(Float32Array.from(vector)), path }])); // biome-ignore format: short
    },
  };
}
