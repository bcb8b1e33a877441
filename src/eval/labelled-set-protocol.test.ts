import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { identificationSplit, verificationPairs } from './labelled-set-protocol.ts';

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

/** Six identities with four pictures each, of four families. */
const small = {
  labels: Int32Array.from({ length: 24 }, (_, i) => Math.floor(i / 4)),
  families: Int32Array.from({ length: 24 }, (_, i) => i % 4),
};

test('pairs are across families, complete or drawn, and depend on the seed alone', () => {
  const { labels, families } = small;
  const all = verificationPairs(small, { genuines: 1e6, impostors: 1e6, rng: new Rng(1) });
  assert.equal(all.genuine.gallery.length, 6 * 6);
  assert.ok(all.allImpostors);
  assert.equal(
    all.impostor.gallery.length,
    (24 * 23) / 2 - 36 - 4 * 15,
    'all but genuine pairs and those of one family',
  );
  const few = verificationPairs(small, { genuines: 1e6, impostors: 50, rng: new Rng(1) });
  assert.deepEqual([few.allImpostors, few.impostor.gallery.length], [false, 50]);
  assert.deepEqual(few.impostor, verificationPairs(small, { genuines: 1e6, impostors: 50, rng: new Rng(1) }).impostor);
  assert.notDeepEqual(
    few.impostor,
    verificationPairs(small, { genuines: 1e6, impostors: 50, rng: new Rng(2) }).impostor,
  );
  for (const { genuine, impostor } of [all, few]) {
    for (const [i, g] of genuine.gallery.entries())
      assert.ok(labels[g] === labels[genuine.query[i]!] && families[g] !== families[genuine.query[i]!]);
    for (const [i, g] of impostor.gallery.entries())
      assert.ok(labels[g] !== labels[impostor.query[i]!] && families[g] !== families[impostor.query[i]!]);
  }
  const unknown = { labels, families: new Int32Array(24).fill(-1) };
  assert.equal(
    verificationPairs(unknown, { genuines: 1e6, impostors: 1e6, rng: new Rng(1) }).impostor.gallery.length,
    (24 * 23) / 2 - 36,
    'unknown families are all different',
  );
  const single = { labels, families: new Int32Array(24) };
  assert.throws(
    () => verificationPairs(single, { genuines: 1e6, impostors: 10, rng: new Rng(1) }),
    /no class of the evaluation set has two pictures of different families/,
  );
});

test('genuine pairs beyond a number are drawn, each as likely as any other, also of a class of half the set', () => {
  // 200 pictures of one class, 40 classes of five; families of the large one: half its pictures are of one
  const labels = Int32Array.from({ length: 400 }, (_, i) => (i < 200 ? 0 : 1 + Math.floor((i - 200) / 5)));
  const families = Int32Array.from({ length: 400 }, (_, i) => (i < 100 ? 7 : -1));
  const options = { impostors: 100, rng: new Rng(1) };
  const all = verificationPairs({ labels, families }, { ...options, genuines: 1e6 });
  const total = (200 * 199) / 2 - (100 * 99) / 2 + 40 * 10;
  assert.deepEqual([all.totalGenuine, all.genuine.gallery.length], [total, total]);
  const drawn = verificationPairs({ labels, families }, { ...options, genuines: 4000 });
  assert.deepEqual([drawn.totalGenuine, drawn.genuine.gallery.length], [total, 4000]);
  assert.deepEqual(drawn, verificationPairs({ labels, families }, { ...options, genuines: 4000 }));
  let [large, first] = [0, 0];
  for (const [i, g] of drawn.genuine.gallery.entries()) {
    const q = drawn.genuine.query[i]!;
    assert.ok(g !== q && labels[g] === labels[q] && (families[g] !== families[q] || families[g] === -1));
    if (labels[g] === 0) large++;
    if (g < q) first++;
  }
  near(large / 4000, 1 - 400 / total, 5 * Math.sqrt(400 / total / 4000), 'share of the large class:');
  near(first / 4000, 0.5, 5 * Math.sqrt(0.25 / 4000), 'either picture is in the gallery:');
});

test('as many genuine pairs as wanted are drawn of a class of which all pictures but one are of one family', () => {
  const count = 20_000;
  const labels = Int32Array.from({ length: count + 500 }, (_, i) => (i < count ? 0 : 1));
  const families = labels.map((label, i) => (i === 7 ? 1 : 2 * label));
  const { genuine, totalGenuine } = verificationPairs(
    { labels, families },
    { genuines: 5000, impostors: 100, rng: new Rng(1) },
  );
  assert.deepEqual([totalGenuine, genuine.gallery.length], [count - 1, 5000]);
  for (const [i, g] of genuine.gallery.entries()) assert.equal(Number(g === 7) + Number(genuine.query[i] === 7), 1);
  // each of 19,999 is drawn a quarter of a time: 1 - exp(-1/4) of them at least once
  const met = new Set([...genuine.gallery, ...genuine.query]).size - 1;
  near(met / (count - 1), 1 - Math.exp(-5000 / (count - 1)), 0.01, 'pictures drawn:');
});

test('half of the identities are enrolled in each gallery, entries and probes share no family', () => {
  for (const families of [small.families, new Int32Array(24).fill(-1)]) {
    const { probes, galleries } = identificationSplit({ labels: small.labels, families }, new Rng(3));
    assert.deepEqual(
      galleries.map(({ entries }) => entries.length),
      [3, 3],
    );
    const enrolled = galleries.map(({ entries }) => Array.from(entries, (i) => small.labels[i]!));
    assert.equal(new Set(enrolled.flat()).size, 6, 'disjoint, and all');
    const entries = new Set(galleries.flatMap((gallery) => [...gallery.entries]));
    for (const [p, probe] of probes.entries()) {
      assert.ok(!entries.has(probe));
      assert.equal(
        galleries.filter((gallery) => gallery.enrolled[p]! >= 0).length,
        1,
        'a probe is mated in one gallery, an outsider in the other',
      );
      for (const gallery of galleries) {
        const at = gallery.enrolled[p]!;
        if (at >= 0) assert.equal(small.labels[gallery.entries[at]!], small.labels[probe]);
      }
    }
    if (families[0]! >= 0) {
      const entryFamilies = new Set([...entries].map((i) => families[i]!));
      assert.ok(probes.every((probe) => !entryFamilies.has(families[probe]!)));
    }
  }
});
