import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { crossEntropy, linear, matmul, narrow, scope, tensor, to, toNumbers, transpose } from '../torch/index.ts';
import { Simplex, simplexVertices } from './index.ts';

/** Products of rows in single precision. */
const FLOAT32 = 1e-6;

test('the vertices of the simplex have length 1 and one cosine, -1/D, to each other, as many as there can be', () =>
  scope(() => {
    for (const dim of [1, 2, 5, 40]) {
      const rows = tensor(simplexVertices(dim), { shape: [dim + 1, dim] });
      const cosines = toNumbers(matmul(rows, transpose(rows)));
      const wanted = cosines.map((_, i) => (i % (dim + 2) === 0 ? 1 : -1 / dim));
      assert.ok(gap(cosines, wanted) < FLOAT32, `${dim}`);
    }
  }));

test('two models that share a class share its vertex, wherever their classes begin', () =>
  scope(() => {
    const [old, later] = [new Simplex(6, 3, { firstVertex: 0 }), new Simplex(6, 4, { firstVertex: 2 })];
    const row = (head: Simplex, label: number): number[] => toNumbers(narrow(head.weight, 0, label, 1));
    assert.deepEqual(row(later, 0), row(old, 2));
    for (const head of [old, later]) head.dispose();
    assert.throws(
      () => new Simplex(6, 6, { firstVertex: 2 }),
      /7 vertices, and 6 classes from vertex 2 on need 8\n.*at least 7/,
    );
  }));

test('it has no state and nothing to learn; its loss is the cross-entropy over all vertices, also those without a class', () =>
  scope(() => {
    const head = new Simplex(4, 3, { firstVertex: 1 });
    assert.deepEqual([...head.state()], []);
    const labels = int64([2, 0]);
    const embeddings = to(fill([2, 4], 0.1, 1.3), { dtype: 'float32' });
    const slow = crossEntropy(linear(embeddings, tensor(simplexVertices(4, 1), { shape: [5, 4] })), labels);
    assert.equal(head.loss(embeddings, labels).item(), slow.item());
    const vertices = to(head.weight, { dtype: 'float64' });
    assert.ok(gradientGap((x) => crossEntropy(linear(x, vertices), labels), fill([2, 4], 0.1, 1.3)) < DIFFERENCES);
    head.dispose();
  }));
