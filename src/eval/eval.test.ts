import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import {
  estimate,
  impostorWeights,
  pairCounts,
  probeReplicates,
  resampleIdentities,
  sortPairsByScore,
  tarReplicates,
  tpirReplicates,
} from './bootstrap.ts';
import { compare, compatibilityScores, updateGain } from './compatibility.ts';
import { evaluate } from './evaluate.ts';
import { cumulativeMatchCurve, hitRate, nonMatedScores, search, thresholdAtFpir, tpir } from './identification.ts';
import { identificationSplit, verificationPairs } from './labelled-set-protocol.ts';
import { auc, equalErrorRate, roc, type Scores, tarAtMost, tarNearest } from './roc.ts';

/** Golden numbers are printed with eight digits of float32 scores. */
const PRINTED_F32 = 2e-7;
/** Sums in another order. */
const DOUBLE = 1e-12;

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

const sorted = (values: readonly number[]): Float32Array => Float32Array.from(values).sort();

/** Scores with many ties. */
function tied(seed: number): Scores {
  const rng = new Rng(seed);
  return {
    genuine: sorted(Array.from({ length: 40 }, () => rng.integer(12) + 3)),
    impostor: sorted(Array.from({ length: 90 }, () => rng.integer(12))),
  };
}

test('verification has the numbers of 8.14', () => {
  const scores = {
    genuine: sorted([0.9, 0.8, 0.55, 0.3]),
    impostor: sorted([0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.1, 0.05]),
  };
  const curve = roc(scores);
  near(auc(curve), 0.8375, DOUBLE);
  for (const [far, tar] of [
    [1e-6, 0.5],
    [1e-2, 0.5],
    [0.1, 0.75],
    [0.2, 0.75],
  ] as const)
    assert.equal(tarNearest(curve, far), tar, `${far}`);
});

test('ROC, AUC, EER and both rules equal their slow twins, ties included', () => {
  for (let seed = 0; seed < 10; seed++) {
    const scores = tied(seed);
    const { genuine, impostor } = scores;
    const share = (list: ArrayLike<number>, threshold: number): number =>
      Array.from(list).filter((s) => s >= threshold).length / list.length;
    const all = new Set([genuine, impostor].flatMap((list) => Array.from(list)));
    const thresholds = [Number.POSITIVE_INFINITY, ...[...all].sort((a, b) => b - a)];
    const curve = roc(scores);
    for (const [i, threshold] of curve.threshold.entries()) {
      assert.equal(curve.far[i], share(impostor, threshold));
      assert.equal(curve.tar[i], share(genuine, threshold));
    }
    let wins = 0;
    for (const g of Array.from(genuine)) for (const i of Array.from(impostor)) wins += g > i ? 1 : g === i ? 0.5 : 0;
    near(auc(curve), wins / (genuine.length * impostor.length), DOUBLE);
    for (const far of [1e-3, 0.02, 0.1, 0.35, 1]) {
      const allowed = thresholds.filter((t) => share(impostor, t) <= far);
      assert.equal(
        tarAtMost(scores, far),
        Math.max(...allowed.map((t) => share(genuine, t))),
        `seed ${seed}, FAR ${far}`,
      );
    }
    const e = equalErrorRate(curve);
    const before = curve.far.findLastIndex((far, i) => far <= 1 - curve.tar[i]!);
    assert.ok(e >= curve.far[before]! && e <= (curve.far[before + 1] ?? 1), `${e}`);
  }
  const perfect = roc({ genuine: sorted([2, 3]), impostor: sorted([0, 1]) });
  assert.deepEqual([auc(perfect), equalErrorRate(perfect)], [1, 0]);
});

test('a CMC counts the enrolled of all searches, each rank as its slow twin does', () => {
  const rng = new Rng('cmc');
  const entries = 12;
  const [a, b] = [40, 25].map((probes) => ({
    // few distinct values, so that there are ties
    similarity: Float32Array.from({ length: probes * entries }, () => rng.integer(9) / 9),
    enrolled: Int32Array.from({ length: probes }, () => rng.integer(entries + 4) - 4).map((e) => Math.max(e, -1)),
  })) as [Searched, Searched];
  const { rank, rate } = cumulativeMatchCurve(
    [a, b].map(({ similarity, enrolled }) => search(similarity, enrolled, { size: entries })),
    entries,
  );
  let [hits, mated] = [new Array<number>(entries).fill(0), 0];
  for (const { similarity, enrolled } of [a, b])
    for (const [probe, entry] of enrolled.entries()) {
      if (entry < 0) continue;
      mated++;
      const row = similarity.subarray(probe * entries, (probe + 1) * entries);
      hits = hits.map((n, i) => n + (row.filter((value) => value >= row[entry]!).length <= i + 1 ? 1 : 0));
    }
  assert.deepEqual(
    rank,
    Array.from({ length: entries }, (_, i) => i + 1),
  );
  assert.deepEqual(
    rate,
    hits.map((n) => n / mated),
  );
  assert.equal(rate.at(-1), 1);
});
type Searched = { readonly similarity: Float32Array; readonly enrolled: Int32Array };

test('identification has the numbers of 8.14', () => {
  const fill = (rows: number, a: number, b: number): number[][] =>
    Array.from({ length: rows }, (_, r) => Array.from({ length: 5 }, (_, c) => Math.sin(a + b * (r * 5 + c))));
  const unit = (x: readonly number[]): number[] => x.map((v) => v / Math.hypot(...x));
  const raw = fill(4, 0.2, 0.7);
  raw[2] = fill(1, 2.2, 1.9)[0]!;
  raw[3] = fill(1, 0.4, 2.6)[0]!;
  const gallery = raw.map(unit);
  const noise = fill(5, 0.9, 1.3);
  const mated = [0, 1, 2, 3, 0].map((g, i) =>
    unit(gallery[g]!.map((v, d) => v + [0.1, 0.3, 0.6, 0.9, 1.4][i]! * noise[i]![d]!)),
  );
  const probes = [...mated, ...fill(5, 1.9, 0.83).map(unit)];
  const similarity = Float32Array.from(
    probes.flatMap((q) => gallery.map((g) => q.reduce((sum, v, d) => sum + v * g[d]!, 0))),
  );
  const found = search(similarity, Int32Array.of(0, 1, 2, 3, 0, -1, -1, -1, -1, -1), { size: 4 });
  assert.deepEqual(
    [1, 5, 10].map((k) => hitRate(found, k) * 5),
    [4, 5, 5],
  );
  const thresholds = [0.94417272, 0.94417272, 0.94417272, 0.90503524, 0.83516522, 0.24483181];
  for (const [i, fpir] of [0.01, 0.1, 0.2, 0.4, 0.6, 1].entries()) {
    const threshold = thresholdAtFpir(nonMatedScores(found), fpir);
    near(threshold, thresholds[i]!, PRINTED_F32, `FPIR ${fpir}:`);
    near(tpir(found, threshold), [0.2, 0.2, 0.2, 0.2, 0.4, 0.8][i]!, DOUBLE, `FPIR ${fpir}:`);
  }
});

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

/** TAR in a resample by writing every identity out as often as it was drawn. */
function tarWrittenOut(genuine: Weighted, impostor: Weighted, far: number, weights: Uint16Array): number {
  const out = ({ score, a, b }: Weighted, weight: (i: number) => number): number[] =>
    Array.from(score).flatMap((s, i) => new Array<number>(a && b ? weight(i) : 0).fill(s));
  const [g, i] = [
    out(genuine, (k) => weights[genuine.a[k]!]!),
    out(impostor, (k) => weights[impostor.a[k]!]! * weights[impostor.b[k]!]!),
  ];
  return tarAtMost({ genuine: sorted(g), impostor: sorted(i) }, far);
}
type Weighted = { readonly score: Float32Array; readonly a: Int32Array; readonly b: Int32Array };

test('bootstrap replicates equal metrics of identities written out', () => {
  const rng = new Rng(9);
  const [identities, pairs] = [8, 60];
  const column = (n: number): Int32Array => Int32Array.from({ length: n }, () => rng.integer(identities));
  const a = column(30);
  const genuine = { score: Float32Array.from(a, () => rng.integer(20) / 10), a, b: a };
  const impostor = {
    score: Float32Array.from({ length: pairs }, () => rng.integer(16) / 10),
    a: column(pairs),
    b: column(pairs),
  };
  const drawn = resampleIdentities(identities, 30, new Rng(1));
  const totals = impostorWeights(pairCounts(impostor, identities), drawn);
  const fars = [0.05, 0.3];
  const replicates = tarReplicates(sortPairsByScore(genuine), sortPairsByScore(impostor), fars, drawn, totals);
  for (const [r, weights] of drawn.entries())
    for (const [t, far] of fars.entries())
      near(replicates[t]![r]!, tarWrittenOut(genuine, impostor, far, weights), DOUBLE, `resample ${r}, FAR ${far}:`);

  const [probes, entries] = [40, 4];
  const identity = column(probes);
  const similarity = Float32Array.from({ length: probes * entries }, () => rng.integer(9));
  const enrolled = identity.map((s) => (s < entries ? s : -1));
  const found = search(similarity, enrolled, { size: entries });
  const written = (weights: Uint16Array) => {
    const rows = Array.from(identity.keys()).flatMap((p) => new Array<number>(weights[identity[p]!]!).fill(p));
    return search(
      Float32Array.from(rows.flatMap((p) => Array.from(similarity.subarray(p * entries, (p + 1) * entries)))),
      Int32Array.from(rows, (p) => enrolled[p]!),
      { size: entries },
    );
  };
  const ranks = probeReplicates([found], identity, (ahead) => (ahead < 2 ? 1 : 0), drawn);
  const [rates] = tpirReplicates([found], identity, [0.2], drawn);
  for (const [r, weights] of drawn.entries()) {
    const twin = written(weights);
    near(ranks[r]!, hitRate(twin, 2), DOUBLE, `resample ${r}, rank 2:`);
    near(rates![r]!, tpir(twin, thresholdAtFpir(nonMatedScores(twin), 0.2)), DOUBLE, `resample ${r}, TPIR:`);
  }
});

test('an interval holds the middle 95 %, and covers a known mean as often as it says', () => {
  const { low, high } = estimate(
    0,
    Float64Array.from({ length: 1000 }, (_, i) => i),
  );
  assert.deepEqual([low, high], [25, 975]);
  let covered = 0;
  for (let trial = 0; trial < 200; trial++) {
    const rng = new Rng('coverage').split(trial);
    const values = Array.from({ length: 60 }, () => rng.uniform());
    const replicates = resampleIdentities(60, 200, rng).map(
      (weights) => values.reduce((sum, v, i) => sum + v * weights[i]!, 0) / 60,
    );
    const e = estimate(0, Float64Array.from(replicates));
    if (e.low <= 0.5 && 0.5 <= e.high) covered++;
  }
  assert.ok(covered >= 180 && covered <= 198, `${covered} of 200`);
});

test('compatibility: the criterion needs an interval that excludes 0; gain, tax and scores follow 7.1', () => {
  const measured = (value: number, spread: number) => ({
    value,
    replicates: Float64Array.from({ length: 101 }, (_, i) => value + (spread * (i - 50)) / 50),
  });
  const oldOld = measured(0.6, 0);
  const judge = (value: number, spread: number, chance = 0) =>
    compare(
      'm',
      { oldOld, newOld: measured(value, spread), newNew: measured(0.85, 0), oracle: measured(0.9, 0) },
      chance,
    );
  assert.equal(judge(0.7, 0.05).criterion, 'met');
  assert.equal(judge(0.62, 0.05).criterion, 'undecided');
  assert.equal(judge(0.5, 0.05).criterion, 'missed');
  assert.equal(judge(0.7, 0.05, 0.68).criterion, 'undecided', 'the interval of new → old holds chance');
  near(judge(0.7, 0).updateGain!.value, 1 / 3, DOUBLE);
  near(judge(0.7, 0).tax!.value, 0.05, DOUBLE);
  assert.equal(compare('m', { oldOld, newOld: oldOld, newNew: oldOld, oracle: null }, 0).updateGain, null);
  const parity = compatibilityScores([{ oldOld: 0.5, newOld: 0.5, newNew: 0.9, oracle: 0.9 }]);
  assert.deepEqual([parity.up, parity.comp, parity.one], [50, 50, 50]);
  const logistic = (x: number): number => 1 / (1 + Math.exp(-x));
  const better = compatibilityScores([{ oldOld: 0.5, newOld: 0.7, newNew: 0.88, oracle: 0.9 }]);
  const [u, c] = [logistic(-0.02 / 0.9), logistic(updateGain({ oldOld: 0.5, newOld: 0.7, oracle: 0.9 }))];
  near(better.comp, 100 * c, 1e-9);
  near(better.one, (200 * u * c) / (u + c), 1e-9);
});

/** Embeddings around a direction for each class; `noise` says how far, `turn` which space. */
function embeddings(name: string, { noise, turn }: { readonly noise: number; readonly turn: string }) {
  const [classes, each, dim] = [40, 6, 16];
  const direction = new Rng(turn);
  const centres = Array.from({ length: classes * dim }, () => direction.uniform() - 0.5);
  const own = new Rng(name);
  const rows = Float32Array.from(
    { length: classes * each * dim },
    (_, i) => centres[Math.floor(i / (each * dim)) * dim + (i % dim)]! + noise * (own.uniform() - 0.5),
  );
  return { name, rows, dim };
}
const world = {
  title: 'a small world',
  dataset: { path: 'p', digest: 'd' },
  labels: Int32Array.from({ length: 240 }, (_, i) => Math.floor(i / 6)),
  families: Int32Array.from({ length: 240 }, (_, i) => i % 6),
  resamples: 200,
};

test('evaluate tells a compatible model from one in a space of its own, and the old model from itself not at all', () => {
  const old = embeddings('old', { noise: 1.6, turn: 'a' });
  const result = evaluate({
    ...world,
    old,
    oracle: embeddings('oracle', { noise: 0.8, turn: 'b' }),
    candidates: [
      embeddings('good', { noise: 0.9, turn: 'a' }),
      embeddings('alien', { noise: 0.8, turn: 'c' }),
      { ...old, name: 'same' },
    ],
  });
  const rank1 = (name: string) =>
    result.candidates.find((c) => c.name === name)!.comparisons.find((c) => c.metric === 'rank-1')!;
  assert.equal(rank1('good').criterion, 'met');
  assert.equal(rank1('alien').criterion, 'missed');
  assert.ok(rank1('alien').newOld < 0.2, 'near chance');
  for (const c of result.candidates[2]!.comparisons)
    assert.deepEqual(c.difference, { value: 0, low: 0, high: 0 }, c.metric);
  assert.equal(result.tests.length, 1 + 2 * 4);
  for (const { identification } of result.tests)
    for (const { rank, rate } of identification!.ranks)
      assert.equal(identification!.cmc!.rate[rank - 1], rate, 'the CMC goes through the rates of the table');
  assert.deepEqual(JSON.parse(JSON.stringify(result)), result, 'all of it survives JSON');
  const again = evaluate({ ...world, old, candidates: [embeddings('good', { noise: 0.9, turn: 'a' })] });
  assert.deepEqual(again.tests[0], result.tests[0], 'the seed decides, not the company');
});

test('embeddings that are read when they are wanted, and pairs that are drawn, give the same or nearly the same figures', () => {
  const old = embeddings('old', { noise: 1.6, turn: 'a' });
  const good = embeddings('good', { noise: 0.9, turn: 'a' });
  const whole = evaluate({ ...world, old, candidates: [good] });
  let reads = 0;
  const lazy = (model: typeof old) => ({
    ...model,
    rows: () => {
      reads++;
      return model.rows.slice();
    },
  });
  assert.deepEqual(evaluate({ ...world, old: lazy(old), candidates: [lazy(good)] }), whole);
  assert.equal(reads, 2, 'each model is read once');
  assert.equal(whole.protocol.genuinePairsInAll, undefined);
  const sampled = evaluate({ ...world, old, candidates: [good], genuines: 300 });
  assert.deepEqual([sampled.protocol.genuinePairs, sampled.protocol.genuinePairsInAll], [300, 600]);
  // five standard deviations of a share of 300
  for (const [i, { verification }] of sampled.tests.entries())
    near(verification!.tar[4]!.atMost, whole.tests[i]!.verification!.tar[4]!.atMost, 5 * Math.sqrt(0.25 / 300));
  const left = evaluate({ ...world, missing: 3, old, candidates: [good] });
  assert.equal(left.dataset.missing, 3);
});

test('evaluate refuses what cannot be compared', () => {
  const old = embeddings('old', { noise: 1, turn: 'a' });
  const wide = { name: 'wide', rows: new Float32Array(240 * 8), dim: 8 };
  assert.throws(() => evaluate({ ...world, old, candidates: [wide] }), /wide makes 8 dimensions, the old model 16/);
  assert.throws(() => evaluate({ ...world, old, candidates: [old] }), /two models are called old/);
  assert.throws(
    () => evaluate({ ...world, old, candidates: [{ name: 'short', rows: old.rows.subarray(16), dim: 16 }] }),
    /short: 239 embeddings for 240 labels/,
  );
  const broken = { ...old, name: 'broken', rows: old.rows.slice().fill(Number.NaN, 40, 41) };
  assert.throws(() => evaluate({ ...world, old, candidates: [broken] }), /broken: row 2 is not finite/);
});
