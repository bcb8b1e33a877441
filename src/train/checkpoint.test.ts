import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { scope, tensor, toNumbers } from '../torch/index.ts';
import { applyCheckpoint, readCheckpoint, saveCheckpoint } from './checkpoint.ts';

test('counts of a checkpoint of 0.3.0 are read under their present names', (t) => {
  const path = join(testFolder(t), 'checkpoint.safetensors');
  const identity = { recipe: 'a', dataset: 'b', old: 'c' };
  const counts = { 'batches left out for a loss that is not finite': 2, 'missing credible rows': 3 };
  scope(() => {
    saveCheckpoint(path, { ...identity, step: 7, counts }, () => [['weight', tensor([1, 2])]]);
    const weight = tensor([0, 0]);
    assert.deepEqual(applyCheckpoint(path, readCheckpoint(path), identity, [['weight', weight]]), {
      step: 7,
      counts: { 'batches skipped for a non-finite loss': 2, 'missing credible rows': 3 },
    });
    assert.deepEqual(toNumbers(weight), [1, 2]);
  });
});
