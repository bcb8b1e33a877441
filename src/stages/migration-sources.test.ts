import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern } from '../../test/helpers/images.ts';
import { sqliteGallery } from '../../test/helpers/sqlite-gallery.ts';
import { encodePgm } from '../data/decode.ts';
import { importModel } from '../runs/import-model.ts';
import { openStore } from '../stores/open-store.ts';
import { migrate, migrationStatus, rollBack, verifyGallery } from './migrate.ts';

const [COUNT, SIDE, DIM] = [6, 16, 8];

test('paths of images begin in the folder in which the migration began, wherever it goes on', async (t) => {
  const folder = testFolder(t);
  const [photos, elsewhere, model] = [join(folder, 'photos'), join(folder, 'elsewhere'), join(folder, 'run')];
  const { file, ...about } = checkpoints.networks.find(({ file }) => file === 'mbf.pt')!;
  await importModel(checkpointPath(file), about, model);
  for (const place of [photos, elsewhere]) mkdirSync(place);
  const rows = Array.from({ length: COUNT }, (_, i) => ({ key: `${i}.pgm`, vector: new Float32Array(DIM).fill(1), path: `${i}.pgm` })); // biome-ignore format: short
  for (const [i, { path }] of rows.entries())
    writeFileSync(join(photos, path), encodePgm(pattern(i % 3, i, SIDE), SIDE, SIDE));
  const { url } = await sqliteGallery(t, rows);
  {
    await using store = await openStore(url);
    await store.stamp({ model: { name: 'old', digest: 'digest of old' }, dim: DIM, normalised: false, preprocessing: null, flip: null, adapter: null }); // biome-ignore format: short
  }
  const before = process.cwd();
  t.after(() => process.chdir(before));
  const begin = async (source: { readonly images?: string; readonly folder?: string }, inFolder: string) => {
    process.chdir(inFolder);
    await migrate({ url, model, ...source, batchSize: 2, limit: 2 });
    process.chdir(elsewhere);
  };
  for (const [source, inFolder] of [[{ images: 'path' }, photos], [{}, photos], [{ folder: 'photos' }, folder]] as const) {
    await begin(source, inFolder);
    await migrate({ url, model, ...source, ...('folder' in source && { folder: photos }), batchSize: 2, limit: 2 });
    assert.equal((await migrate({ url })).moved, COUNT - 4, JSON.stringify(source));
    const { ok, sampled } = await verifyGallery(url, { sample: COUNT });
    assert.deepEqual([ok, sampled], [true, COUNT]);
    await rollBack(url);
  } // biome-ignore format: short

  // a migration that an earlier version began does not tell its folder: paths begin in the present one
  await begin({ images: 'path' }, photos);
  const record = (await migrationStatus(url)).migration!;
  await rollBack(url);
  {
    await using store = await openStore(url);
    await store.beginMigration({ ...record, source: { ...record.source, folder: null } as typeof record.source });
  }
  await assert.rejects(migrate({ url, model, images: 'path', folder: photos }), /takes new vectors from .*run \(images of the column path, flip none\), not from .* in /); // biome-ignore format: short
  process.chdir(photos);
  await migrate({ url, model, images: 'path', batchSize: 2, limit: 2 });
  assert.equal((await migrate({ url })).moved, COUNT - 2);
});
