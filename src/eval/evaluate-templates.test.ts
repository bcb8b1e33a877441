// Protocols of templates: the numbers of methods.md 8.14, a slow twin on random protocols, and what is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cosine,
  evaluation,
  identifySlowly,
  model,
  protocol,
  templatesOf,
  unit,
} from '../../test/helpers/templates.ts';
import { Rng } from '../base/rng.ts';
import { estimate, resampleIdentities } from './bootstrap.ts';
import { type EvaluateTemplatesOptions, evaluateTemplates, type TemplateModel } from './evaluate-templates.ts';
import { FPIR_TARGETS, hitRate, nonMatedScores, RANKS, thresholdAtFpir, tpir } from './identification.ts';
import { auc, FAR_TARGETS, roc, scoresByIdentity, tarAtMost, tarNearest } from './roc.ts';
import { TemplateSearches } from './template-search.ts';
import type { Templates } from './templates.ts';

/** Golden numbers are printed with eight digits. */
const PRINTED = 1e-8;
/** Sums in another order. */
const DOUBLE = 1e-12;

const near = (actual: number, expected: number, tolerance: number, what: string): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual}, wanted ${expected}`);

test('1:N has the numbers of 8.14', () => {
  const fill = (count: number, a: number, b: number): number[] =>
    Array.from({ length: count }, (_, k) => Math.sin(a + b * k));
  const [gallery, noise, strangers] = [fill(20, 0.2, 0.7), fill(25, 0.9, 1.3), fill(25, 1.9, 0.83)];
  gallery.splice(10, 10, ...fill(5, 2.2, 1.9), ...fill(5, 0.4, 2.6));
  const row = (flat: readonly number[], i: number): number[] => flat.slice(i * 5, (i + 1) * 5);
  const entries = [0, 1, 2, 3].map((i) => unit(row(gallery, i)));
  const queries = [
    ...[0, 1, 2, 3, 0].map((g, i) =>
      unit(entries[g]!.map((v, d) => v + [0.1, 0.3, 0.6, 0.9, 1.4][i]! * row(noise, i)[d]!)),
    ),
    ...[0, 1, 2, 3, 4].map((i) => unit(row(strangers, i))),
  ];
  const ids = (length: number): number[] => Array.from({ length }, (_, i) => i);
  const { searches } = new TemplateSearches(
    templatesOf(ids(4), entries),
    templatesOf(ids(10), queries),
    [{ templates: Int32Array.from(ids(4)), subjects: Int32Array.of(101, 102, 103, 104) }],
    { templates: Int32Array.from(ids(10)), subjects: Int32Array.of(101, 102, 103, 104, 101, 900, 901, 902, 903, 904) },
  ).found;
  const [found] = searches as [(typeof searches)[0]];
  assert.deepEqual(
    RANKS.map((rank) => 5 * hitRate(found, rank)),
    [4, 5, 5],
  );
  const falling = nonMatedScores(found);
  const golden = [
    [0.01, 0.94417272, 0.2],
    [0.1, 0.94417272, 0.2],
    [0.2, 0.94417272, 0.2],
    [0.4, 0.90503524, 0.2],
    [0.6, 0.83516522, 0.4],
    [1, 0.24483181, 0.8],
  ] as const;
  for (const [fpir, threshold, rate] of golden) {
    near(thresholdAtFpir(falling, fpir), threshold, PRINTED, `threshold at ${fpir}`);
    near(tpir(found, thresholdAtFpir(falling, fpir)), rate, DOUBLE, `TPIR at ${fpir}`);
  }
});

test('self and cross tests equal their slow twins on random protocols', () => {
  for (let seed = 0; seed < 5; seed++) {
    const set = protocol(seed);
    const [old, news] = [model('old', seed, set, 1.2), model('new', seed, set, 0.7)];
    const kept = new Map<string, number[]>();
    const { tests, protocol: drawn } = evaluateTemplates({
      ...evaluation(set, { old, candidates: [news] }),
      onScores: (query, gallery, { scores }) => {
        const key = `${query} → ${gallery}`;
        kept.set(key, [...(kept.get(key) ?? []), ...scores]);
      },
    });
    assert.deepEqual(
      tests.map(({ query, gallery }) => `${query} → ${gallery}`),
      ['old → old', 'new → new', 'new → old'],
    );
    const isEnrolled = (subject: number): boolean => set.galleries.some(({ subjects }) => subjects.includes(subject));
    assert.equal(drawn.identities, new Set([...set.probes.subjects].filter(isEnrolled)).size);
    const by: Readonly<Record<string, Templates>> = { old: old.templates, new: news.templates };
    for (const { query, gallery, verification, identification } of tests) {
      const [q, g] = [by[query]!, by[gallery]!];
      const scores = Float64Array.from(set.all.gallery, (id, k) => cosine(g, id, q, set.all.query[k]!));
      for (const [k, score] of kept.get(`${query} → ${gallery}`)!.entries()) near(score, scores[k]!, DOUBLE, `${k}`);
      const parted = scoresByIdentity(scores, set.all.same);
      const curve = roc(parted);
      near(verification!.auc, auc(curve), DOUBLE, 'AUC');
      assert.deepEqual(
        verification!.tar.map(({ nearest, atMost }) => [nearest, atMost]),
        FAR_TARGETS.map((far) => [tarNearest(curve, far), tarAtMost(parted, far)]),
      );
      const slow = set.galleries.map((entries) => identifySlowly(g, q, entries, set.probes));
      for (const [i, { ranks, tpir: rates, name }] of identification!.galleries!.entries()) {
        assert.equal(name, set.galleries[i]!.name);
        for (const { rank, rate } of ranks) near(rate, slow[i]!.top(rank), DOUBLE, `${name}, rank ${rank}`);
        for (const { fpir, rate } of rates) near(rate, slow[i]!.at(fpir), DOUBLE, `${name}, FPIR ${fpir}`);
      }
      const [first, second] = slow as [(typeof slow)[0], (typeof slow)[0]];
      for (const { rank, rate } of identification!.ranks) {
        const hits = first.top(rank) * first.mated + second.top(rank) * second.mated;
        near(rate, hits / (first.mated + second.mated), DOUBLE, `rank ${rank}`);
      }
      for (const fpir of FPIR_TARGETS) {
        const { rate } = identification!.tpir.find((entry) => entry.fpir === fpir)!;
        near(rate, (first.at(fpir) + second.at(fpir)) / 2, DOUBLE, `mean TPIR at ${fpir}`);
      }
      const union = {
        templates: Int32Array.from(set.galleries.flatMap(({ templates }) => [...templates])),
        subjects: Int32Array.from(set.galleries.flatMap(({ subjects }) => [...subjects])),
      };
      const joint = identifySlowly(g, q, union, set.probes);
      for (const { rank, rate } of identification!.mixed!) near(rate, joint.top(rank), DOUBLE, `mixed, rank ${rank}`);
    }
  }
});

/** Largest FAR of old → old in the tests of its threshold. */
const FAR = 0.06;

test('figures at the old threshold, their intervals and the grade equal their slow twins', () => {
  for (let seed = 0; seed < 4; seed++) {
    const set = protocol(seed);
    const [old, news] = [model('old', seed, set, 1.2), model('new', seed, set, 0.7)];
    const by: Readonly<Record<string, Templates>> = { old: old.templates, new: news.templates };
    const result = evaluateTemplates(evaluation(set, { old, candidates: [news], far: FAR }));
    const { gallery, query, same } = set.all;
    const scoresOf = (q: string, g: string): number[] =>
      Array.from(gallery, (id, k) => Math.round(cosine(by[g]!, id, by[q]!, query[k]!) * 2 ** 40) / 2 ** 40);
    const isGenuine = (k: number): boolean => same[k] === 1;
    const impostors = same.filter((x) => x === 0).length;
    /** The lowest genuine score that has at most this share of the impostors beside or above it. */
    const lowest = (scores: readonly number[]): number =>
      Math.min(...scores.filter((x, k) => isGenuine(k) && scores.filter((y, j) => !isGenuine(j) && y >= x).length <= FAR * impostors)); // biome-ignore format: short
    const least = lowest(scoresOf('old', 'old'));
    near(result.operatingPoint!.threshold, least, DOUBLE, 'old threshold');
    // the resampled templates, in the order in which genuine pairs name them, and the subjects of the probes
    const genuine = [...gallery.keys()].filter(isGenuine);
    const enrolled = [...new Set(genuine.map((k) => gallery[k]!))];
    const subjects = [...new Set(set.probes.subjects)];
    const rng = new Rng(0).split('evaluate');
    const templatesDrawn = resampleIdentities(enrolled.length, 20, rng.split('1:1'));
    const subjectsDrawn = resampleIdentities(subjects.length, 20, rng.split('1:N'));
    const share = (pairs: readonly number[], scores: readonly number[], weight: (k: number) => number): number => {
      const sum = (of: readonly number[]): number => of.reduce((all, k) => all + weight(k), 0);
      return sum(pairs.filter((k) => scores[k]! >= least)) / sum(pairs);
    };
    const replicates = new Map<string, { tar: Float64Array; far: Float64Array }>();
    for (const { query: q, gallery: g, operatingPoint } of result.tests) {
      const { atOldThreshold: at, keepingFar } = operatingPoint!;
      const scores = scoresOf(q, g);
      const others = [...gallery.keys()].filter((k) => !isGenuine(k));
      const weightIn = (weights: Uint16Array) => (k: number) => weights[enrolled.indexOf(gallery[k]!)] ?? 1;
      const estimates = { tar: genuine, far: others } as const;
      const resampled = (pairs: readonly number[]) => Float64Array.from(templatesDrawn, (weights) => share(pairs, scores, weightIn(weights))); // biome-ignore format: short
      replicates.set(`${q} ${g}`, { tar: resampled(genuine), far: resampled(others) });
      for (const [name, pairs] of Object.entries(estimates) as ['tar' | 'far', number[]][]) {
        const wanted = estimate(share(pairs, scores, () => 1), resampled(pairs)); // biome-ignore format: short
        for (const end of ['value', 'low', 'high'] as const) near(at[name][end], wanted[end], DOUBLE, `${name} of ${q} → ${g}`); // biome-ignore format: short
      }
      assert.equal(at.falseAccepts, others.filter((k) => scores[k]! >= least).length);
      near(keepingFar.threshold.value, lowest(scores), DOUBLE, 'threshold for the FAR');
      assert.ok(Number.isNaN(keepingFar.threshold.low));
      for (const [rates, from] of [[at, least], [keepingFar, lowest(scores)]] as const) {
        const searches = set.galleries.map((entries) => Array.from(set.probes.templates, (probe, p) => {
          const list = Array.from(entries.templates, (id, e) => ({ mine: entries.subjects[e] === set.probes.subjects[p], score: cosine(by[g]!, id, by[q]!, probe) })).sort((a, b) => b.score - a.score);
          const mated = list.some(({ mine }) => mine);
          return { mated, counts: list[0]!.score > from - 2 ** -41 && (!mated || list[0]!.mine), subject: subjects.indexOf(set.probes.subjects[p]!) };
        })); // biome-ignore format: short
        const rate = (mated: boolean, weights?: Uint16Array): number => {
          const asked = searches.map((found) => found.filter((one) => one.mated === mated));
          const sum = (of: readonly { subject: number }[]): number => of.reduce((all, { subject }) => all + (weights?.[subject] ?? 1), 0); // biome-ignore format: short
          return asked.reduce((all, found) => all + sum(found.filter(({ counts }) => counts)) / sum(found), 0) / asked.length; // biome-ignore format: short
        };
        for (const [name, mated] of [['tpir', true], ['fpir', false]] as const) {
          const wanted = estimate(rate(mated), Float64Array.from(subjectsDrawn, (weights) => rate(mated, weights)));
          for (const end of ['value', 'low', 'high'] as const) near(rates[name][end], wanted[end], DOUBLE, `${name} of ${q} → ${g}`); // biome-ignore format: short
        } // biome-ignore format: short
      } // biome-ignore format: short
    }
    const { grade, tarDifference, farDifference, falseAccepts } = result.candidates[0]!.dropIn!;
    const [crossed, own] = [replicates.get('new old')!, replicates.get('old old')!];
    const paired = (name: 'tar' | 'far') => crossed[name].map((x, r) => x - own[name][r]!);
    near(tarDifference.low, estimate(0, paired('tar')).low, DOUBLE, 'difference in TAR');
    near(farDifference.high, estimate(0, paired('far')).high, DOUBLE, 'difference in FAR');
    assert.equal(falseAccepts, result.tests[0]!.operatingPoint!.atOldThreshold.falseAccepts);
    assert.ok(grade !== 'withheld');
  }
});

test('a template without a genuine pair counts once in every resample; without 1:N its rates are not known, without 1:1 there is no grade', () => {
  const set = protocol(1);
  const [old, news] = [model('old', 1, set, 1.2), model('new', 1, set, 0.4)];
  const loner = set.ids[0]!;
  const blocks = set.blocks.map(({ gallery, query, same }) => {
    const kept = [...gallery.keys()].filter((k) => gallery[k] !== loner || same[k] === 0);
    const taken = (column: Int32Array) => Int32Array.from(kept, (k) => column[k]!);
    return { gallery: taken(gallery), query: taken(query), same: Uint8Array.from(kept, (k) => same[k]!) };
  });
  const options = evaluation(set, { old, candidates: [news], far: FAR });
  const { tests, candidates } = evaluateTemplates({
    ...options,
    pairs: { blocks: () => blocks },
    identification: null,
  });
  const { far, tpir } = tests[0]!.operatingPoint!.atOldThreshold;
  assert.ok(far.low < far.value && far.value <= FAR && far.high > far.value && far.high < 1);
  assert.ok(Number.isNaN(tpir.value));
  assert.ok(candidates[0]!.dropIn);
  const searched = evaluateTemplates({ ...options, pairs: null });
  assert.ok(searched.operatingPoint === undefined && searched.candidates[0]!.dropIn === undefined);
});

test('a new model near the old one serves its gallery, an unrelated one does not; the matrix names every run', () => {
  const set = protocol(7);
  const old = model('old', 1, set, 1.2);
  const better = model('better', 1, set, 0.4);
  const turned = {
    name: 'turned',
    templates: { ...better.templates, rows: better.templates.rows.map((v, k) => (k % 6 < 3 ? -v : v)) },
  };
  const result = evaluateTemplates(evaluation(set, { old, oracle: turned, candidates: [better] }));
  assert.equal(result.tests.length, 5);
  const rankOne = (query: string, gallery: string): number =>
    result.tests.find((t) => t.query === query && t.gallery === gallery)!.identification!.ranks[0]!.rate;
  assert.ok(rankOne('better', 'old') > rankOne('old', 'old'));
  assert.ok(rankOne('turned', 'old') < 0.3);
  near(rankOne('turned', 'turned'), rankOne('better', 'better'), DOUBLE, 'a turned space is as good to itself');
  assert.deepEqual(
    result.candidates[0]!.comparisons.map(({ metric }) => metric),
    ['TAR@FAR=1e-4', 'TAR@FAR=1e-5', 'rank-1', 'TPIR@FPIR=1e-1', 'TPIR@FPIR=1e-2'],
  );
  const rank = result.candidates[0]!.comparisons.find(({ metric }) => metric === 'rank-1')!;
  assert.equal(rank.difference.value, rankOne('better', 'old') - rankOne('old', 'old'));
  assert.ok(rank.difference.low <= rank.difference.value && rank.difference.value <= rank.difference.high);
});

test('searches and genuine pairs that change are those of a search by hand, and bands agree with the intervals', () => {
  const set = protocol(5);
  const [old, fresh] = [model('old', 5, set, 1.2), model('new', 5, set, 1)];
  const { candidates, tests } = evaluateTemplates(evaluation(set, { old, candidates: [fresh] }));
  const [{ changes, comparisons }] = candidates as [(typeof candidates)[0]];
  const [searches, pairs] = [changes!.searches!, changes!.pairs!];
  const found = set.galleries.flatMap(({ templates, subjects }) =>
    [...set.probes.templates].flatMap((query, p) => {
      const right = templates[subjects.indexOf(set.probes.subjects[p]!)];
      if (right === undefined) return [];
      const [byOld, byNew] = [old, fresh].map((by) =>
        [...templates].sort((a, b) => cosine(old.templates, b, by.templates, query) - cosine(old.templates, a, by.templates, query)),
      ) as [number[], number[]];
      return { query, right, byOld, byNew };
    }),
  ); // biome-ignore format: short
  const repaired = found.filter(({ right, byOld, byNew }) => byOld[0] !== right && byNew[0] === right);
  const broken = found.filter(({ right, byOld, byNew }) => byOld[0] === right && byNew[0] !== right);
  assert.ok(repaired.length > 3 && broken.length > 0, `${repaired.length}, ${broken.length}`);
  assert.deepEqual([searches.searches, searches.repaired.count, searches.broken.count], [found.length, repaired.length, broken.length]); // biome-ignore format: short
  const rank1 = comparisons.find(({ metric }) => metric === 'rank-1')!;
  near(searches.repaired.share.value - searches.broken.share.value, rank1.difference.value, DOUBLE, 'rank-1');
  assert.ok(searches.repaired.share.low < searches.repaired.share.value);
  for (const { query, right, wrong, oldRank, newRank } of searches.examples.repaired) {
    const twin = repaired.find((one) => one.query === query && one.right === right)!;
    assert.deepEqual([wrong, oldRank, newRank], [twin.byOld[0], twin.byOld.indexOf(right) + 1, 1]);
  }
  assert.equal(searches.examples.repaired.length, new Set(repaired.map(({ query }) => set.subjectOf.get(query))).size);

  const accepted = (by: TemplateModel, threshold: number): boolean[] =>
    [...set.all.gallery.keys()].flatMap((k) => set.all.same[k] === 1 ? [cosine(old.templates, set.all.gallery[k]!, by.templates, set.all.query[k]!) > threshold] : []); // biome-ignore format: short
  const [was, is] = [accepted(old, pairs.oldThreshold), accepted(fresh, pairs.newThreshold)];
  assert.deepEqual(
    [pairs.genuine.pairs, pairs.genuine.repaired.count, pairs.genuine.broken.count],
    [was.length, is.filter((now, k) => now && !was[k]).length, was.filter((before, k) => before && !is[k]).length],
  );
  const { verification, identification } = tests.find(({ query, gallery }) => query === 'new' && gallery === 'old')!;
  assert.equal(is.filter(Boolean).length / is.length, verification!.tar.find(({ far }) => far === pairs.far)!.atMost);
  for (const far of [1e-4, 1e-3]) {
    const { interval } = verification!.tar.find((one) => one.far === far)!;
    const at = verification!.band!.x.findIndex((x) => Math.abs(x - far) < 1e-9);
    assert.deepEqual([verification!.band!.low[at], verification!.band!.high[at]], [interval!.low, interval!.high]);
  }
  const { interval } = identification!.ranks[0]!;
  assert.deepEqual(
    [identification!.cmcBand!.low[0], identification!.cmcBand!.high[0]],
    [interval!.low, interval!.high],
  );
});

test('a part that is not asked for is null, and a model without an old one is tested on itself', () => {
  const set = protocol(2);
  const alone = { candidates: [model('alone', 1, set, 0.5)] };
  const pairsOnly = evaluateTemplates({ ...evaluation(set, alone), identification: null });
  assert.equal(pairsOnly.tests[0]!.identification, null);
  assert.deepEqual(pairsOnly.candidates, []);
  const searchesOnly = evaluateTemplates({ ...evaluation(set, alone), pairs: null });
  assert.equal(searchesOnly.tests[0]!.verification, null);
  assert.equal(searchesOnly.protocol.probes, set.probes.templates.length);
});

test('what makes no sense is refused', () => {
  const set = protocol(3);
  const old = model('old', 1, set, 0.5);
  const refused = (models: Partial<EvaluateTemplatesOptions>, message: RegExp): void => {
    assert.throws(() => evaluateTemplates(evaluation(set, models)), message);
  };
  refused({ candidates: [old, old] }, /two models are called old/);
  const small = {
    name: 'small',
    templates: templatesOf(
      set.ids,
      set.ids.map(() => unit([1, 2])),
    ),
  };
  refused({ old, candidates: [small] }, /small makes 2 dimensions, the old model 6/);
  const [first, second] = set.galleries as [(typeof set.galleries)[0], (typeof set.galleries)[0]];
  const both = { ...second, subjects: second.subjects.with(0, first.subjects[0]!) };
  refused(
    { old, identification: { galleries: [first, both], probes: set.probes } },
    new RegExp(`subject ${first.subjects[0]} has two gallery entries`),
  );
  const absent = { ...set.probes, templates: set.probes.templates.with(0, 2) };
  refused({ old, identification: { galleries: set.galleries, probes: absent } }, /template 2 has no images/);
  const alike = set.blocks.map((block) => ({ ...block, same: block.same.map(() => 1) }));
  refused({ old, pairs: { blocks: () => alike } }, /no impostor pair/);
});
