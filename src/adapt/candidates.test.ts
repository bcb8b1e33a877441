import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gap } from '../../test/helpers/formula.ts';
import { golden } from '../../test/helpers/golden.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { Rng } from '../base/rng.ts';
import { matmul, scope, sub, toFloat32, toFloat64, toNumbers, transpose } from '../torch/index.ts';
import { type AdapterMap, mapFlat } from './adapter-map.ts';
import type { Candidate, TrainingPairs } from './candidate.ts';
import { chooseRank, lowRank, lowRankWeight } from './low-rank.ts';
import { momentsOf } from './moments.ts';
import type { PairedRows } from './paired-rows.ts';
import { procrustes, procrustesWeight } from './procrustes.ts';
import { residualMlp } from './residual-mlp.ts';
import { chooseStrength, ridge, ridgeSystem, ridgeWeight, STRENGTHS } from './ridge.ts';

/** Rows are float32, sums and solutions float64. */
const OF_FLOAT32_ROWS = 2e-5;

const inMemory = (x: Float32Array, y: Float32Array, p: number, q: number): PairedRows => ({
  dims: { x: p, y: q },
  read: (rows) => {
    const of = (all: Float32Array, dim: number) =>
      Float32Array.from(Array.from(rows).flatMap((row) => Array.from(all.subarray(row * dim, (row + 1) * dim))));
    return { x: of(x, p), y: of(y, q) };
  },
});
const all = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

test('procrustes, ridge and low rank are those of NumPy, for equal and unequal dimensions', () => {
  for (const { x, y, p, q, strength, rank, ...wanted } of golden('adapters.json'))
    scope(() => {
      const moments = momentsOf(inMemory(Float32Array.from(x), Float32Array.from(y), p, q), all(x.length / p));
      const system = ridgeSystem(moments);
      const found = {
        procrustes: procrustesWeight(moments),
        ridge: ridgeWeight(system, strength),
        lowRank: lowRankWeight(system, { strength, rank }),
      };
      for (const [name, weight] of Object.entries(found)) {
        assert.deepEqual(weight.shape, [p, q]);
        assert.ok(gap(toFloat64(weight), wanted[name]) < OF_FLOAT32_ROWS, `${name} ${p} → ${q}`);
      }
    });
});

/** Rows in five folds; x of length 1, y what `map` makes of a row plus noise. */
function planted(
  {
    p,
    q,
    count = 1000,
    noise = 0,
  }: { readonly p: number; readonly q: number; readonly count?: number; readonly noise?: number },
  map: (row: Float32Array) => number[],
): TrainingPairs {
  const rng = new Rng('planted');
  const x = unitRows(count, p, rng.split('x'));
  const y = new Float32Array(count * q);
  const draw = rng.split('noise');
  for (let i = 0; i < count; i++)
    y.set(
      map(x.subarray(i * p, (i + 1) * p)).map((value) => value + noise * (draw.uniform() - 0.5)),
      i * q,
    );
  const pairs = inMemory(x, y, p, q);
  const folds = [0, 1, 2, 3, 4].map((fold) => all(count).filter((i) => i % 5 === fold));
  return { pairs, folds: folds.map((rows) => ({ rows, moments: momentsOf(pairs, rows) })), rng: rng.split('fit') };
}

/** Largest distance of a mapped row from its target. */
function error({ pairs }: TrainingPairs, map: AdapterMap, count = 1000): number {
  const { x, y } = pairs.read(all(count));
  return gap(mapFlat(map, x, pairs.dims.x), y);
}

/** A fixed rotation of p dimensions, or its first q columns: products of rotations of two neighbours. */
const rotated =
  (q: number) =>
  (row: Float32Array): number[] => {
    const out = Array.from(row);
    for (let turn = 0; turn < 3; turn++)
      for (let d = 0; d + 1 < out.length; d++) {
        const [a, b, angle] = [out[d]!, out[d + 1]!, 0.5 + d + turn];
        out[d] = a * Math.cos(angle) - b * Math.sin(angle);
        out[d + 1] = a * Math.sin(angle) + b * Math.cos(angle);
      }
    return [...out, ...new Array<number>(Math.max(0, q - out.length)).fill(0)].slice(0, q);
  };

test('a planted rotation is recovered by all but the identity, also into a larger space and, by linear maps, into a smaller one', () => {
  for (const [candidate, sizes] of [
    [procrustes, [8, 12]],
    [ridge, [8, 12, 5]],
    [lowRank, [8, 12, 5]],
    [residualMlp, [8]],
  ] as const satisfies readonly (readonly [Candidate, readonly number[]])[])
    for (const q of sizes)
      scope(() => {
        const training = planted({ p: 8, q }, rotated(q));
        const { map } = candidate.fit(training);
        assert.ok(error(training, map) < OF_FLOAT32_ROWS, `${candidate.method} 8 → ${q}`);
      });
});

test('the map of Procrustes has orthogonal columns, or rows where the target is larger', () => {
  for (const q of [5, 8, 12])
    scope(() => {
      const training = planted({ p: 8, q, noise: 1 }, rotated(q));
      const weight = procrustesWeight(training.folds[0]!.moments);
      const product = q > 8 ? matmul(weight, transpose(weight)) : matmul(transpose(weight), weight);
      const eye = Array.from({ length: product.numel }, (_, i) => (i % (Math.min(8, q) + 1) === 0 ? 1 : 0));
      assert.ok(gap(toFloat64(product), eye) < 1e-12, `${q}`);
    });
});

test('a planted linear map of rank 2 with noise: ridge and low rank come near, the rank is found, Procrustes cannot', () => {
  const linear = (row: Float32Array): number[] => {
    const [a, b] = [row[0]! + 0.5 * row[3]!, row[1]! - row[2]!];
    return [a, 2 * b, a - b, a + b, 0.3 * a, b];
  };
  scope(() => {
    const [noisy, clean] = [0.2, 0].map((noise) => planted({ p: 8, q: 6, noise }, linear));
    // uniform noise of width 0.2 leaves 0.2 · √(8 / 12 / 1000) ≈ 0.005 of it in a prediction; five times that is never reached
    assert.ok(error(clean!, ridge.fit(noisy!).map) < 0.025);
    const { map, settings } = lowRank.fit(noisy!);
    assert.equal(settings['rank'], 2);
    assert.ok(error(clean!, map) < 0.025);
    assert.ok(error(clean!, procrustes.fit(noisy!).map) > 0.25);
  });
});

test('strength and rank have the smallest squared error on held-out folds, computed row by row', () => {
  scope(() => {
    const training = planted({ p: 8, q: 6, count: 60, noise: 2 }, rotated(6));
    const errorOf = (weightOf: (system: ReturnType<typeof ridgeSystem>) => ReturnType<typeof ridgeWeight>): number => {
      let total = 0;
      for (const fold of training.folds) {
        const others = training.folds.filter((other) => other !== fold).flatMap(({ rows }) => [...rows]);
        const system = ridgeSystem(momentsOf(training.pairs, Int32Array.from(others)));
        const weight = toNumbers(weightOf(system));
        const [mx, my] = [toNumbers(system.means.x), toNumbers(system.means.y)];
        const { x, y } = training.pairs.read(fold.rows);
        for (let i = 0; i < fold.rows.length; i++)
          for (let j = 0; j < 6; j++) {
            let mapped = my[j]!;
            for (let d = 0; d < 8; d++) mapped += (x[i * 8 + d]! - mx[d]!) * weight[d * 6 + j]!;
            total += (mapped - y[i * 6 + j]!) ** 2;
          }
      }
      return total;
    };
    const least = <T>(options: readonly T[], of: (option: T) => number): T =>
      options.reduce((a, b) => (of(b) < of(a) ? b : a));
    const strength = chooseStrength(training);
    assert.equal(
      strength,
      least(STRENGTHS, (one) => errorOf((system) => ridgeWeight(system, one))),
    );
    assert.equal(
      chooseRank(training, strength),
      least([1, 2, 3, 4, 5, 6], (rank) => errorOf((system) => lowRankWeight(system, { strength, rank }))),
    );
  });
});

test('the residual network learns what no linear map can, and is the linear map where there is nothing else', () => {
  scope(() => {
    const bent = planted({ p: 4, q: 4, count: 800 }, (row) => Array.from(row, Math.abs));
    const cosine = ({ map }: { readonly map: AdapterMap }): number => {
      const { x, y } = bent.pairs.read(all(800));
      const mapped = mapFlat(map, x, 4);
      let total = 0;
      for (let i = 0; i < 800; i++) {
        const [a, b] = [mapped.subarray(4 * i, 4 * i + 4), y.subarray(4 * i, 4 * i + 4)];
        total += a.reduce((sum, value, d) => sum + value * b[d]!, 0) / (Math.hypot(...a) * Math.hypot(...b));
      }
      return total / 800;
    };
    const [linear, residual] = [ridge.fit(bent), residualMlp.fit(bent)];
    assert.ok(residual.settings['epochs']! > 0);
    assert.ok(1 - cosine(residual) < 0.5 * (1 - cosine(linear)), `${cosine(residual)} against ${cosine(linear)}`);
    const again = residualMlp.fit(bent);
    for (const [name, value] of Object.entries(residual.map))
      assert.deepEqual(toFloat32(value), toFloat32(again.map[name]!), `${name}: the same seed, the same adapter`);
    assert.ok(toFloat32(sub(linear.map['weight']!, residual.map['weight']!)).every((value) => value === 0));
  });
});
