import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LargeMap, positionsIn, repeatedIn } from './large-map.ts';

test('a map of several maps has each key once, whichever of them it is in', () => {
  const map = new LargeMap<string, number>(2);
  for (const [key, value] of [['a', 1], ['b', 2], ['c', 3], ['d', 4], ['e', 5], ['a', 6], ['e', 7]] as const) map.set(key, value); // biome-ignore format: short
  assert.deepEqual(['a', 'b', 'c', 'd', 'e', 'f'].map((key) => map.get(key)), [6, 2, 3, 4, 7, undefined]); // biome-ignore format: short
  assert.deepEqual([map.has('c'), map.has('f')], [true, false]);
});

test('entries that occur before are found, whichever map knows them', () => {
  assert.deepEqual(repeatedIn(['a', 'b', 'c', 'a', 'd', 'e', 'e', 'a', 'c'], 2), ['a', 'e', 'a', 'c']);
  assert.deepEqual(repeatedIn(['a', 'b']), []);
});

test('an entry that stands several times in a list has its last place', () => {
  const positions = positionsIn(['a', 'b', 'a']);
  assert.deepEqual([positions.get('a'), positions.get('b'), positions.get('c')], [2, 1, undefined]);
});
