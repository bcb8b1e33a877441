import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rotated, seenWith, upgradeLabels, upgradeSet } from '../../test/helpers/upgrades.ts';
import { testRows } from '../adapt/index.ts';
import { compareChainedAdapters } from './chained-adapters.ts';

const { dim } = upgradeSet;
const families = new Int32Array(upgradeLabels.length).fill(-1);
const how = { labels: upgradeLabels, families, metric: 'rank-1', seed: 0, resamples: 50 } as const;
const generation = (name: string, rows: Float32Array, width: number = dim) => ({ name, dim: width, rows });

test('chained adapters equal refitted ones where generations are rotations of each other', () => {
  const first = seenWith(0.5);
  const chain = [generation('1', first), generation('2', rotated(first)), generation('3', rotated(rotated(first), 3))];
  for (const direction of ['query', 'gallery'] as const) {
    const { identities, pairs } = compareChainedAdapters(chain, { ...how, direction, methods: ['procrustes'] });
    assert.equal(identities, new Set([...testRows(upgradeLabels, 0)].map((row) => upgradeLabels[row])).size);
    assert.equal(pairs.length, 1);
    const [{ from, to, methods, chained, refitted, difference, old }] = pairs as [(typeof pairs)[number]];
    assert.deepEqual([from, to], direction === 'query' ? ['3', '1'] : ['1', '3']);
    assert.deepEqual([methods, refitted.method], [['procrustes', 'procrustes'], 'procrustes']);
    // rotations are recovered to float32, and that decides no search
    assert.deepEqual(difference, { value: 0, low: 0, high: 0 });
    assert.equal(chained.value, old.value, 'a rotation that is undone loses nothing');
  }
});

test('every pair that is no neighbour is compared, and a chain through a narrow generation loses to a refitted adapter', () => {
  const clear = seenWith(0.2);
  // Procrustes through a generation of as many dimensions would undo itself, whatever that generation sees
  const narrow = clear.filter((_, i) => i % dim < 3);
  const chain = [
    generation('1', clear),
    generation('2', narrow, 3),
    generation('3', rotated(clear)),
    generation('4', rotated(clear, 3)),
  ];
  const { pairs } = compareChainedAdapters(chain, { ...how, direction: 'gallery', methods: ['procrustes'] });
  assert.deepEqual(
    pairs.map(({ from, to }) => `${from} → ${to}`),
    ['1 → 3', '1 → 4', '2 → 4'],
  );
  assert.ok(pairs[0]!.difference.high < 0, JSON.stringify(pairs[0]));
  assert.deepEqual(pairs[1]!.methods, ['procrustes', 'procrustes', 'procrustes']);
});

test('generations of unequal dimensions are chained, without the identity between them', () => {
  const first = seenWith(0.3);
  const wide = new Float32Array((first.length / dim) * 20);
  for (let row = 0; row < first.length / dim; row++) wide.set(first.subarray(row * dim, (row + 1) * dim), row * 20);
  const chain = [generation('1', first), generation('2', wide, 20), generation('3', rotated(first))];
  const { pairs } = compareChainedAdapters(chain, { ...how, direction: 'query', methods: ['identity', 'procrustes'] });
  assert.deepEqual(pairs[0]!.methods, ['procrustes', 'procrustes']);
  assert.equal(pairs[0]!.difference.value, 0);
});

test('generations are chained at any two dimensions, also where their quotient is rounded', () => {
  const [narrow, wide] = [11, 15]; // (15 / 11) · 11 < 15 in double precision
  assert.notEqual((wide / narrow) * narrow, wide);
  const first = seenWith(0.3);
  const firstOf = (width: number): Float32Array => first.filter((_, i) => i % dim < width);
  const chain = [
    generation('1', firstOf(narrow), narrow),
    generation('2', firstOf(wide), wide),
    generation('3', firstOf(narrow), narrow),
  ];
  const { pairs } = compareChainedAdapters(chain, { ...how, direction: 'gallery', methods: ['procrustes'] });
  assert.deepEqual(pairs[0]!.methods, ['procrustes', 'procrustes']);
  assert.ok(pairs[0]!.chained.value > 0.5, JSON.stringify(pairs[0]));
});
