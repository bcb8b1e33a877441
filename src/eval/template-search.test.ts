import assert from 'node:assert/strict';
import { test } from 'node:test';
import { templatesOf, unit } from '../../test/helpers/templates.ts';
import { Rng } from '../base/rng.ts';
import { type GallerySearches, TemplateSearches } from './template-search.ts';
import { scoresOfIds } from './templates.ts';

/** Rounding of a product, which depends on the block where a processor has no vectors of ours. */
const ROUNDING = 1e-14;
const near = (actual: number, wanted: number): void =>
  assert.ok(Object.is(actual, wanted) || Math.abs(actual - wanted) <= ROUNDING, `${actual}, wanted ${wanted}`);

test('searches that use the products of pairs, whole, in part or not at all, find the same', () => {
  const rng = new Rng('shared');
  const [dim, subjects] = [12, 40];
  const row = (subject: number): number[] =>
    unit(Array.from({ length: dim }, (_, d) => Math.sin(subject * 7 + d * d) + rng.uniform() - 0.5));
  const ids = (from: number, count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => from + i);
  const [entryIds, probeIds] = [ids(100, subjects), ids(500, 150)];
  const gallery = templatesOf([...entryIds], [...entryIds.keys()].map(row));
  const subjectOf = probeIds.map((_, i) => i % (subjects + 10));
  const query = templatesOf([...probeIds], Array.from(subjectOf, row));
  const enrolments = [0, 25].map((from, g) => {
    const some = ids(from, g === 0 ? 25 : 15);
    return { templates: some.map((i) => entryIds[i]!), subjects: some };
  });
  // an entry of two subjects, which is one row of all products
  enrolments[1]!.templates[3] = enrolments[0]!.templates[2]!;
  const searches = () =>
    new TemplateSearches(gallery, query, enrolments, { templates: probeIds.toReversed(), subjects: subjectOf.toReversed() }); // biome-ignore format: short
  const alone = searches().found;
  assert.ok(alone.mixed.ahead.some((ahead) => ahead > 0) && alone.mixed.ahead.some((ahead) => ahead === 0));

  /** All pairs of some entries and some probes. */
  const pairsOf = (entries: Int32Array, probes: Int32Array) => ({
    gallery: Int32Array.from([...entries].flatMap((entry) => Array.from(probes, () => entry))),
    query: Int32Array.from([...entries].flatMap(() => [...probes])),
  });
  for (const pieces of [
    [pairsOf(entryIds, probeIds)],
    [
      pairsOf(entryIds.subarray(0, 21), probeIds.subarray(0, 90)),
      pairsOf(entryIds.subarray(20), probeIds.subarray(60)),
    ],
    [pairsOf(entryIds.subarray(5, 9), probeIds.subarray(3, 70))],
    // too scattered for products
    [{ gallery: entryIds.subarray(0, 39), query: probeIds.subarray(0, 39) }],
  ]) {
    const shared = searches();
    for (const piece of pieces)
      assert.deepEqual(scoresOfIds(gallery, query, piece, shared), scoresOfIds(gallery, query, piece));
    const all = ({ searches, mixed }: GallerySearches) => [...searches, mixed];
    for (const [i, { own, best, ...found }] of all(shared.found).entries()) {
      const twin = all(alone)[i]!;
      assert.deepEqual(found, { size: twin.size, ahead: twin.ahead, equal: twin.equal });
      for (const [probe, value] of [...own, ...best].entries()) near(value, [...twin.own, ...twin.best][probe]!);
    }
  }
});
