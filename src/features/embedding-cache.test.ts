import assert from 'node:assert/strict';
import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { EmbeddingCache } from './embedding-cache.ts';

test('embeddings are kept whole, computed again where they are damaged, and leave nothing', async (t) => {
  const folder = testFolder(t);
  const cache = new EmbeddingCache(folder);
  let computed = 0;
  const faces = { original: Float32Array.of(1, 2, 3, 4), mirrored: Float32Array.of(5, 6, 7, 8), dim: 2 };
  const compute = async () => {
    computed++;
    return faces;
  };
  writeFileSync(join(folder, 'kept-a.npy.part'), 'cut short by a kill');
  assert.equal(EmbeddingCache.isIn(folder), false, 'a part is nothing to go on from');
  for (let i = 0; i < 2; i++) assert.deepEqual(await cache.get('a', compute), faces);
  assert.equal(computed, 1);
  assert.equal(EmbeddingCache.isIn(folder), true);
  truncateSync(join(folder, 'kept-a.npy'), 140);
  assert.deepEqual(await cache.get('a', compute), faces);
  assert.equal(computed, 2);
  assert.deepEqual(readdirSync(folder), ['kept-a.npy']);
  writeFileSync(join(folder, 'kept-b.npy.part'), 'cut short by a kill');
  cache.clear();
  assert.deepEqual(readdirSync(folder), []);
});
