// The metric of docs/adding-a-metric.md, as it stands there, is in every table, file and verdict once it is in the list.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadPage } from '../../../test/helpers/page.ts';
import { Rng } from '../../base/rng.ts';
import { evaluate } from '../index.ts';
import { search } from '../search-tally.ts';
import { identificationTest } from '../test-results.ts';
import { metrics } from './index.ts';
import type { Metric } from './metric.ts';

const IDENTITIES = 120;
const labels = Int32Array.from({ length: IDENTITIES * 3 }, (_, i) => i % IDENTITIES);
const DIM = 8;

/** Embeddings of a direction for each identity, and noise. */
function model(name: string, noise: number) {
  const draw = new Rng(name);
  const rows = Float32Array.from({ length: labels.length * DIM }, (_, k) => {
    const identity = labels[Math.floor(k / DIM)]!;
    return Math.sin(1 + identity * (3 + (k % DIM))) + noise * (draw.uniform() - 0.5);
  });
  return { name, rows, dim: DIM };
}

test('the page on adding a metric shows one that every report and verdict takes in', async (t) => {
  const { meanReciprocalRank } = await loadPage<{ readonly meanReciprocalRank: Metric }>(t, 'adding-a-metric.md');
  (metrics as Metric[]).push(meanReciprocalRank); // the line in the list
  const { renderHtml, renderMarkdown, renderSummaryMarkdown, renderTerminal } = await import('../../report/index.ts');
  const options = {
    title: 'metric',
    dataset: { path: 'set', digest: 'none' },
    labels,
    families: new Int32Array(labels.length).fill(-1),
    old: model('old', 3),
    oracle: model('oracle', 0.5),
    candidates: [model('new', 0.5)],
    resamples: 50,
  };
  const evaluation = evaluate(options);
  for (const { metrics: [mrr] = [], identification } of evaluation.tests) {
    assert.equal(mrr?.name, 'MRR');
    const rankOne = identification!.ranks[0]!.rate;
    assert.ok(mrr.value >= rankOne && mrr.value <= rankOne + (1 - rankOne) / 2, `${mrr.value}, rank-1 ${rankOne}`);
    assert.ok(mrr.interval!.low <= mrr.value && mrr.value <= mrr.interval!.high);
  }
  const comparison = evaluation.candidates[0]!.comparisons.find(({ metric }) => metric === 'MRR')!;
  assert.equal(comparison.criterion, 'met');
  assert.ok(comparison.difference.low > 0);
  for (const report of [renderTerminal(evaluation), renderHtml(evaluation), renderMarkdown(evaluation)]) {
    assert.match(report, /rank-5.*MRR/s);
    assert.match(report, /beat the old model.*MRR\)/s);
  }
  assert.match(renderMarkdown(evaluation), /\* \*\*MRR\*\*: mean of 1 \/ rank/);
  assert.match(
    renderSummaryMarkdown([
      { name: 'a', evaluation },
      { name: 'b', evaluation },
    ]),
    /\*\*MRR \(old → old /,
  );
});

test("a mean over probes is that of each probe's rank, and of identities written out in each resample", () => {
  const rng = new Rng(3);
  const [probes, entries] = [40, 5];
  const similarity = Float32Array.from({ length: probes * entries }, () => rng.integer(7));
  const identity = Int32Array.from({ length: probes }, () => rng.integer(8));
  const enrolled = identity.map((s) => (s < entries ? s : -1));
  const ranks = Array.from(identity, (own, p) => {
    const row = similarity.subarray(p * entries, (p + 1) * entries);
    return own < entries ? row.filter((value) => value >= row[own]!).length : Number.NaN;
  });
  const weights = [Uint16Array.from({ length: 8 }, () => rng.integer(4)), new Uint16Array(8).fill(1)];
  const { test: searched } = identificationTest([search(similarity, enrolled, { size: entries })], identity, weights);
  const { value, replicates } = searched.meanOverProbes((rank) => 1 / rank);
  const mean = (of: Uint16Array): number => {
    const all = ranks.flatMap((rank, p) => (rank > 0 ? new Array<number>(of[identity[p]!]!).fill(1 / rank) : []));
    return all.reduce((sum, x) => sum + x, 0) / all.length;
  };
  for (const [r, of] of weights.entries()) assert.ok(Math.abs(replicates![r]! - mean(of)) < 1e-12);
  assert.ok(Math.abs(value - mean(weights[1]!)) < 1e-12);
});
