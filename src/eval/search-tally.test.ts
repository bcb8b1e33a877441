// Searches: a slow twin with ties, zeros and NaN, more probes than a tile has, and any order of entries.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { setThreads, threads } from '../torch/index.ts';
import { searchParts } from './gallery-search.ts';
import { NEVER_FOUND, type Searches } from './identification.ts';
import { cosine, isZeroRow, NO_SCORE, type Rows } from './scores.ts';
import { SearchTally, search } from './search-tally.ts';

/** Rounding of a product of rows of length 1. */
const ROUNDING = 1e-5;
/** More than the probes that meet a block of entries at a time. */
const PROBES = 2500;

/** What `SearchTally` says of one probe, by its definition. */
function searchSlowly(similarity: readonly number[], own: number) {
  const others = similarity.filter((_, entry) => entry !== own);
  const best = others.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(Number.NEGATIVE_INFINITY, ...others);
  const mine = own < 0 ? Number.NaN : similarity[own]!;
  const never = Number.isNaN(mine) || mine === NO_SCORE;
  if (own < 0 || never)
    return { own: own < 0 ? Number.NaN : NO_SCORE, best, ahead: own < 0 ? -1 : NEVER_FOUND, equal: 0 };
  return {
    own: mine,
    best,
    ahead: others.filter((value) => !(value < mine)).length,
    equal: others.filter((value) => value === mine).length,
  };
}

const ofProbe = ({ own, best, ahead, equal }: Searches, probe: number) => ({
  own: own[probe]!,
  best: best[probe]!,
  ahead: ahead[probe]!,
  equal: equal[probe]!,
});

test('a search of given similarities equals its slow twin, ties and NaN included, however many threads there are', () => {
  const rng = new Rng('tally');
  const size = 37;
  const values = [Number.NaN, -0.5, 0, 0.25, 0.5];
  const similarity = Float32Array.from({ length: PROBES * size }, () =>
    rng.integer(40) === 0 ? values[rng.integer(values.length)]! : rng.integer(9) / 8 - 0.5,
  );
  const enrolled = Int32Array.from({ length: PROBES }, () => Math.max(rng.integer(size + 9) - 9, -1));
  const before = threads();
  for (const count of [1, 2]) {
    setThreads(count);
    const found = search(similarity, enrolled, { size });
    for (const [probe, own] of enrolled.entries()) {
      const row = Array.from(similarity.subarray(probe * size, (probe + 1) * size));
      assert.deepEqual(ofProbe(found, probe), searchSlowly(row, own), `probe ${probe}`);
    }
  }
  setThreads(before);
});

test('entries may come in any order and in pieces, and galleries together are one gallery', () => {
  const rng = new Rng('pieces');
  const [size, width] = [21, 130];
  const products = Float64Array.from({ length: size * width }, () => rng.integer(7) / 7);
  // columns that are probes in another order, and some that are none
  const columns = Int32Array.from({ length: 100 }, (_, probe) => (probe * 37) % width);
  const owner = Int32Array.from(columns, () => Math.max(rng.integer(size + 4) - 4, -1));
  const own = Float64Array.from(owner, (entry, probe) =>
    entry < 0 ? Number.NaN : products[entry * width + columns[probe]!]!,
  );
  const tallies = [0, 1].map((g) => {
    const enrolled = owner.map((entry) => (entry >= 0 && entry % 2 === g ? entry >> 1 : -1));
    return new SearchTally(g === 0 ? 11 : 10, { enrolled, own });
  });
  const order = Int32Array.from({ length: size }, (_, entry) => (entry * 8) % size);
  for (const piece of [order.subarray(0, 5), order.subarray(5)])
    for (const [g, tally] of tallies.entries()) {
      const rows = piece.filter((entry) => entry % 2 === g);
      tally.take({ products, width, rows, entries: rows.map((entry) => entry >> 1), columns });
    }
  const together = SearchTally.together(tallies, owner).searches;
  assert.equal(together.size, size);
  for (const [probe, entry] of owner.entries()) {
    const row = Array.from({ length: size }, (_, e) => products[e * width + columns[probe]!]!);
    assert.deepEqual(ofProbe(together, probe), searchSlowly(row, entry), `probe ${probe}`);
    for (const [g, tally] of tallies.entries()) {
      const part = row.filter((_, e) => e % 2 === g);
      const twin = searchSlowly(part, entry >= 0 && entry % 2 === g ? entry >> 1 : -1);
      assert.deepEqual(ofProbe(tally.searches, probe), twin, `probe ${probe} in gallery ${g}`);
    }
  }
});

for (const [name, Type] of [
  ['float32', Float32Array],
  ['float64', Float64Array],
] as const)
  test(`a search of ${name} rows equals its slow twin, with equal entries, and probes and entries of zeros`, () => {
    const rng = new Rng('rows');
    const [dim, entries] = [16, 60];
    const rows: Rows = new Type((PROBES + entries) * dim);
    for (let i = 0; i < PROBES + entries; i++) {
      if (i % 29 === 5) continue; // zeros
      const row = Array.from({ length: dim }, (_, d) => (d === i % dim ? 2 : 0) + rng.uniform() - 0.5);
      const length = Math.hypot(...row);
      rows.set(row.map((value) => value / length), i * dim); // biome-ignore format: short
    }
    for (const twin of [7, 11]) rows.copyWithin((PROBES + twin) * dim, (PROBES + 3) * dim, (PROBES + 4) * dim);
    const enrolled = Int32Array.from({ length: PROBES }, (_, probe) => (probe % 5 === 0 ? -1 : probe % entries));
    const positions = Int32Array.from({ length: PROBES + entries }, (_, i) => i);
    const [found] = searchParts<Rows>(
      { rows, dim, positions: positions.subarray(0, PROBES) },
      { rows, dim, positions: positions.subarray(PROBES) },
      [{ start: 0, size: entries, enrolled }],
    );
    for (const [probe, own] of enrolled.entries()) {
      const similarity = Array.from({ length: entries }, (_, entry) => cosine(rows, probe, rows, PROBES + entry, dim));
      const [mine, twin] = [ofProbe(found!, probe), searchSlowly(similarity, own)];
      assert.deepEqual([mine.ahead, mine.equal], [twin.ahead, twin.equal], `probe ${probe}`);
      for (const [actual, wanted] of [
        [mine.own, twin.own],
        [mine.best, twin.best],
      ] as const)
        assert.ok(Object.is(actual, wanted) || Math.abs(actual - wanted) <= ROUNDING, `${actual}, wanted ${wanted}`);
    }
    assert.ok(found!.equal.some((count) => count === 2));
    assert.ok([...positions.keys()].some((i) => isZeroRow(rows, i * dim, dim)));
  });
