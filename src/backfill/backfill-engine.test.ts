// The engine against brute force: every score of every mixture computed on its own, ranks and thresholds by their definitions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { countAboveFalling, impostorsKept, sortPairsByScore, tarReplicates } from '../eval/bootstrap.ts';
import { createTestRunner, evaluate } from '../eval/evaluate.ts';
import { drawProtocol, evaluationRng, type LabelledSetProtocol } from '../eval/labelled-set-protocol.ts';
import { metrics } from '../eval/metrics/index.ts';
import { cosine, type Embeddings, NO_SCORE, unitEmbeddings } from '../eval/scores.ts';
import { BackfillEngine, endsOf, type MovingSpaces, movingPairs, replicatesOf } from './backfill-engine.ts';
import { sharesOf } from './move-steps.ts';
import { randomOrder } from './orders.ts';
import { drawResampling } from './resampling.ts';
import { directScales, rising, type ScoreScales } from './score-scales.ts';
import { scaleScores } from './search-curves.ts';
import { requireRoomForLists } from './search-lists.ts';
import type { ScoreMerge } from './simulation.ts';

const [CLASSES, IMAGES] = [24, 5];
const COUNT = CLASSES * IMAGES;
const labels = Int32Array.from({ length: COUNT }, (_, i) => i % CLASSES);
const families = new Int32Array(COUNT).fill(-1);
const MEMORY = 1e9;

/** Rows around a direction for each class. */
function noisy(name: string, dim: number, noise: number): Embeddings {
  const draw = new Rng(name);
  const centres = Float32Array.from({ length: CLASSES * dim }, () => draw.uniform() - 0.5);
  const rows = Float32Array.from(
    { length: COUNT * dim },
    (_, k) => centres[labels[Math.floor(k / dim)]! * dim + (k % dim)]! + noise * (draw.uniform() - 0.5),
  );
  return unitEmbeddings(rows, dim, name);
}

/** Rows of length 1 whose products are exact in any precision: ±e and (±½ …) in four dimensions, and some zeros. Most scores tie. */
function tying(name: string): Embeddings {
  const draw = new Rng(name);
  const row = (rng: Rng): number[] => {
    const sign = (): number => (rng.uniform() < 0.5 ? -1 : 1);
    if (rng.uniform() < 0.5) return [0, 1, 2, 3].map(() => sign() / 2);
    const axis = rng.integer(4);
    return [0, 1, 2, 3].map((d) => (d === axis ? sign() : 0));
  };
  const rows = Array.from(labels, (label) => {
    const chance = draw.uniform();
    return chance < 0.04 ? [0, 0, 0, 0] : row(chance < 0.6 ? new Rng(name).split(label) : draw);
  });
  return { rows: Float32Array.from(rows.flat()), dim: 4 };
}

const worlds: Readonly<Record<string, MovingSpaces & { readonly old: Embeddings }>> = {
  'compatible models': world(noisy('centre', 8, 1.2), noisy('centre', 8, 0.9)),
  'a query adapter, other dimensions': {
    old: noisy('old', 6, 1),
    meeting: { queries: noisy('old', 6, 1.3), gallery: noisy('old', 6, 1) },
    new: noisy('new', 9, 0.8),
  },
  'unrelated models': world(noisy('one', 8, 1), noisy('other', 8, 0.8)),
  'ties and zeros': world(tying('first'), tying('second')),
  'one model twice': world(noisy('centre', 8, 1), noisy('centre', 8, 1)),
};

function world(old: Embeddings, moved: Embeddings) {
  return { old, meeting: { queries: moved, gallery: old }, new: moved };
}

/** Maps that rise in different ways, with steps that only `rising` tells apart. */
const calibration: ScoreScales = {
  old: rising((score) => Math.floor(6 * score) / 6 + 0.1),
  new: rising((score) => Math.atan(3 * score) / 2),
};

/** Scores of one query with one gallery row in a mixture, on the common scale. */
type ScoreOf = (query: number, row: number) => number;

/** All metrics of a mixture in which `movedIn` says what is moved, by definition. */
function bruteForce(
  { split, pairs }: LabelledSetProtocol,
  { meeting, new: fresh }: MovingSpaces,
  merge: ScoreMerge,
  movedIn: { readonly galleries: readonly ((row: number) => boolean)[]; readonly rows: (row: number) => boolean },
): Map<string, number> {
  const scales = merge === 'calibrated' ? calibration : directScales;
  const scoreIn =
    (moved: (row: number) => boolean): ScoreOf =>
    (query, row) => {
      const score = moved(row)
        ? cosine(fresh.rows, query, fresh.rows, row, fresh.dim)
        : cosine(meeting.queries.rows, query, meeting.gallery.rows, row, meeting.gallery.dim);
      return score === NO_SCORE ? score : (moved(row) ? scales.new : scales.old)(score);
    };
  const found = new Map<string, number>();
  const perGallery = split.galleries.map(({ entries, enrolled }, g) => {
    const moved = movedIn.galleries[g]!;
    const score = scoreIn(moved);
    const searches = Array.from(split.probes, (probe, p) => {
      const own = enrolled[p]!;
      const scores = Array.from(entries, (row) => score(probe, row));
      const others = scores.filter((_, j) => j !== own);
      if (own < 0) return { best: Math.max(...others), rank: null, own: Number.NaN };
      const ownScore = scores[own]!;
      const aheadOf = (isIn: (row: number) => boolean): number =>
        scores.filter((value, j) => j !== own && isIn(entries[j]!) && value >= ownScore).length;
      if (ownScore === NO_SCORE) return { best: 0, rank: Number.POSITIVE_INFINITY, own: ownScore };
      if (merge !== 'rank-fusion') return { best: 0, rank: 1 + aheadOf(() => true), own: ownScore };
      const inMoved = moved(entries[own]!);
      const ahead = aheadOf((row) => moved(row) === inMoved);
      // rows are taken in turn: the first moved one, the first that is not, the second moved one, …
      const turns = inMoved ? ahead : ahead + 1;
      const elsewhere = Array.from(entries).filter((row) => moved(row) !== inMoved).length;
      return { best: 0, rank: 1 + ahead + Math.min(turns, elsewhere), own: ownScore };
    });
    return searches;
  });
  const mated = perGallery.flat().filter(({ rank }) => rank !== null);
  for (const k of [1, 5]) found.set(`rank-${k}`, mated.filter(({ rank }) => rank! <= k).length / mated.length);
  if (merge === 'rank-fusion') return found;
  for (const [name, fpir] of [['TPIR@FPIR=1e-1', 0.1], ['TPIR@FPIR=1e-2', 0.01]] as const) // biome-ignore format: short
    found.set(
      name,
      perGallery
        .map((searches) => {
          const outsiders = searches.flatMap(({ rank, best }) => (rank === null ? [best] : [])).sort((x, y) => y - x);
          const threshold = outsiders[Math.max(Math.floor(fpir * outsiders.length + 1e-9) - 1, 0)]!;
          const own = searches.filter(({ rank }) => rank !== null);
          return own.filter((search) => search.rank === 1 && search.own > threshold).length / own.length;
        })
        .reduce((sum, rate, _, all) => sum + rate / all.length, 0),
    );
  const score = scoreIn(movedIn.rows);
  const scoresOf = ({ query, gallery }: (typeof pairs)['genuine']): number[] =>
    Array.from(query, (q, i) => score(q, gallery[i]!));
  const impostors = scoresOf(pairs.impostor).sort((x, y) => y - x);
  const threshold = impostors[Math.floor(1e-3 * impostors.length + 1e-9)]!;
  const genuine = scoresOf(pairs.genuine);
  found.set('TAR@FAR=1e-3', genuine.filter((value) => value > threshold).length / genuine.length);
  return found;
}

/** Rates are ratios of the same counts, summed in another order. */
const ROUNDING = 1e-12;

for (const [name, spaces] of Object.entries(worlds))
  test(`every metric at every share is that of brute force: ${name}`, () => {
    const protocol = drawProtocol({ labels, families }, { seed: 3 });
    const engine = new BackfillEngine(protocol, spaces, {
      ...{ pairs: movingPairs(protocol, spaces), calibration, rankFusion: true, memoryBytes: MEMORY },
    });
    const withoutFusion = new BackfillEngine(protocol, spaces, {
      ...{ pairs: movingPairs(protocol, spaces), calibration, rankFusion: false, memoryBytes: MEMORY },
    });
    const shares = sharesOf(7);
    const merges = ['direct', 'calibrated', 'rank-fusion'] as const;
    let changes = 0;
    for (let draw = 0; draw < 3; draw++) {
      const order = randomOrder(COUNT, new Rng(name).split(draw));
      const curves = engine.curves(order, shares, merges);
      assert.deepEqual(
        withoutFusion.curves(order, shares, ['direct', 'calibrated']),
        curves.filter(({ merge }) => merge !== 'rank-fusion'),
        'lists that keep less for want of rank fusion',
      );
      for (const [s, share] of shares.entries()) {
        const first = (rows: readonly number[]) => {
          const moved = new Set(rows.slice(0, Math.round(share * rows.length)));
          return (row: number): boolean => moved.has(row);
        };
        const movedIn = {
          galleries: protocol.split.galleries.map(({ entries }) => first(Array.from(order).filter((row) => entries.includes(row)))), // biome-ignore format: short
          rows: first(Array.from(order)),
        };
        for (const merge of merges) {
          const wanted = bruteForce(protocol, spaces, merge, movedIn);
          const found = curves.filter((curve) => curve.merge === merge);
          assert.deepEqual(
            found.map(({ metric }) => metric),
            [...wanted.keys()],
          );
          for (const { metric, value } of found) {
            const difference = Math.abs(value[s]! - wanted.get(metric)!);
            assert.ok(difference < ROUNDING, `${merge} ${metric} at ${share}: ${value[s]}, ${wanted.get(metric)}`);
            if (s > 0 && value[s] !== value[s - 1]) changes++;
          }
        }
      }
    }
    if (name !== 'one model twice')
      assert.ok(changes > 50, `${changes} changes: curves that hardly move prove nothing`);
  });

test('both ends, and old → old, are the very numbers of an evaluation', () => {
  for (const [name, { old, meeting, new: fresh }] of Object.entries(worlds)) {
    const protocol = drawProtocol({ labels, families }, { seed: 3 });
    const spaces = { meeting, new: fresh };
    const pairs = movingPairs(protocol, spaces);
    const engine = new BackfillEngine(protocol, spaces, { pairs, calibration, rankFusion: true, memoryBytes: MEMORY });
    const model = (rows: Embeddings) => ({ rows: rows.rows.slice(), dim: rows.dim });
    const crosses = meeting.queries !== fresh;
    const { tests } = evaluate({
      ...{ title: '', dataset: { path: '', digest: '' }, labels, families, seed: 3, resamples: 10, maxZeroShare: 1 },
      old: { name: 'old', ...model(old) },
      candidates: [{ name: 'new', ...model(fresh), ...(crosses && { inOldSpace: model(meeting.queries) }) }],
    });
    const wanted = (query: string, gallery: string, metric: string): number =>
      metrics.find((one) => one.name === metric)!.stored!(
        tests.find((one) => one.query === query && one.gallery === gallery)!,
      )!;
    const { ends } = endsOf(protocol, old, engine, { resamples: 10, seed: 3 });
    for (const end of ends)
      assert.deepEqual(
        [end.oldOld, end.newOld, end.newNew],
        [['old', 'old'], ['new', 'old'], ['new', 'new']].map(([q, g]) => wanted(q!, g!, end.metric)),
        `${name}: ${end.metric}`,
      ); // biome-ignore format: short
    const order = randomOrder(COUNT, new Rng('ends'));
    for (const { merge, metric, value } of engine.curves(order, sharesOf(5), ['direct', 'calibrated', 'rank-fusion'])) {
      const end = ends.find((one) => one.metric === metric)!;
      assert.deepEqual([value[0], value.at(-1)], [end.newOld, end.newNew], `${name}: ${merge} ${metric}`);
    }
  }
});

test('a metric in resamples of the identities is that of an evaluation at both ends, and its value where all weigh one', () => {
  for (const [name, { meeting, new: fresh }] of Object.entries(worlds)) {
    const protocol = drawProtocol({ labels, families }, { seed: 3 });
    const spaces = { meeting, new: fresh };
    const pairs = movingPairs(protocol, spaces);
    const engine = new BackfillEngine(protocol, spaces, { pairs, calibration, rankFusion: true, memoryBytes: MEMORY });
    const resampling = drawResampling(protocol, 20, 3);
    const once = { ...resampling, drawn: [new Uint16Array(CLASSES).fill(1)], totals: Float64Array.of(pairs.impostor.row.length) }; // biome-ignore format: short
    const run = createTestRunner(protocol, { resamples: 20, rng: evaluationRng(3).split('bootstrap') });
    const [start, end] = [run(meeting.queries, meeting.gallery), run(fresh, fresh)];
    const tarOf = (side: 'old' | 'new'): Float64Array => {
      const sorted = (kind: 'genuine' | 'impostor') => {
        const { row, query } = pairs[kind];
        const sides = [row, query].map((of) => of.map((at) => resampling.identity[at]!));
        return sortPairsByScore({ score: Float32Array.from(pairs[kind][side]), a: sides[0]!, b: sides[1]! });
      };
      // the engine keeps the impostors that decide nearly all resamples; a resample of so few identities may need more
      const { score, a, b } = sorted('impostor');
      const lowest = score[impostorsKept(1e-3, score.length) - 1]!;
      const kept = countAboveFalling(score, lowest) + score.filter((x) => x === lowest).length;
      const highest = { score: score.subarray(0, kept), a: a.subarray(0, kept), b: b.subarray(0, kept) };
      return tarReplicates(sorted('genuine'), highest, [1e-3], resampling.drawn, resampling.totals, score.length)[0]!;
    };
    const order = randomOrder(COUNT, new Rng('resampled'));
    for (const { merge, metric, value } of engine.curves(order, [0, 0.5, 1], ['direct', 'calibrated', 'rank-fusion'])) {
      const at = (share: number, how = resampling) => engine.replicates(order, share, { merge, metric }, how);
      for (const [s, share] of [0, 0.5, 1].entries())
        assert.ok(Math.abs(at(share, once)[0]! - value[s]!) < ROUNDING, `${name}: ${merge} ${metric} at ${share}`);
      if (metric === 'TAR@FAR=1e-3') {
        assert.deepEqual([at(0), at(1)], [tarOf('old'), tarOf('new')], `${name}: ${merge} ${metric}`);
        continue;
      }
      assert.deepEqual(at(0), replicatesOf(metric, start.tests), `${name}: ${merge} ${metric}`);
      assert.deepEqual(at(1), replicatesOf(metric, end.tests), `${name}: ${merge} ${metric}`);
    }
  }
});

test('a gallery that is moved to the model that it is of keeps every metric at every share', () => {
  const spaces = worlds['one model twice']!;
  const protocol = drawProtocol({ labels, families }, { seed: 3 });
  const pairs = movingPairs(protocol, spaces);
  const engine = new BackfillEngine(protocol, spaces, { pairs, rankFusion: false, memoryBytes: MEMORY });
  for (const { metric, value } of engine.curves(randomOrder(COUNT, new Rng(1)), sharesOf(9), ['direct']))
    assert.ok(
      value.every((x) => x === value[0]),
      metric,
    );
});

test('lists that outgrow the memory are refused before they are whole', () => {
  const spaces = worlds['unrelated models']!;
  const protocol = drawProtocol({ labels, families }, { seed: 3 });
  const pairs = movingPairs(protocol, spaces);
  assert.throws(
    () => new BackfillEngine(protocol, spaces, { pairs, rankFusion: true, memoryBytes: 1000 }),
    /the entries that may be found take about .* GB, it may take 0\.0000010 GB/,
  );
});

test('the memory of lists is that of all their arrays and of calibrated scores, and no list is longer than its positions can count', () => {
  const spaces = worlds['unrelated models']!;
  const protocol = drawProtocol({ labels, families }, { seed: 3 });
  const engineIn = (memoryBytes: number) =>
    new BackfillEngine(protocol, spaces, {
      ...{ pairs: movingPairs(protocol, spaces), calibration, rankFusion: true, memoryBytes },
    });
  const bytesOf = (arrays: object): number =>
    Object.values(arrays).reduce((sum, array) => sum + (ArrayBuffer.isView(array) ? array.buffer.byteLength : 0), 0);
  const allocated = engineIn(MEMORY).galleries.reduce((sum, { lists }) => {
    const { own, others } = scaleScores(lists, calibration);
    return sum + [lists.mated, lists.nonMated, own, others].reduce((all, arrays) => all + bytesOf(arrays), 0);
  }, 0);
  const OF_ONE_PROBE = 2 * 5 * 1024; // what is found before it is kept
  engineIn(allocated + OF_ONE_PROBE);
  assert.throws(() => engineIn(allocated + OF_ONE_PROBE - 1), /the entries that may be found take about/);
  const room = (entries: number) => () => requireRoomForLists([{ bytes: 1, entries }], { share: 1, memoryBytes: 1e12 });
  assert.doesNotThrow(room(2 ** 31 - 1));
  assert.throws(
    room(2 ** 31),
    /a list has 2147483648 entries that may be found, it may have 2147483647\n.*fewer probes/,
  );
});
