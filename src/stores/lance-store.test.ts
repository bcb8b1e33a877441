import { join } from 'node:path';
import { connect } from '@lancedb/lancedb';
import { testFolder } from '../../test/helpers/folder.ts';
import { type MakeGallery, storeConformance, type TestRow } from '../../test/helpers/store-conformance.ts';
import { arrow, quotedText, vectorType } from './lance-driver.ts';
import { vectorBytes } from './vectors.ts';

/** A gallery as an application makes it. */
const lanceGallery: (integers: boolean) => MakeGallery = (integers) => async (t, rows) => {
  const folder = join(testFolder(t), 'gallery');
  const db = await connect(folder);
  t.after(() => db.close());
  const a = arrow();
  const schema = new a.Schema([
    new a.Field('id', integers ? new a.Int64() : new a.Utf8(), false),
    new a.Field('vector', vectorType(rows[0]!.vector.length), true),
    new a.Field('path', new a.Utf8(), true),
  ]);
  const recordOf = ({ key, vector, path }: TestRow) => ({
    id: integers ? BigInt(key) : key,
    vector: [...vector],
    path,
  });
  const idOf = (key: string): string => (integers ? key : quotedText(key));
  await db.createTable('faces', rows.map(recordOf), { schema });
  const table = async () => await db.openTable('faces');
  return {
    url: `lancedb:${folder}#faces`,
    insert: async (more) =>
      void (await (await table()).mergeInsert('id').whenMatchedUpdateAll().whenNotMatchedInsertAll().execute(more.map(recordOf))), // biome-ignore format: short
    remove: async (key) => void (await (await table()).delete(`id = ${idOf(key)}`)),
    setVector: async (key, vector) =>
      void (await (await table()).update({ where: `id = ${idOf(key)}`, values: { vector: [...vector] } })),
    content: async () => {
      const found = await (await table()).query().toArray();
      const entries = found.map(({ id, vector, path }) => [String(id), { vector: vectorBytes(Float32Array.from(vector)), path }] as const); // biome-ignore format: short
      return new Map(entries.sort(([x], [y]) => (x < y ? -1 : 1)));
    },
  };
};

storeConformance('LanceDB', lanceGallery(false));
storeConformance('LanceDB with whole numbers as ids', lanceGallery(true));
