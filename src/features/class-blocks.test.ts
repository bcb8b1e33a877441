import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inMemory } from '../../test/helpers/rows.ts';
import { toInt32 } from '../torch/index.ts';
import { classBlocks } from './class-blocks.ts';

test('blocks of a file say where their rows are: the first of a run, or each', () => {
  const dim = 1 << 25; // two rows are a block
  const place = { fd: 7, start: 128 };
  const places = (labels: number[]) => {
    const features = {
      ...inMemory(new Float32Array(0), labels, dim),
      rows: () => assert.fail('not read'),
      file: () => place,
    };
    return Array.from(classBlocks(features), (block) => {
      const tensor = block.tensor();
      assert.ok('fd' in tensor);
      const { order, ...where } = tensor;
      return [block.from, where.start, where.count, order && Array.from(toInt32(order))];
    });
  };
  assert.deepEqual(places([0, 1, 1, 2]), [
    [0, 128, 1, null],
    [1, 128 + dim * 4, 2, null],
    [3, 128 + 3 * dim * 4, 1, null],
  ]);
  assert.deepEqual(places([1, 0, 1, 2]), [
    [0, 128, 1, [1]],
    [1, 128, 2, [0, 2]],
    [3, 128, 1, [3]],
  ]);
});
