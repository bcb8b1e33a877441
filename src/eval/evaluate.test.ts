import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NonFiniteError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { evaluate } from './evaluate.ts';

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

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
  const judged = (query: string, gallery: string) =>
    result.tests.find((t) => t.query === query && t.gallery === gallery)!.judged!;
  for (const { name, comparisons } of result.candidates)
    assert.deepEqual(
      judged(name, 'old').map(({ metric, overOld }) => [metric, overOld]),
      comparisons.map(({ metric, difference }) => [metric, difference]),
    );
  for (const { metric, value, overOld } of judged('oracle', 'oracle')) {
    const { oldOld, oracle } = result.candidates[0]!.comparisons.find((c) => c.metric === metric)!;
    near(overOld.value, oracle! - oldOld, 1e-12, metric);
    assert.ok(value.value === oracle && value.low <= value.value && value.value <= value.high);
  }
  assert.ok(judged('old', 'old').every(({ overOld: { low, high } }) => low === 0 && high === 0));
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
  assert.throws(() => evaluate({ ...world, old, candidates: [broken] }), NonFiniteError);
});
