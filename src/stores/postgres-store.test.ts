import { after, before } from 'node:test';
import { postgresGallery, startPostgres, type TestServer } from '../../test/helpers/postgres.ts';
import { type MakeGallery, storeConformance } from '../../test/helpers/store-conformance.ts';

let server: TestServer;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const withText: MakeGallery = (_, rows) =>
  postgresGallery(server, rows, 'id text PRIMARY KEY, vector vector(8), path text');
const withNumbers: MakeGallery = (_, rows) => postgresGallery(server, rows, 'path text, vector vector, id bigint UNIQUE NOT NULL'); // biome-ignore format: short

storeConformance('PostgreSQL', withText);
storeConformance('PostgreSQL with whole numbers as ids and vectors of any dimension', withNumbers);
