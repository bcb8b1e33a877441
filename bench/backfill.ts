import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { openBackfillOrder } from '../src/backfill/order-file.ts';
import type { BackfillSimulation } from '../src/backfill/simulation.ts';
import { searchParts } from '../src/eval/gallery-search.ts';
import { drawProtocol, type LabelledSetProtocol } from '../src/eval/labelled-set-protocol.ts';
import { tarAtMost } from '../src/eval/roc.ts';
import { type Embeddings, pairScores, unitEmbeddings } from '../src/eval/scores.ts';
import { identificationTest } from '../src/eval/test-results.ts';
import { FeatureSet } from '../src/features/index.ts';
import { setThreads } from '../src/torch/index.ts';
import { type Bench, measured, median, tell } from './bench.ts';
import { type CommandCost, commandCost } from './command-cost.ts';
import { benchFolder } from './room.ts';
import { DIM, writeSyntheticSets } from './synthetic-sets.ts';

const BAR = 20;
/** Points that are recomputed: shares of the move. */
const RECOMPUTED = [0.25, 0.5, 0.75];
const ORDER = 'disagreement';

/** A simulated backfill against evaluating each mixture of moved and unmoved rows on its own. */
export const backfill: Bench = {
  summary: 'backfill simulate with 100,000 entries and 10,000 probes, against recomputing each point of its curves',
  async run({ small }) {
    const [entries, probes] = small ? [10_000, 1_000] : [100_000, 10_000];
    const folder = mkdtempSync(join(benchFolder(4 * 4 * entries * DIM), 'mixbct-bench-'));
    try {
      const labels = Int32Array.from({ length: 2 * entries }, (_, i) => i % entries);
      await writeSyntheticSets(folder, labels, entries);
      const simulate = (out: string, ...options: readonly string[]): CommandCost =>
        commandCost(folder, [
          ...['backfill', 'simulate', '--old', join(folder, 'old'), '--new', join(folder, 'new'), ...options],
          ...['--probes', `${probes}`, '--out', join(folder, out)],
        ]);
      const whole = simulate('whole');
      tellCost('all orders and merges', whole);
      const direct = simulate('direct', '--merges', 'direct');
      tellCost('scores compared as they are', direct);
      const point = recompute(folder, labels, probes);
      tell(`  one point recomputed: ${point.toFixed(1)} s`);
      const { shares, protocol, curves } = JSON.parse(
        readFileSync(join(folder, 'direct/backfill.json'), 'utf8'),
      ) as BackfillSimulation;
      const orders = new Set(curves.map(({ order }) => order)).size - 1 + protocol.draws;
      const points = orders * (shares.length - 2) + 2; // both ends are the same in every order
      const ratio = (points * point) / direct.seconds;
      return { ...measured(ratio, BAR, 'higher'), entries, probes, dim: DIM, points, point, whole, direct };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

const tellCost = (what: string, { seconds, cpuSeconds, peakMb }: CommandCost): void =>
  tell(`  ${what}: ${seconds.toFixed(0)} s, ${cpuSeconds.toFixed(0)} CPU-s, ${peakMb.toFixed(0)} MB`);

/**
 * Seconds that the metrics of one mixture take if it is evaluated on its own.
 * @throws Error if they are not those of the simulation.
 */
function recompute(folder: string, labels: Int32Array, probes: number): number {
  setThreads(availableParallelism());
  const read = (name: string): Embeddings => {
    using set = FeatureSet.open(join(folder, name));
    return unitEmbeddings(set.all().slice(), DIM, name);
  };
  const [old, moved] = [read('old'), read('new')];
  const protocol = drawProtocol({ labels, families: new Int32Array(labels.length).fill(-1) }, { seed: 0, probes });
  const { rows: order } = openBackfillOrder(join(folder, 'direct'), ORDER);
  const { shares, curves } = JSON.parse(
    readFileSync(join(folder, 'direct/backfill.json'), 'utf8'),
  ) as BackfillSimulation;
  const seconds = RECOMPUTED.map((share) => {
    const galleryOf = (members: ReadonlySet<number>): Embeddings => mixture(old, moved, order, members, share);
    const { split, pairs } = protocol;
    const galleries = split.galleries.map(({ entries }) => galleryOf(new Set(entries)));
    const ofPairs = galleryOf(new Set(order));
    const start = performance.now();
    const found = evaluatePoint(protocol, moved, galleries, pairs, ofPairs);
    const took = (performance.now() - start) / 1000;
    for (const { metric, value } of curves.filter((curve) => curve.order === ORDER)) {
      const at = value[shares.indexOf(share)]!;
      // similarities of single precision are rounded by their place in a block, which a mixture changes
      if (Math.abs(at - found.get(metric)!) > ROUNDED * (1 / probes))
        throw new Error(`${metric} at ${share}: simulated ${at}, recomputed ${found.get(metric)}`);
    }
    return took;
  });
  return median(seconds);
}

/** Probes that rounding may decide in another way. */
const ROUNDED = 3;

/** The gallery when the first round(share · n) of its members in an order are moved. */
function mixture(old: Embeddings, moved: Embeddings, order: Int32Array, members: ReadonlySet<number>, share: number) {
  const rows = old.rows.slice();
  const own = order.filter((row) => members.has(row));
  for (const row of own.subarray(0, Math.round(share * own.length)))
    rows.set(moved.rows.subarray(row * DIM, (row + 1) * DIM), row * DIM);
  return { rows, dim: DIM };
}

/** The metrics of a simulation, by the functions of an evaluation. */
function evaluatePoint(
  { split }: LabelledSetProtocol,
  queries: Embeddings,
  galleries: readonly Embeddings[],
  pairs: LabelledSetProtocol['pairs'],
  ofPairs: Embeddings,
): Map<string, number> {
  const searches = split.galleries.flatMap(({ entries, enrolled }, g) =>
    searchParts({ ...queries, positions: split.probes }, { ...galleries[g]!, positions: entries }, [
      { start: 0, size: entries.length, enrolled },
    ]),
  );
  const { test } = identificationTest(searches, new Int32Array(split.probes.length), []);
  const scores = {
    genuine: pairScores(queries, ofPairs, pairs.genuine).sort(),
    impostor: pairScores(queries, ofPairs, pairs.impostor).sort(),
  };
  const rank = (most: number): number => test.meanOverProbes((found) => (found <= most ? 1 : 0)).value;
  return new Map([
    ['rank-1', rank(1)],
    ['rank-5', rank(5)],
    ['TPIR@FPIR=1e-1', test.tpir(1e-1).value],
    ['TPIR@FPIR=1e-2', test.tpir(1e-2).value],
    ['TAR@FAR=1e-3', tarAtMost(scores, 1e-3)],
  ]);
}
