import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { digestOf } from '../artifacts/digest.ts';
import { backfillFiles } from '../backfill/backfill-artifact.ts';
import { openBackfillOrder } from '../backfill/order-file.ts';
import { type BackfillSimulation, backfillOrders } from '../backfill/simulation.ts';
import { silentReporter } from '../base/progress.ts';
import { Rng } from '../base/rng.ts';
import type { Calibration } from '../eval/calibration.ts';
import { metrics } from '../eval/metrics/index.ts';
import { writeFeatureSet } from '../features/index.ts';
import { writeAdapter } from './adapt.ts';
import { type SimulateBackfillOptions, writeBackfill } from './backfill.ts';
import { evaluateSets } from './evaluate-sets.ts';
import { simulateBackfillStage } from './simulate-backfill.ts';
import { writeThresholds } from './thresholds.ts';

const [CLASSES, IMAGES, DIM] = [60, 6, 12];
const COUNT = CLASSES * IMAGES;
const labels = Int32Array.from({ length: COUNT }, (_, i) => Math.floor(i / IMAGES));
const MISSING = 7;

/** Rows of classes around their centres; those of noisy images are short. */
function embeddings(name: string, noise: number): Float32Array {
  const centres = unitRows(CLASSES, DIM, new Rng('centres'));
  const noises = unitRows(COUNT, DIM, new Rng(name));
  const strength = new Rng(`${name} strength`);
  const factors = Float64Array.from(labels, () => 0.3 + 1.4 * strength.uniform());
  return noises.map((value, i) => {
    const row = Math.floor(i / DIM);
    return (centres[labels[row]! * DIM + (i % DIM)]! + noise * factors[row]! * value) / (1 + factors[row]!);
  });
}

/** Dimensions in another order and with other signs. */
const turned = (rows: Float32Array): Float32Array =>
  rows.map((_, i) => (i % 2 === 0 ? 1 : -1) * rows[i - (i % DIM) + ((i + 5) % DIM)]!);

type WriteOptions = { readonly dim?: number; readonly ids?: boolean; readonly missing?: number } & Partial<
  Pick<Parameters<typeof writeFeatureSet>[1], 'model' | 'adapter'>
>;

/** `old` sees with noise, `new` better and in the same space, `foreign` in a space of its own. */
async function world(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const write = async (
    name: string,
    rows: Float32Array,
    { dim = DIM, ids = true, missing = -1, ...origin }: WriteOptions = {},
  ) => {
    const dataset = { path: 'images', digest: 'images', count: COUNT, classes: CLASSES };
    const content = {
      ...{ dim, classes: CLASSES, labels, families: new Int32Array(COUNT).fill(-1), flip: 'none' as const, dataset },
      model: { name, digest: `digest of ${name}`, preset: 'default', differences: [], trainedOn: null },
      id: ids ? (row: number) => `picture ${row}` : null,
      ...origin,
    };
    await writeFeatureSet(at(name), content, {}, ({ append, markMissing }) => {
      if (missing >= 0) rows.fill(0, missing * dim, (missing + 1) * dim);
      append(rows);
      if (missing >= 0) markMissing([{ row: missing, id: `picture ${missing}`, problem: 'unreadable' }]);
    });
  };
  await write('old', embeddings('old', 1), { missing: MISSING });
  await write('new', embeddings('new', 0.7));
  await write('foreign', turned(embeddings('foreign', 0.6)));
  const simulate = (options: Partial<SimulateBackfillOptions> = {}) =>
    writeBackfill({
      old: at('old'),
      new: at('new'),
      out: at('out'),
      steps: 5,
      draws: 3,
      resamples: 20,
      force: true,
      ...options,
    });
  return { at, write, simulate };
}

/** Both ends of every curve, and old → old, are those of an evaluation with the same seed. */
async function requireEnds(
  simulation: BackfillSimulation,
  options: Omit<Parameters<typeof evaluateSets>[0], 'title' | 'seed' | 'force'>,
): Promise<void> {
  const { tests } = await evaluateSets({ ...options, title: '', seed: 0, resamples: 10, force: true });
  const of = (query: string, gallery: string, metric: string): number =>
    metrics.find(({ name }) => name === metric)!.stored!(
      tests.find((one) => one.query === query && one.gallery === gallery)!,
    )!;
  for (const { metric, oldOld, newOld, newNew } of simulation.ends) {
    const wanted = [of('old', 'old', metric), of('new', 'old', metric), of('new', 'new', metric)];
    assert.deepEqual([oldOld, newOld, newNew], wanted, metric);
    const curves = simulation.curves.filter((curve) => curve.metric === metric);
    assert.ok(curves.length > 0);
    for (const { value, order, merge } of curves)
      assert.deepEqual([value[0], value.at(-1)], wanted.slice(1), `${metric} ${order} ${merge}`);
  }
}

test('compatible models: curves, page and orders of the rows that both have, with ends as evaluated', async (t) => {
  const { at, simulate } = await world(t);
  const simulation = await simulate();
  await requireEnds(simulation, { old: at('old'), candidates: [{ name: 'new', features: at('new') }], out: at('judged') }); // biome-ignore format: short
  assert.deepEqual(simulation, JSON.parse(readFileSync(backfillFiles(at('out')).simulation, 'utf8')));
  assert.equal(simulation.dataset.missing, 1);
  assert.deepEqual(simulation.shares, [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual([...new Set(simulation.curves.map(({ order }) => order))], backfillOrders);
  for (const name of backfillOrders) {
    const { rows, ids } = openBackfillOrder(at('out'), name);
    assert.deepEqual(
      [...rows].sort((a, b) => a - b),
      Array.from(labels.keys()).filter((row) => row !== MISSING),
      name,
    );
    assert.equal(ids!.at(rows[0]!), `picture ${rows[0]}`);
  }
  const areas = new Map(
    simulation.curves.flatMap(({ order, merge, metric, area }) =>
      merge === 'direct' && metric === 'rank-1' ? [[order, area]] : [],
    ),
  );
  assert.ok(areas.get('labelled-oracle')! > areas.get('random')! + 0.01, 'knowing the labels must help');
  assert.ok(areas.get('nearest-mean-last')! > areas.get('nearest-mean-first')!, 'poor rows gain most');
  for (const { worst, metric } of simulation.curves) {
    const { value, low, high } = worst.overOld;
    assert.ok(low <= high && low - 0.1 < value && value < high + 0.1, metric);
  }
  const random = simulation.curves.find(({ order, metric }) => order === 'random' && metric === 'rank-1')!;
  assert.ok(random.value.every((x, s) => random.low![s]! <= x && x <= random.high![s]!));
  assert.ok(random.high![2]! > random.low![2]!, 'draws differ');
  const page = readFileSync(backfillFiles(at('out')).page, 'utf8');
  for (const text of ['rank-1, scores direct', 'TAR@FAR=1e-3, scores calibrated', 'rank-1, scores rank-fusion', 'labelled-oracle']) // biome-ignore format: short
    assert.ok(page.includes(text), text);
  assert.doesNotMatch(page, /https?:\/\/(?!www\.w3\.org)|NaN|undefined/);
  assert.deepEqual(await simulate(), simulation, 'the same seed gives the same numbers');
});

test('models that share no space meet through an adapter in either direction, with ends as evaluated', async (t) => {
  const { at, simulate } = await world(t);
  const common = { old: at('old'), new: at('foreign') };
  for (const direction of ['query', 'gallery'] as const) {
    const adapter = at(direction);
    await writeAdapter({ ...common, direction, out: adapter, metric: 'rank-1', resamples: 50, allowWorse: true });
    const simulation = await simulate({ ...common, adapter, draws: 1, orders: ['random', 'disagreement'] });
    assert.equal(simulation.crossing, `${direction} adapter`);
    const candidates = [{ name: 'new', features: at('foreign'), adapter }];
    await requireEnds(simulation, { old: at('old'), candidates, out: at('judged') });
    assert.equal(openBackfillOrder(at('out'), 'disagreement').info.adapter?.direction, direction);
  }
  const through = await simulate({ ...common, adapter: at('query'), orders: ['random'], draws: 1 });
  const plain = await simulate({ ...common, orders: ['random'], draws: 1 });
  const start = ({ ends }: BackfillSimulation): number => ends.find(({ metric }) => metric === 'rank-1')!.newOld;
  assert.ok(start(through) > start(plain) + 0.2, 'without the adapter, new queries find nothing in the old space');
});

test('an experiment has a stage for it, which takes calibrations of an evaluation', async (t) => {
  const { at } = await world(t);
  const candidates = [{ name: 'new', features: at('new') }];
  await evaluateSets({ title: '', old: at('old'), candidates, seed: 0, resamples: 10, out: at('judged') });
  const few = { orders: ['random'], merges: ['calibrated'], draws: 2, steps: 2, impostors: 5000, resamples: 10 };
  await simulateBackfillStage.run(
    { do: 'simulate-backfill', old: 'a', new: 'b', evaluation: 'judged', ...few },
    (reference) => at({ a: 'old', b: 'new' }[reference] ?? reference),
    {
      ...{ id: 'move', title: 'A move', seed: 4, out: at('stage'), dataFolder: at('data'), workers: 0 },
      ...{
        force: false,
        restart: false,
        resume: false,
        signal: new AbortController().signal,
        reporter: silentReporter,
      },
    },
  );
  assert.equal(openBackfillOrder(at('stage'), 'random').info.seed, 4);
});

test('what cannot be simulated is refused, and what cannot be ordered is skipped with the reason', async (t) => {
  const { at, write, simulate } = await world(t);
  await write('wide', new Float32Array(COUNT * 4).fill(1), { dim: 4 });
  await assert.rejects(simulate({ new: at('wide') }), /has 4 dimensions, .*old has 12: new queries cannot be compared/);
  await assert.rejects(simulate({ memoryBytes: 1e6 }), /takes at least 0\.4\d GB, it may take 0\.0010 GB/);
  await write('zeros', new Float32Array(COUNT * DIM));
  await assert.rejects(simulate({ new: at('zeros') }), /359 of 359 embeddings are zeros/);
  const even = unitRows(COUNT, DIM, new Rng('even'));
  await write('even', even, { ids: false });
  const simulation = await simulate({ old: at('even'), draws: 1, merges: ['direct'] });
  assert.deepEqual(
    simulation.skipped.map(({ what }) => what),
    ['uncertain-first'],
  );
  assert.throws(() => openBackfillOrder(at('out'), 'uncertain-first'), /has no order uncertain-first/);
});

test('features that cross have the dimensions of those that they meet, and cross in one way', async (t) => {
  const { at, write, simulate } = await world(t);
  const narrow = new Float32Array(COUNT * 4).fill(1);
  await write('narrow', narrow, { dim: 4, model: null }); // such as import-features writes
  const meets = (path: string) =>
    new RegExp(`narrow has 4 dimensions, \\S*/${path} has 12: their embeddings cannot be compared\\n.*--space old`);
  await assert.rejects(simulate({ inOldSpace: at('narrow') }), meets('old'));
  const common = { digest: 'an adapter', method: 'ridge' };
  const models = { old: 'digest of old', new: 'digest of new' };
  const through = { query: { from: models.new, to: models.old }, gallery: { from: models.old, to: models.new } };
  for (const direction of ['query', 'gallery'] as const) {
    await write(`${direction}/narrow`, narrow, { dim: 4, adapter: { ...common, direction, ...through[direction] } });
    await assert.rejects(
      simulate({ inOldSpace: at(`${direction}/narrow`) }),
      meets(direction === 'query' ? 'old' : 'new'),
    );
  }
  await assert.rejects(
    simulate({ inOldSpace: at('foreign'), adapter: at('adapter') }),
    /got the adapter \S+adapter and the features \S+foreign, wanted one way .*\n.*leave out/,
  );
});

test('calibrations of a file take the place of those that are fitted', async (t) => {
  const { at, simulate } = await world(t);
  const candidates = [{ name: 'new', features: at('new') }];
  await evaluateSets({ title: '', old: at('old'), candidates, seed: 0, resamples: 10, out: at('judged') });
  const { thresholds } = writeThresholds([at('judged')], { out: at('thresholds.json') });
  const few = { orders: ['disagreement'], merges: ['direct', 'calibrated'], steps: 4 } as const;
  const known = [at('thresholds.json'), at('judged')]; // the evaluation itself has them, too
  const [byFile, byEvaluation] = [await simulate({ ...few, thresholds: known[0] }), await simulate({ ...few, thresholds: known[1] })]; // biome-ignore format: short
  assert.deepEqual(byEvaluation.curves, byFile.curves);
  const curves = async (...calibrations: readonly Calibration[]) => {
    const [evaluation] = thresholds.evaluations;
    const [old, fresh] = calibrations;
    const pairs = evaluation!.pairs.map((pair) =>
      pair.query === 'new' && old && fresh ? { ...pair, calibration: pair.gallery === 'old' ? old : fresh } : pair,
    );
    writeFileSync(at('given.json'), JSON.stringify({ ...thresholds, evaluations: [{ ...evaluation, pairs }] }));
    const { curves } = await simulate({ ...few, thresholds: at('given.json') });
    const of = (merge: string) => curves.filter((curve) => curve.merge === merge).map(({ metric, value }) => [metric, value] as const); // biome-ignore format: short
    return { direct: of('direct'), calibrated: of('calibrated') };
  };
  const platt = (intercept: number): Calibration => ({ kind: 'platt', slope: 1, intercept });
  const same = await curves(platt(0), platt(0));
  assert.deepEqual(same.calibrated, same.direct, 'scores on their own scale');
  const apart = await curves(platt(0), platt(-9));
  for (const [i, [metric, value]] of apart.calibrated.entries()) {
    const direct = apart.direct[i]![1];
    assert.deepEqual([value[0], value.at(-1)], [direct[0], direct.at(-1)], metric);
    if (metric === 'rank-1') assert.ok(value[2]! < direct[2]! - 0.1, 'rows that are not moved always come first');
  }
  assert.notDeepEqual((await curves()).calibrated, same.calibrated);
  await assert.rejects(simulate({ ...few, new: at('foreign'), thresholds: at('thresholds.json') }), /thresholds\.json: has no calibration of queries of foreign on vectors of old\n.*mixbct thresholds/); // biome-ignore format: short
  await assert.rejects(simulate({ merges: ['direct'], thresholds: at('thresholds.json') }), /--merges calibrated/);
});

test('a calibration of projected queries is none of queries as they are, nor the reverse', async (t) => {
  const { at, write, simulate } = await world(t);
  const model = { name: 'new', digest: digestOf('digest of new', 'old'), preset: 'default', differences: [], trainedOn: null }; // biome-ignore format: short
  await write('projected', embeddings('projected', 0.7), { model });
  const judge = (out: string, inOldSpace?: string) =>
    evaluateSets({ title: '', old: at('old'), candidates: [{ name: 'new', features: at('new'), ...(inOldSpace && { inOldSpace }) }], seed: 0, resamples: 10, out: at(out) }); // biome-ignore format: short
  await judge('direct');
  await judge('crossed', at('projected'));
  const few = { orders: ['random'], merges: ['calibrated'], draws: 1, steps: 2 } as const;
  await simulate({ ...few, thresholds: at('direct') });
  await simulate({ ...few, inOldSpace: at('projected'), thresholds: at('crossed') });
  await assert.rejects(simulate({ ...few, thresholds: at('crossed') }), /crossed: has no calibration of queries of new on vectors of old\n/); // biome-ignore format: short
  await assert.rejects(simulate({ ...few, inOldSpace: at('projected'), thresholds: at('direct') }), /direct: has no calibration of queries of new on vectors of old through the projection\n/); // biome-ignore format: short
});
