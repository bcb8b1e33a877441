// Which of several feature sets says whose images, labels and families they all are.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import type { DatasetReference } from '../data/dataset-reference.ts';
import { writeFeatureSet } from '../features/feature-set-writer.ts';
import { openSameImages } from './same-images.ts';

test('families of any of the sets hold for all of them, whichever names the dataset', async (t) => {
  const folder = testFolder(t);
  reportsOf(t);
  const dataset = { path: 'set', digest: '0123', count: 4, classes: 2 };
  const write = async (name: string, families: readonly number[], of: DatasetReference | null): Promise<string> => {
    const out = join(folder, name);
    const content = { dim: 1, classes: 2, model: null, dataset: of, flip: 'none' as const };
    const columns = { labels: Int32Array.of(0, 0, 1, 1), families: Int32Array.from(families) };
    await writeFeatureSet(out, { ...content, ...columns }, {}, ({ append }) => append(Float32Array.of(1, 2, 3, 4)));
    return out;
  };
  const unknown = [-1, -1, -1, -1];
  const sets = {
    described: await write('described', unknown, { ...dataset, origin: { digest: '0123', draws: [] } }),
    families: await write('families', [0, 1, 0, 1], dataset),
    outside: await write('outside', [0, 1, 0, 1], null),
    others: await write('others', [0, 0, 1, 1], dataset),
  };
  for (const other of ['families', 'outside'] as const)
    for (const paths of [
      [sets.described, sets[other]],
      [sets[other], sets.described],
    ]) {
      using known = openSameImages(paths);
      assert.equal(known.path, sets.described);
      assert.deepEqual([...known.families()], [0, 1, 0, 1]);
    }
  assert.throws(
    () => openSameImages([sets.described, sets.families, sets.others]),
    /not embeddings of the same images/,
  );
});
