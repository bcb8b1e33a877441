import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Connection, connect, type Table } from '@lancedb/lancedb';
import { arrow, vectorType } from '../../src/stores/lance-driver.ts';
import type { LanceGallery } from '../../src/stores/lance-gallery.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { testFolder } from './folder.ts';
import { migrationTo, oldStamp, stampOf } from './store-conformance.ts';

export const DIM = 8;
/** Of equal dimensions: no shape tells which vectors a table has. */
export const otherStamp = stampOf('other', DIM);
export const vectorOf = (i: number, phase: number, dim = DIM): Float32Array => Float32Array.from({ length: dim }, (_, d) => Math.sin(i * (d + 1) + phase)); // biome-ignore format: short

/** The gallery as the store sees it. */
export const lanceFaces = (): LanceGallery => ({ name: 'faces.vector', table: 'faces', id: 'id', vector: 'vector', columns: [], idType: new (arrow().Utf8)(), integers: false, dim: DIM }); // biome-ignore format: short

/** A gallery of some rows in LanceDB that is in a migration. All or the first rows have a second vector, of equal dimensions or of `dim`. */
export async function movedGallery(
  t: TestContext,
  { folder: inside = testFolder(t), dim = DIM, rows: size = 10, moved: count = Infinity } = {},
) {
  const folder = join(inside, 'gallery');
  const db = await connect(folder);
  t.after(() => db.close());
  const a = arrow();
  const schema = new a.Schema([new a.Field('id', new a.Utf8(), false), new a.Field('vector', vectorType(DIM), true)]);
  const rows = Array.from({ length: size }, (_, i) => ({ id: `r${i}`, vector: [...vectorOf(i, 0)] }));
  const table = await db.createTable('faces', rows, { schema });
  const url = `lancedb:${folder}#faces`;
  const store = await openStore(url);
  t.after(() => store[Symbol.asyncDispose]());
  await store.stamp(oldStamp);
  await store.beginMigration(migrationTo(dim === DIM ? otherStamp : stampOf('other', dim)));
  const moved = (await store.page(null, size)).map(({ key, version }) => ({ key, version, vector: vectorOf(Number(key.slice(1)), 2, dim) })); // biome-ignore format: short
  if (count > 0) await store.commit({ rows: moved.slice(0, count), entry: { batch: 1, at: '2026-01-01', ms: 1 } });
  const content = async () => new Map((await (await db.openTable('faces')).query().toArray()).map(({ id, vector }) => [id, vector && [...vector]])); // biome-ignore format: short
  return { db, table, url, store, content };
}

/** Adds a row `late` while the table is given other vectors, once. */
export function addWhileSwapping(t: TestContext, db: Connection, table: Table, vector: Float32Array): void {
  let writes = 1;
  const prototype = Object.getPrototypeOf(table);
  const merge = prototype.mergeInsert;
  t.mock.method(prototype, 'mergeInsert', function (this: typeof table, on: string) {
    const builder = merge.call(this, on);
    const matched = builder.whenMatchedUpdateAll.bind(builder);
    builder.whenMatchedUpdateAll = () => {
      const updating = matched();
      const execute = updating.execute.bind(updating);
      updating.execute = async (data: never) => {
        if (this.name === 'faces' && writes-- > 0) await (await db.openTable('faces')).add([{ id: 'late', vector: [...vector] }]); // biome-ignore format: short
        return await execute(data);
      };
      return updating;
    };
    return builder;
  });
}
