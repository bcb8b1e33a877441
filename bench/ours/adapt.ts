// adapt.js FOLDER OUT: fits the linear adapters from x to y as `mixbct adapt fit` does; prints as bench/peer/adapt.py does.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lowRank } from '../../src/adapt/low-rank.ts';
import { momentsOf } from '../../src/adapt/moments.ts';
import { pairedRows, rowsOfBoth } from '../../src/adapt/paired-sets.ts';
import { procrustes } from '../../src/adapt/procrustes.ts';
import { ridge } from '../../src/adapt/ridge.ts';
import { Rng } from '../../src/base/rng.ts';
import { FeatureSet, writeNpy } from '../../src/features/index.ts';
import { buildInfo, scope, to, toFloat64, transpose } from '../../src/torch/index.ts';

const FOLDS = 5;
const [folder, out] = process.argv.slice(2) as [string, string];
buildInfo(); // libtorch is there before the clock starts, as NumPy is

type Cost = { seconds: number; cpuSeconds: number };
const parts: Record<string, Cost> = {};
function timed<T>(name: string, work: () => T): T {
  const [start, before] = [performance.now(), process.cpuUsage()];
  const result = work();
  const { user, system } = process.cpuUsage(before);
  parts[name] = { seconds: (performance.now() - start) / 1000, cpuSeconds: (user + system) / 1e6 };
  return result;
}

scope(() => {
  const training = timed('moments', () => {
    using x = FeatureSet.open(join(folder, 'x'));
    using y = FeatureSet.open(join(folder, 'y'));
    const labels = x.labels();
    const rows = rowsOfBoth(x, y);
    const pairs = pairedRows(x, y, rows);
    const folds = Array.from({ length: FOLDS }, (_, fold) => {
      const own = Int32Array.from(rows.keys()).filter((i) => labels[rows[i]!]! % FOLDS === fold);
      return { rows: own, moments: momentsOf(pairs, own) };
    });
    return { pairs, folds, rng: new Rng(0) };
  });
  const settings: Record<string, number> = {};
  for (const candidate of [procrustes, ridge, lowRank]) {
    const fitted = timed(candidate.method, () => candidate.fit(training));
    Object.assign(settings, fitted.settings);
    const weight = transpose(to(fitted.map['weight']!, { dtype: 'float64' }));
    writeNpy(join(out, `${candidate.method}.npy`), '<f8', toFloat64(weight));
  }
  const sum = (of: (cost: Cost) => number): number => Object.values(parts).reduce((total, cost) => total + of(cost), 0);
  const [, peakKb] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))!;
  const total = { seconds: sum(({ seconds }) => seconds), cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds) };
  process.stdout.write(`${JSON.stringify({ parts, total, ...settings, peakMb: Number(peakKb) / 1024 })}\n`);
});
