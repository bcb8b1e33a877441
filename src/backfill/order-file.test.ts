import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { writeNpy } from '../features/npy.ts';
import { describePath } from '../info/describe.ts';
import { backfillArtifact, backfillFiles } from './backfill-artifact.ts';
import { openBackfillOrder, writeOrder, writeOrderIds } from './order-file.ts';

const ROWS = Int32Array.of(3, 0, 4, 1);
const IDS = ['a', 'b/1.jpg', 'c', 'd', 'e\n'];

/** A folder with one order of four rows among five; `rows` are what its file holds. */
async function simulated(t: TestContext, { rows = ROWS, ids = true } = {}): Promise<string> {
  const out = join(testFolder(t), 'simulated');
  const side = (name: string) => ({ model: { name, digest: `${name} digest` }, dim: 4, features: `${name} features` });
  await backfillArtifact.write(out, {}, (folder) => {
    writeFileSync(backfillFiles(folder).simulation, '{}\n');
    if (ids) writeOrderIds(folder, IDS);
    return {
      ...{ old: side('old'), new: side('new'), adapter: null, dataset: null, seed: 0, count: IDS.length, ids },
      rows: ROWS.length,
      orders: [writeOrder(folder, 'disagreement', rows)],
      digest: fileDigest(backfillFiles(folder).simulation),
    };
  });
  return out;
}

test('an order is read as it was written, with the names of its rows', async (t) => {
  const folder = await simulated(t);
  const { rows, ids, info, name } = openBackfillOrder(folder, 'disagreement');
  assert.equal(name, 'disagreement');
  assert.deepEqual(rows, ROWS);
  assert.deepEqual(
    Array.from(rows, (row) => ids!.at(row)),
    ['d', 'a', 'e\n', 'b/1.jpg'],
  );
  assert.deepEqual(info.orders[0]!.needs, ['new embeddings']);
  assert.equal(openBackfillOrder(await simulated(t, { ids: false }), 'disagreement').ids, null);
  assert.match(JSON.stringify(await describePath(folder)), /4 of 5 rows.*disagreement/);
});

test('an order that is not there, is damaged, or names a row twice or one that does not exist is refused', async (t) => {
  const folder = await simulated(t);
  assert.throws(() => openBackfillOrder(folder, 'random'), UserError);
  assert.throws(() => openBackfillOrder(folder, 'random'), /no order random, wanted one of disagreement/);
  for (const rows of [[3, 0, 3, 1], [3, 0, 5, 1], [3, 0, -1, 1], [3, 0, 1]]) // biome-ignore format: short
    await assert.rejects(
      async () => openBackfillOrder(await simulated(t, { rows: Int32Array.from(rows) }), 'disagreement'),
      FileError,
    );
  writeNpy(backfillFiles(folder).order('disagreement'), '<i4', Int32Array.of(0, 1, 3, 4));
  assert.throws(() => openBackfillOrder(folder, 'disagreement'), /order-disagreement\.npy/);
});
