// Templates and verification packs: the numbers of methods.md 8.14, slow twins, and what they are for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gap } from '../../test/helpers/formula.ts';
import { Rng } from '../base/rng.ts';
import { foldedAccuracy, type PackEmbeddings, packEmbeddings, pairDistances } from './pack-accuracy.ts';
import { auc, roc, scoresByIdentity } from './roc.ts';
import { NO_SCORE } from './scores.ts';
import {
  type FaceEmbeddings,
  type FaceImages,
  poolTemplates,
  type Templates,
  templatePositions,
  templateScores,
} from './templates.ts';

/** Golden numbers are printed with eight or ten digits. */
const [EIGHT_DIGITS, TEN_DIGITS] = [1e-8, 1e-10];
/** Sums in another order. */
const DOUBLE = 1e-12;

const fill = (count: number, a: number, b: number): Float64Array =>
  Float64Array.from({ length: count }, (_, k) => Math.sin(a + b * k));

/** The seven images of 8.14. */
const images: FaceImages = {
  templates: [1, 1, 1, 2, 2, 5, 5],
  media: [10, 10, 11, 20, 21, 30, 30],
  detector: [0.9, 0.8, 1, 0.5, 0.7, 0.6, 0.95],
};
/** Embeddings in memory: of each image and its mirror together. */
function faces({ original, mirrored, dim }: PackEmbeddings): FaceEmbeddings {
  const both = Float64Array.from(original, (v, k) => v + mirrored[k]!);
  return { count: both.length / dim, dim, block: (from, count) => both.subarray(from * dim, (from + count) * dim) };
}
const news = faces({ original: fill(28, 0.3, 0.9), mirrored: fill(28, 0.8, 0.5), dim: 4 });
const olds = faces({ original: fill(28, 0.1, 1.1), mirrored: fill(28, 0.6, 0.7), dim: 4 });

test('templates and their scores are those of 8.14, the old model on the first side of a pair', () => {
  const [pooled, old] = [poolTemplates(news, images), poolTemplates(olds, images)];
  assert.deepEqual([...pooled.ids], [1, 2, 5]);
  const expected = [
    [0.35780072, 0.57716295, 0.0300036, -0.73345849],
    [0.85582917, 0.3639533, -0.10455279, -0.35236792],
    [-0.54839315, -0.3845865, 0.10028713, 0.73573139],
  ];
  assert.ok(gap(pooled.rows, expected.flat()) < EIGHT_DIGITS);
  const pairs = { gallery: templatePositions(pooled, [1, 1, 2]), query: templatePositions(pooled, [2, 5, 5]) };
  const own = templateScores(pooled, pooled, pairs);
  assert.ok(gap(own, [0.7715869337, -0.9548039996, -0.8790358098]) < TEN_DIGITS);
  const cross = templateScores(old, pooled, pairs);
  assert.ok(gap(cross, [-0.0074386612, 0.365162438, 0.5517721943]) < TEN_DIGITS);
});

/** Pooling as its definition reads: media of each template, their means, their sum. */
function poolSlowly({ original, mirrored, dim }: PackEmbeddings, { templates, media, detector }: FaceImages): number[] {
  const images = Array.from({ length: templates.length }, (_, i) =>
    Array.from({ length: dim }, (__, d) => (original[i * dim + d]! + mirrored[i * dim + d]!) * detector[i]!),
  );
  const ids = [...new Set(Array.from(templates))].sort((a, b) => a - b);
  return ids.flatMap((id) => {
    const members = images.map((_, i) => i).filter((i) => templates[i] === id);
    const means = [...new Set(members.map((i) => media[i]!))].map((medium) => {
      const frames = members.filter((i) => media[i] === medium);
      return Array.from({ length: dim }, (_, d) => frames.reduce((sum, i) => sum + images[i]![d]!, 0) / frames.length);
    });
    const total = Array.from({ length: dim }, (_, d) => means.reduce((sum, mean) => sum + mean[d]!, 0));
    const length = Math.hypot(...total);
    return total.map((v) => v / length);
  });
}

test('pooling equals its slow twin, with templates in any order and media in several of them', () => {
  const rng = new Rng('templates');
  const [count, dim] = [60, 5];
  const draw = (below: number): number[] => Array.from({ length: count }, () => rng.integer(below));
  const random: FaceImages = {
    templates: draw(9).map((t) => 100 - 7 * t),
    media: draw(4),
    detector: Array.from({ length: count }, () => rng.uniform()),
  };
  const rows = { original: fill(count * dim, 0.2, 1.9), mirrored: fill(count * dim, 1.2, 0.7), dim };
  const pooled = poolTemplates(faces(rows), random);
  assert.ok(gap(pooled.rows, poolSlowly(rows, random)) < DOUBLE);
  assert.deepEqual(pooled.ids, pooled.ids.slice().sort());
});

test('templates tell people apart better than single images, and an unsure detection counts less', () => {
  const rng = new Rng('faces');
  const [people, each, dim] = [30, 6, 16];
  const noise = (): number => rng.uniform() - 0.5;
  const centres = Array.from({ length: people * dim }, noise);
  const pictures = Float64Array.from(
    { length: people * 2 * each * dim },
    (_, k) => centres[Math.floor(k / (2 * each * dim)) * dim + (k % dim)]! + 2 * noise(),
  );
  const rows = faces({ original: pictures, mirrored: pictures, dim });
  const aucOf = (templates: readonly number[], detector = templates.map(() => 1)): number => {
    const pooled = poolTemplates(rows, { templates, media: templates.map((_, i) => i), detector });
    const perPerson = pooled.ids.length / people;
    const [gallery, query, same]: [number[], number[], number[]] = [[], [], []];
    for (let a = 0; a < pooled.ids.length; a++)
      for (let b = 0; b < a; b++) {
        gallery.push(a);
        query.push(b);
        same.push(Math.floor(a / perPerson) === Math.floor(b / perPerson) ? 1 : 0);
      }
    const pairs = { gallery: Int32Array.from(gallery), query: Int32Array.from(query) };
    return auc(roc(scoresByIdentity(templateScores(pooled, pooled, pairs), same)));
  };
  const single = Array.from({ length: people * 2 * each }, (_, i) => i);
  const halves = single.map((i) => Math.floor(i / each)); // two templates of six images for each person
  assert.ok(aucOf(halves) > aucOf(single) + 0.1, `${aucOf(halves)} against ${aucOf(single)}`);
  const firstAlone = single.map((i) => (i % each === 0 ? 1 : 0));
  assert.ok(aucOf(halves) > aucOf(halves, firstAlone) + 0.1, 'what has score 0 is not there');
});

test('what does not fit together is refused', () => {
  assert.throws(() => poolTemplates(news, { ...images, media: [1] }), /7 embeddings, but 1 media ids/);
  assert.throws(() => poolTemplates({ ...news, count: 6 }, images), /6 embeddings, but 7 templates/);
  const broken = { ...news, block: () => fill(28, 0.3, 0.9).fill(Number.NaN, 13, 14) };
  assert.throws(() => poolTemplates(broken, images), /template 2 is not finite/);
  const pooled = poolTemplates(news, images);
  for (const absent of [4, 6, -1, 1 << 30])
    assert.throws(() => templatePositions(pooled, [1, absent]), new RegExp(`template ${absent} has no images`));
  const wide = { ids: pooled.ids, rows: fill(15, 0, 1), dim: 5 };
  const pairs = { gallery: Int32Array.of(0), query: Int32Array.of(1) };
  assert.throws(() => templateScores(wide, pooled, pairs), /5 and of 4 dimensions/);
  const none = poolTemplates(news, { ...images, detector: [1, 1, 1, 0, 0, 1, 1] });
  assert.deepEqual([...none.rows.slice(4, 8)], [0, 0, 0, 0], 'a template without weight is no direction');
});

test('a template whose images cancel, but for rounding, has no direction, and no pair with it a score', () => {
  const face = [0.3, -1.7, 0.2, 0.9];
  // as float32 rounds them, and scaled by a weight that is no power of two
  const rows = Float32Array.from([...face, ...face.map((v) => -v * (1 + 2 ** -24)), 1, 2, 3, 4].map((v) => v * 0.7));
  const some = { count: 3, dim: 4, block: (from: number, count: number) => rows.slice(from * 4, (from + count) * 4) };
  const pooled = poolTemplates(some, { templates: [1, 1, 2], media: [1, 2, 3], detector: [0.9, 0.9, 0.3] });
  assert.deepEqual([...pooled.rows.slice(0, 4)], [0, 0, 0, 0]);
  const pairs = { gallery: Int32Array.of(0, 1, 1), query: Int32Array.of(1, 0, 1) };
  const many = { gallery: new Int32Array(64), query: new Int32Array(64).fill(1) };
  assert.deepEqual([...templateScores(pooled, pooled, pairs)], [NO_SCORE, NO_SCORE, 1]);
  assert.deepEqual(new Set(templateScores(pooled, pooled, many)), new Set([NO_SCORE]));
});

test('a template with one image is that image, and ids may be as large as they like', () => {
  const single = poolTemplates(news, { ...images, templates: [1, 1, 1, 2 ** 31 - 1, 3, 5, 5] });
  assert.deepEqual([...single.ids], [1, 3, 5, 2 ** 31 - 1]);
  const face = Array.from(news.block(3, 1));
  const length = Math.hypot(...face);
  assert.ok(
    gap(
      single.rows.slice(12),
      face.map((v) => v / length),
    ) < DOUBLE,
  );
  assert.deepEqual([...templatePositions(single, [2 ** 31 - 1, 5])], [3, 2]);
});

test('a missing image counts in no medium and no template: the rest is pooled as if it had never been', () => {
  const pooled = poolTemplates({ ...news, missing: new Set([1, 3, 4]) }, images);
  const rest = [0, 2, 5, 6];
  const of = (values: ArrayLike<number>): number[] => rest.map((i) => values[i]!);
  const without = poolTemplates(
    {
      count: 4,
      dim: 4,
      block: (from, count) => rest.slice(from, from + count).flatMap((i) => Array.from(news.block(i, 1))),
    },
    { templates: of(images.templates), media: of(images.media), detector: of(images.detector) },
  );
  assert.deepEqual([...pooled.ids], [1, 2, 5]);
  assert.deepEqual([...pooled.rows.slice(0, 4)], [...without.rows.slice(0, 4)]);
  assert.deepEqual([...pooled.rows.slice(4, 8)], [0, 0, 0, 0], 'a template of missing images alone is zeros');
  assert.deepEqual([...pooled.rows.slice(8)], [...without.rows.slice(4)]);
});

test('scores made in blocks and one by one are the products of the rows, whether or not pairs go through the gallery in order', () => {
  const rng = new Rng('pairs');
  const dim = 7;
  const templates = (count: number): Templates => ({
    ids: Int32Array.from({ length: count }, (_, i) => i),
    rows: Float64Array.from({ length: count * dim }, () => 0.7 * (rng.uniform() - 0.5)), // shorter than 1: cosines end there
    dim,
  });
  // the last two: several blocks of products, several parts of pairs
  for (const [count, entries, queries, inOrder] of [
    [3000, 90, 70, false],
    [40, 90, 70, false],
    [150_000, 2100, 2100, true],
    [150_000, 2100, 2100, false],
  ] as const) {
    const [gallery, query] = [templates(entries), templates(queries)];
    const drawn = Int32Array.from({ length: count }, () => rng.integer(entries));
    const pairs = {
      gallery: inOrder ? drawn.sort() : drawn,
      query: Int32Array.from({ length: count }, () => rng.integer(queries)),
    };
    const expected = Array.from({ length: count }, (_, k) => {
      const [at, other] = [pairs.gallery[k]! * dim, pairs.query[k]! * dim];
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += gallery.rows[at + d]! * query.rows[other + d]!;
      return sum;
    });
    assert.ok(gap(templateScores(gallery, query, pairs), expected) < DOUBLE, `${count} pairs, in order: ${inOrder}`);
  }
});

/** The pack of 8.14: 20 pairs, the even ones alike. */
function pack() {
  const dim = 6;
  const rows = fill(40 * dim, 0.2, 0.71);
  for (let p = 0; p < 20; p += 2)
    for (let j = 0; j < dim; j++) rows[(2 * p + 1) * dim + j] = rows[2 * p * dim + j]! + 0.5 * Math.sin(0.3 * p + j);
  return { rows, dim, same: Array.from({ length: 20 }, (_, p) => p % 2 === 0) };
}

test('verification in ten folds has the numbers of 8.14', () => {
  const { rows, dim, same } = pack();
  const half = rows.map((v) => v / 2);
  const { rows: unit, meanNorm } = packEmbeddings({ original: half, mirrored: half, dim });
  const SIX_DIGITS = 1e-6;
  const distances = pairDistances(unit, unit, dim);
  assert.ok(gap(distances.slice(0, 3), [0.057047, 2.463918, 0.077299]) < SIX_DIGITS);
  const { folds, mean, std } = foldedAccuracy(distances, same);
  assert.deepEqual(folds, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0.5]);
  assert.ok(Math.abs(mean - 0.95) < DOUBLE && Math.abs(std - 0.15) < DOUBLE);
  const lengths = Array.from({ length: 40 }, (_, i) => Math.hypot(...half.slice(i * dim, (i + 1) * dim)));
  assert.ok(Math.abs(meanNorm - lengths.reduce((a, b) => a + b) / 40) < DOUBLE);
});

/** The definition: every threshold tried on every pair outside the fold. */
function foldsSlowly(distances: readonly number[], same: readonly boolean[], folds: number) {
  const foldOf = distances.map((_, i) => {
    const [each, over] = [Math.floor(distances.length / folds), distances.length % folds];
    return i < over * (each + 1) ? Math.floor(i / (each + 1)) : over + Math.floor((i - over * (each + 1)) / each);
  });
  return Array.from({ length: folds }, (_, f) => {
    const right = (inFold: boolean, t: number): number =>
      distances.filter((d, i) => (foldOf[i] === f) === inFold && d < t * 0.01 === same[i]).length;
    let best = 0;
    for (let t = 1; t < 400; t++) if (right(false, t) > right(false, best)) best = t;
    return [right(true, best) / foldOf.filter((x) => x === f).length, best * 0.01];
  });
}

test('folds equal their slow twin, uneven ones and distances on a threshold included', () => {
  const rng = new Rng('folds');
  for (const [pairs, folds] of [
    [47, 10],
    [30, 4],
  ] as const) {
    const same = Array.from({ length: pairs }, () => rng.uniform() < 0.5);
    const distances = same.map((s, i) => (i % 3 === 0 ? rng.integer(400) * 0.01 : (s ? 2 : 4) * rng.uniform()));
    const result = foldedAccuracy(distances, same, { folds });
    assert.deepEqual(
      result.folds.map((accuracy, f) => [accuracy, result.thresholds[f]]),
      foldsSlowly(distances, same, folds),
    );
  }
});

test('pairs that differ by more than any threshold, or by nothing, are told; too few make no folds', () => {
  const same = Array.from({ length: 20 }, (_, i) => i % 2 === 0);
  const perfect = foldedAccuracy(
    same.map((s) => (s ? 0 : 4)),
    same,
  );
  assert.deepEqual([perfect.mean, perfect.std, new Set(perfect.thresholds)], [1, 0, new Set([0.01])]);
  const dead = foldedAccuracy(new Array<number>(20).fill(Number.NaN), same);
  assert.equal(dead.mean, 0, 'a pair with a zero embedding is answered wrong, whatever it shows');
  assert.throws(() => foldedAccuracy([1, 2], [true, false]), /2 pairs do not fill 10 folds/);
  assert.throws(() => foldedAccuracy([1, 2], [true]), /2 distances, but 1 labels/);
});
