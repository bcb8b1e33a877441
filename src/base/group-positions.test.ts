import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupPositions } from './group-positions.ts';
import { Rng } from './rng.ts';

test('positions are grouped as by filtering for each group, without those of no group', () => {
  const rng = new Rng(3);
  for (const [count, groups] of [
    [0, 0],
    [0, 3],
    [1, 1],
    [200, 7],
  ] as const) {
    // biome-ignore format: a table
    const of = Int32Array.from({ length: count }, () => rng.integer(groups + 1) - 1);
    const { order, starts } = groupPositions(count, groups, (i) => of[i]!);
    assert.equal(starts.length, groups + 1);
    assert.equal(order.length, of.filter((group) => group >= 0).length);
    for (let group = 0; group < groups; group++)
      assert.deepEqual(
        [...order.subarray(starts[group], starts[group + 1])],
        [...of.keys()].filter((i) => of[i] === group),
      );
  }
});
