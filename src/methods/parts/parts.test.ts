// What the methods are made of, number by number of methods.md 8.8, 8.9 and 8.11; the whole terms are in ../compatibility.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, gap, int64 } from '../../../test/helpers/formula.ts';
import { golden, PRINTED } from '../../../test/helpers/golden.ts';
import {
  eye,
  mul,
  narrow,
  normalizeRows,
  scope,
  solve,
  sub,
  sum,
  tensor,
  toNumbers,
  zeros,
} from '../../torch/index.ts';
import { boundaryLoss, elasticShift } from './boundary.ts';
import { influenceLoss } from './influence.ts';
import { neighbourGraph } from './prototype-refinement.ts';
import { enqueue } from './queue.ts';

const vectors = golden('parity_vectors.json').methods;
/** The vectors of AdvBCT were computed from radii and centres in single precision. */
const FLOAT32 = 1e-6;

test('BCT: each logit of each sample is the reference’s (8.8)', () =>
  scope(() => {
    const [prototypes, embeddings] = [fillUnitRows([5, 4], 0.7, 0.55), fill([3, 4], 0.1, 1.3)];
    assert.ok(gap(prototypes, vectors.BCT.proto.flat()) < PRINTED);
    for (const [i, logits] of (vectors.BCT.logits as number[][]).entries()) {
      const logSum = Math.log(logits.reduce((total, z) => total + Math.exp(z), 0));
      const losses = logits.map((_, label) =>
        influenceLoss(narrow(embeddings, 0, i, 1), prototypes, int64([label]), { scale: 1, marginCos: 0 }).item(),
      );
      assert.ok(
        gap(
          losses.map((loss) => logSum - loss),
          logits,
        ) < PRINTED,
        `sample ${i}`,
      );
    }
  }));

test('UniBCT: the graph and what it propagates are the reference’s on both axes (8.9)', () =>
  scope(() => {
    const news = fill([4, 3], 0.2, 1.1, 0.3);
    for (const [refineAxis, axis] of [
      ['column', 'dim0'],
      ['row', 'dim1'],
    ] as const) {
      const graph = neighbourGraph(news, { temperature: 0.05, refineAxis });
      assert.ok(gap(graph, vectors.UniBCT[`A_${axis}`].flat()) < PRINTED, refineAxis);
      const identity = eye(4, { dtype: 'float64' });
      const propagation = mul(solve(sub(identity, mul(graph, 0.9)), identity), 0.1);
      assert.ok(gap(propagation, vectors.UniBCT[`P_${axis}`].flat()) < PRINTED, refineAxis);
      const sums = sum(propagation, { dim: refineAxis === 'column' ? 0 : 1 });
      assert.ok(gap(sums, vectors.UniBCT.colsum_P_dim0) < PRINTED, 'nothing is lost along the axis');
    }
  }));

test('NCCL: of a batch larger than the queue the last rows remain, where a longer ring would have put them', () => {
  for (const size of [2, 3, 5, 8])
    scope(() => {
      const queue = { rows: zeros([size, 1]), classes: int64(new Array(size).fill(0)), next: int64([0]) };
      const kept: number[] = new Array(size).fill(0); // the slow twin: row by row
      let at = 0;
      for (const [batch, count] of [4, 1, 7, 0, 3].entries()) {
        const news = Array.from({ length: count }, (_, i) => 10 * batch + i + 1);
        enqueue(queue, tensor(Float32Array.from(news), { shape: [count, 1] }), int64(news));
        for (const row of news) {
          kept[at] = row;
          at = (at + 1) % size;
        }
        assert.deepEqual([toNumbers(queue.rows), queue.next.item()], [kept, at], `${size} places, batch ${batch}`);
        assert.deepEqual(
          toNumbers(queue.classes),
          kept.map((row) => (row === 0 ? 0 : row + 1)),
        );
      }
    });
});

test('AdvBCT: each shift of a boundary and each distance beyond it are the reference’s (8.11)', () =>
  scope(() => {
    const { AdvBCT_meta: meta, AdvBCT_p2s: expected } = vectors;
    const wide = (values: readonly number[], shape = [3]) => tensor(Float64Array.from(values), { shape });
    const classes = [0, 1, 2];
    const elastic = wide([0.3, -0.2, 0.1]);
    const radii = wide(classes.map((label) => meta[label].radius.at(-1)));
    assert.ok(gap(elasticShift(radii, elastic, 0.4), expected.r_e) < FLOAT32);
    const fixed = {
      centres: wide(
        classes.flatMap((label) => meta[label].center),
        [3, 4],
      ),
      radii,
      several: wide([1, 1, 0]),
      radius: 0.4,
      elastic,
    };
    const unit = normalizeRows(fill([3, 4], 0.25, 1.7));
    for (const label of classes) {
      const beyond = boundaryLoss(narrow(unit, 0, label, 1), int64([label]), fixed).item();
      assert.ok(Math.abs(beyond - (expected.terms[label] ?? 0)) < FLOAT32, `sample ${label}`);
    }
  }));
