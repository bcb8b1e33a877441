// LCE, RACT, BT² and HOC: slow twins, finite differences, and what each is for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { setupOf, stepOf, termOf, zeroHead } from '../../test/helpers/step.ts';
import { OrthonormalLinear } from '../nn/index.ts';
import {
  add,
  copy_,
  eye,
  gradients,
  linear,
  matmul,
  narrow,
  noGrad,
  normalizeRows,
  requireGrad,
  scope,
  type Tensor,
  tensor,
  to,
  toFloat64,
  toNumbers,
  transpose,
} from '../torch/index.ts';
import { bt2 } from './bt2.ts';
import { hoc } from './hoc.ts';
import { cosineBoundary, lce } from './lce.ts';
import { ract } from './ract.ts';

/** Sums of the same float64 numbers in another order. */
const FLOAT64_SUMS = 1e-12;
/** Rows of a matrix in single precision, from one linear system. */
const FLOAT32 = 1e-5;
const [B, C, D] = [5, 4, 3];
const labels = [0, 2, 0, 1, 3];

type Rows = readonly (readonly number[])[];
const rowsOf = (x: Tensor): number[][] => {
  const [flat, width] = [toFloat64(x), x.shape[1]!];
  return Array.from({ length: x.shape[0]! }, (_, i) => Array.from(flat.slice(i * width, (i + 1) * width)));
};
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, v, d) => sum + v * b[d]!, 0);

/** RACT by the definition, sample by sample. */
function contrastSlowly(news: Rows, olds: Rows, temperature: number, newNegatives: boolean): number {
  const losses = labels.map((label, i) => {
    const e = (row: readonly number[]): number => Math.exp(dot(news[i]!, row) / temperature);
    const others = labels.flatMap((other, j) => (other === label ? [] : [j]));
    const negatives = others.reduce((sum, j) => sum + e(olds[j]!) + (newNegatives ? e(news[j]!) : 0), 0);
    return -Math.log(e(olds[i]!) / (e(olds[i]!) + negatives));
  });
  return losses.reduce((a, b) => a + b) / losses.length;
}

const contrast = (options: { temperature: number; newNegatives: boolean }) => (embeddings: Tensor) =>
  termOf(
    ract
      .start({ weight: 1, ...options }, setupOf({ oldDim: D, classes: C }))
      .terms(stepOf({ embeddings, labels: int64(labels), old: { oldEmbedding: fillUnitRows([B, D], 0.5, 0.9) } })),
    'contrast',
  );

test('RACT equals its definition sample by sample, and finite differences, with and without new negatives', () => {
  for (const newNegatives of [true, false]) {
    const term = contrast({ temperature: 0.2, newNegatives });
    scope(() => {
      const news = fill([B, D], 0.1, 1.3);
      const olds = rowsOf(fillUnitRows([B, D], 0.5, 0.9));
      const slow = contrastSlowly(rowsOf(normalizeRows(news)), olds, 0.2, newNegatives);
      assert.ok(Math.abs(term(news).item() - slow) < FLOAT64_SUMS);
    });
    assert.ok(gradientGap(term, fill([B, D], 0.1, 1.3)) < DIFFERENCES);
  }
});

test('RACT: a new row of another class that is nearer than the own old row costs, only if new rows are negatives', () =>
  scope(() => {
    const oldEmbedding = tensor(Float64Array.of(1, 0, 0, 0, 1, 0), { shape: [2, 3] });
    const apart = tensor(Float64Array.of(1, 0, 1, 0, 1, -1), { shape: [2, 3] });
    const near = tensor(Float64Array.of(1, 0, 1, 0, 1, 1), { shape: [2, 3] });
    const at = (embeddings: Tensor, newNegatives: boolean): number =>
      termOf(
        ract
          .start({ weight: 1, temperature: 0.05, newNegatives }, setupOf({ oldDim: 3 }))
          .terms(stepOf({ embeddings, labels: int64([0, 1]), old: { oldEmbedding } })),
        'contrast',
      ).item();
    assert.ok(at(near, true) > at(apart, true) + 0.01);
    assert.ok(Math.abs(at(near, false) - at(apart, false)) < FLOAT64_SUMS);
  }));

/** Old embeddings of the classes, several of each, as the artefact of boundaries has them. */
function oldClasses() {
  const near = (label: number): Tensor =>
    normalizeRows(add(fill([1, D], label, 0.83), fill([3, D], 0.4 + label, 0.83, 0.3)));
  const samples = Array.from({ length: C }, (_, label) => rowsOf(near(label)));
  const centres = samples.map((rows) => rows[0]!.map((_, d) => rows.reduce((sum, row) => sum + row[d]! / 3, 0)));
  const radii = samples.map((rows, c) =>
    Math.max(...rows.map((row) => Math.hypot(...row.map((v, d) => v - centres[c]![d]!)))),
  );
  const unit = centres.map((row) => row.map((v) => v / Math.hypot(...row)));
  const least = samples.map((rows, c) => Math.min(...rows.map((row) => dot(row, unit[c]!))));
  return { samples, centres, radii, unit, least };
}
const wide = (rows: readonly number[] | Rows): Tensor => {
  const flat = (rows as readonly (number | readonly number[])[]).flat();
  return tensor(Float64Array.from(flat), { shape: typeof rows[0] === 'number' ? [rows.length] : [rows.length, D] });
};

const alignment = (weight: Tensor, embeddings: Tensor) => {
  const { centres, radii } = oldClasses();
  const oldBoundaries = { centres: wide(centres), radii: wide(radii), several: wide([1, 1, 1, 0]) };
  return lce
    .start({ alignWeight: 1, boundaryWeight: 1 }, setupOf({ oldDim: D, newDim: D, classes: C }))
    .terms(stepOf({ embeddings, labels: int64(labels), old: { oldBoundaries } }, { head: zeroHead(weight) }));
};

test('LCE: the boundary is the least cosine of the class’s old embeddings; both terms equal loops and finite differences', () => {
  const { centres, radii, unit, least } = oldClasses();
  const weight = (): Tensor => fill([C, D], 1.1, 0.37);
  const news = (): Tensor => fill([B, D], 0.1, 1.3);
  scope(() => {
    assert.ok(gap(cosineBoundary(wide(centres), wide(radii)), least) < FLOAT64_SUMS);
    const rows = rowsOf(normalizeRows(weight()));
    const aligned = unit.reduce((sum, row, c) => sum + row.reduce((s, v, d) => s + (v - rows[c]![d]!) ** 2, 0), 0) / C;
    const units = rowsOf(normalizeRows(news()));
    const missing = labels.map((label, i) =>
      label === 3 ? 0 : Math.max(0, least[label]! - dot(units[i]!, unit[label]!)),
    );
    const terms = alignment(weight(), news());
    assert.ok(Math.abs(termOf(terms, 'align').item() - aligned) < FLOAT64_SUMS);
    assert.ok(Math.abs(termOf(terms, 'boundary').item() - missing.reduce((a, b) => a + b) / B) < FLOAT64_SUMS);
    assert.ok(missing.some((m) => m > 0.01));
  });
  assert.ok(gradientGap((x) => termOf(alignment(x, news()), 'align'), weight()) < DIFFERENCES);
  assert.ok(gradientGap((x) => termOf(alignment(weight(), x), 'boundary'), news()) < DIFFERENCES);
});

test('LCE asks nothing of a layer of the old centres and of embeddings as near as the old ones', () =>
  scope(() => {
    const { samples, unit } = oldClasses();
    const seen: Record<string, number> = {};
    const terms = alignment(wide(unit), wide(labels.map((label) => samples[label]![1]!)));
    for (const name of ['align', 'boundary']) assert.ok(termOf(terms, name).item() < FLOAT64_SUMS, name);
    const counted = lce.start({ alignWeight: 1, boundaryWeight: 1 }, setupOf({ oldDim: D, newDim: D, classes: C }));
    const { centres, radii } = oldClasses();
    const oldBoundaries = { centres: wide(centres), radii: wide(radii), several: wide([1, 1, 1, 0]) };
    const count = (what: string, by: number): void => {
      seen[what] = by;
    };
    counted.terms(
      stepOf(
        { embeddings: fill([B, D], 0.1, 1.3), labels: int64(labels), old: { oldBoundaries } },
        { head: zeroHead(wide(unit)), count },
      ),
    );
    assert.deepEqual(seen, { 'samples of classes without a boundary': 1 });
  }));

/** A projection in float64 whose angles are away from 0. */
function rotation(inputs: number, outputs: number) {
  const module = new OrthonormalLinear(inputs, outputs);
  noGrad(() => copy_(module.angles, to(fill([inputs, inputs], 0.3, 0.71, 0.4), { dtype: 'float32' })));
  return module;
}

test('BT²: the slice keeps orthonormal rows whatever its angles are, and starts as the first coordinates', () =>
  scope(() => {
    const fresh = new OrthonormalLinear(7, 4);
    assert.ok(gap(toNumbers(fresh.weight()), toNumbers(narrow(eye(7), 0, 0, 4))) < FLOAT32);
    const [slice, whole] = [rotation(7, 4), rotation(7, 7)];
    const rows = slice.weight();
    assert.ok(gap(toNumbers(matmul(rows, transpose(rows))), toNumbers(eye(4))) < FLOAT32);
    assert.ok(gap(toNumbers(rows), toNumbers(narrow(whole.weight(), 0, 0, 4))) < FLOAT32, 'a slice of one rotation');
    // cosines of whole embeddings do not depend on the rotation
    const x = fill([3, 7], 0.2, 0.9, 1, 'float32');
    const turned = whole.forward(x);
    assert.ok(gap(toNumbers(matmul(turned, transpose(turned))), toNumbers(matmul(x, transpose(x)))) < FLOAT32);
    for (const module of [fresh, slice, whole]) module.dispose();
  }));

/** BT²'s own terms as a function of the angles or of the embeddings. [D, D], [B, 5] → scalar */
function basisTerms(angles: Tensor, embeddings: Tensor): Tensor {
  const module = Object.assign(new OrthonormalLinear(5, D), { angles });
  const old = { oldEmbedding: fillUnitRows([B, D], 0.5, 0.9), oldPrototypes: fillUnitRows([C, D], 0.7, 0.55) };
  const inOldSpace = linear(embeddings, module.weight());
  const terms = bt2
    .start({ weight: 1, scale: 8, marginCos: 0, cosineWeight: 5 }, setupOf({ oldDim: D, newDim: 5, orthonormal: true }))
    .terms(stepOf({ embeddings, labels: int64(labels), old }, { inOldSpace }));
  return add(termOf(terms, 'match'), termOf(terms, 'influence'));
}

test('BT²: gradients of angles and embeddings are finite differences; it asks for an orthonormal projection', () => {
  const angles = (): Tensor => fill([5, 5], 0.3, 0.71, 0.4);
  assert.ok(gradientGap((x) => basisTerms(x, fill([B, 5], 0.1, 1.3)), angles()) < DIFFERENCES);
  assert.ok(gradientGap((x) => basisTerms(angles(), x), fill([B, 5], 0.1, 1.3)) < DIFFERENCES);
  assert.throws(
    () => bt2.start(bt2.options.parse({}), setupOf({ projected: true })),
    /orthonormal projection.*\n.*projection: \{ dim: 8, orthonormal: true \}/,
  );
});

test('BT²: what the old space cannot hold moves to the extra coordinates', () =>
  scope(() => {
    // the third coordinate tells the classes apart, and no old embedding has it
    const old = {
      oldEmbedding: tensor(Float64Array.of(1, 0, 1, 0), { shape: [2, 2] }),
      oldPrototypes: tensor(Float64Array.of(1, 0, 1, 0), { shape: [2, 2] }),
    };
    const embeddings = tensor(Float64Array.of(1, 0.1, 2, 1, -0.1, -2), { shape: [2, 3] });
    let angles: Tensor = fill([3, 3], 0.3, 0.71, 0.4);
    const match = (x: Tensor): Tensor => {
      const module = Object.assign(new OrthonormalLinear(3, 2), { angles: x });
      const terms = bt2
        .start({ weight: 0, scale: 1, marginCos: 0, cosineWeight: 1 }, setupOf({ orthonormal: true }))
        .terms(stepOf({ embeddings, labels: int64([0, 1]), old }, { inOldSpace: linear(embeddings, module.weight()) }));
      return termOf(terms, 'match');
    };
    const before = match(angles).item();
    for (let step = 0; step < 600; step++) {
      const leaf = requireGrad(angles);
      const numbers = toFloat64(gradients(match(leaf), [leaf])[0]!);
      const at = toFloat64(leaf).map((v, i) => v - numbers[i]!);
      angles = tensor(at, { shape: [3, 3] });
    }
    assert.ok(match(angles).item() < 0.1 && before > 0.2, `${before} → ${match(angles).item()}`);
  }));

test('HOC equals its definition, with finite differences; a batch of one class adds 0', () => {
  const oldEmbedding = fillUnitRows([B, D], 0.5, 0.9);
  const term = (of: readonly number[]) => (embeddings: Tensor) =>
    termOf(
      hoc
        .start({ lambda: 0.1, scale: 4 }, setupOf({ oldDim: D, classes: C }))
        .terms(stepOf({ embeddings, labels: int64(of), old: { oldEmbedding } })),
      'contrast',
    );
  scope(() => {
    const news = rowsOf(normalizeRows(fill([B, D], 0.1, 1.3)));
    const olds = rowsOf(oldEmbedding);
    const slow = labels.map((label, i) => {
      const others = news.filter((_, j) => labels[j] !== label);
      const sums = others.reduce((sum, row) => sum + Math.exp(4 * dot(olds[i]!, row)), 0);
      return Math.log(sums) - 4 * dot(olds[i]!, news[i]!);
    });
    const value = term(labels)(fill([B, D], 0.1, 1.3)).item();
    assert.ok(Math.abs(value - slow.reduce((a, b) => a + b) / B) < FLOAT64_SUMS);
    assert.equal(term([2, 2, 2, 2, 2])(fill([B, D], 0.1, 1.3)).item(), 0);
  });
  assert.ok(gradientGap(term(labels), fill([B, D], 0.1, 1.3)) < DIFFERENCES);
});
