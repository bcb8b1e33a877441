import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { Rng } from '../base/rng.ts';
import { writeFeatureSet } from '../features/index.ts';
import { createGallery } from '../stores/create-gallery.ts';
import { describeGallery, loadGallery } from './galleries.ts';
import { loadOnce } from './roll-out-gallery.ts';

const [COUNT, DIM] = [6, 4];

test('a gallery that a killed attempt loaded is taken for its own, any other table is refused', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const model = { name: 'old', digest: 'digest of old', preset: 'default', differences: [], trainedOn: null };
  const content = { dim: DIM, classes: 1, labels: new Int32Array(COUNT), families: new Int32Array(COUNT).fill(-1), flip: 'none' as const, dataset: null, model, id: String }; // biome-ignore format: short
  const rows = unitRows(COUNT, DIM, new Rng('rows'));
  await writeFeatureSet(at('old'), content, { force: true }, ({ append }) => append(rows.slice()));
  const load = (table: string) => loadOnce({ features: at('old'), url: `sqlite:${at('gallery.db')}#${table}` }, at('loading')); // biome-ignore format: short
  const url = `sqlite:${at('gallery.db')}#faces`;
  await loadGallery({ features: at('old'), url });
  await assert.rejects(load('faces'), /there is a table faces already/);
  assert.ok(!existsSync(at('loading')));
  // nor is it taken after an attempt that failed before it came to the table
  await assert.rejects(loadOnce({ features: at('old'), url: `sqlite:${at('old')}#faces` }, at('loading')));
  assert.ok(!existsSync(at('loading')));
  await assert.rejects(load('faces'), /there is a table faces already/);
  // killed after the table was there
  writeFileSync(at('loading'), '');
  assert.equal(await load('faces'), COUNT);
  // and before its stamp
  const row = (i: number) => ({ id: String(i), vector: rows.slice(i * DIM, (i + 1) * DIM), label: 0, image: null });
  for (const [table, count] of [['killed', COUNT], ['foreign', COUNT - 1]] as const) // biome-ignore format: short
    await createGallery(`sqlite:${at('gallery.db')}#${table}`, { dim: DIM, images: false, blocks: () => [Array.from({ length: count }, (_, i) => row(i))] }); // biome-ignore format: short
  assert.equal(await load('killed'), COUNT);
  assert.equal((await describeGallery(`sqlite:${at('gallery.db')}#killed`)).stamp?.model.name, 'old');
  await assert.rejects(load('foreign'), /there is a table foreign already/);
  assert.equal((await describeGallery(`sqlite:${at('gallery.db')}#foreign`)).stamp, null);
});
