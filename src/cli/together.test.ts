// Feature sets made by several processes: the rows of one process, in the order of the dataset.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mixbctProcess } from '../../test/helpers/cli.ts';
import { tinySet, trained } from '../../test/helpers/runs.ts';
import { FeatureSet } from '../features/index.ts';

/** Batches of other sizes may sum in another order. */
const FLOAT32 = 1e-5;

test('three processes embed a dataset as one does, and leave nothing but the set', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  await trained(dataset, join(folder, 'run'), { epochs: 1 });
  const extract = (out: string, ...launch: readonly string[]) =>
    mixbctProcess(
      folder,
      ...launch,
      'extract',
      'run',
      '--data',
      prefix,
      '--out',
      out,
      '--batch-size',
      '4',
      '--flip',
      'mean',
    );
  for (const { code, err } of [extract('one'), extract('three', 'launch', '--nproc', '3', '--')])
    assert.equal(code, 0, err);
  using one = FeatureSet.open(join(folder, 'one'));
  using three = FeatureSet.open(join(folder, 'three'));
  const { digest: _, ...about } = one.info;
  const { digest: __, ...others } = three.info;
  assert.deepEqual(others, about);
  const rows = one.all();
  assert.ok(three.all().every((value, k) => Math.abs(value - rows[k]!) < FLOAT32));
  for (const name of ['labels.npy', 'families.npy'])
    assert.ok(readFileSync(join(folder, 'three', name)).equals(readFileSync(join(folder, 'one', name))));
  assert.ok(!readdirSync(folder).some((name) => name.includes('part')), 'no part remains');
  const again = extract('three', 'launch', '--nproc', '3', '--');
  assert.equal(again.code, 2, again.err);
  assert.match(again.err, /three exists already/);
  assert.ok(existsSync(join(folder, 'three', 'manifest.json')));
});
