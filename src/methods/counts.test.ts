// Samples to which a term gives 0 because something is missing are counted: a manifest tells how much of a method acted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, int64 } from '../../test/helpers/formula.ts';
import { setupOf, stepOf, zeroHead } from '../../test/helpers/step.ts';
import { full, ones, scope, type Tensor, tensor, to, zeros } from '../torch/index.ts';
import { advbct } from './advbct.ts';
import { mixbct } from './mixbct.ts';
import { nccl } from './nccl.ts';

const float32 = (x: Tensor): Tensor => to(x, { dtype: 'float32' });

/** Collects what a step counts. */
function counter() {
  const counts: Record<string, number> = {};
  const count = (what: string, by: number): void => {
    counts[what] = (counts[what] ?? 0) + by;
  };
  return { counts, count };
}

test('NCCL counts samples without an old embedding of their class in the queue', () =>
  scope(() => {
    const lonely = 'samples without an old embedding of their class in the queue';
    const take = (queueSize: number, labels: readonly number[], credible?: readonly number[]) => {
      const running = nccl.start({ alpha: 1, beta: 0, queueSize, temperature: 0.05 }, setupOf({ oldDim: 4 }));
      const { counts, count } = counter();
      const old = {
        oldEmbedding: float32(fillUnitRows([4, 4], 0.5, 0.9)),
        ...(credible && { credible: Int32Array.from(credible) }),
      };
      const embeddings = float32(fill([4, 4], 0.1, 1.3));
      running.terms(stepOf({ embeddings, labels: int64(labels), old }, { count, head: zeroHead(zeros([10, 4])) }));
      for (const part of Object.values(running.state!)) part.dispose();
      return counts[lonely] ?? 0;
    };
    assert.equal(take(4, [0, 1, 2, 3]), 0);
    assert.equal(take(4, [0, 1, 0, 3], [0, 3]), 1, 'class 1 has no credible row');
    assert.equal(take(2, [0, 1, 2, 3]), 2, 'the queue holds the last two');
    assert.equal(take(2, [3, 3, 2, 3]), 0);
  }));

test('AdvBCT counts samples of classes without a boundary', () =>
  scope(() => {
    const options = { radius: 0.4, boundaryWeight: 4, adversarialWeight: 4, hidden: 4 };
    const running = advbct.start(options, setupOf({ oldDim: 4, classes: 3 }));
    const { counts, count } = counter();
    const oldBoundaries = { centres: full([3, 4], 0.1), radii: ones([3]), several: tensor(Float32Array.of(1, 0, 1)) };
    const old = { oldEmbedding: float32(fillUnitRows([4, 4], 0.5, 0.9)), oldBoundaries };
    const embeddings = float32(fill([4, 4], 0.1, 1.3));
    running.terms(stepOf({ embeddings, labels: int64([1, 0, 1, 2]), old }, { count, head: zeroHead(zeros([10, 4])) }));
    assert.deepEqual(counts, { 'samples of classes without a boundary': 2 });
    for (const module of Object.values(running.modules!)) module.dispose();
  }));

test('MixBCT counts batches too small for its ratio to replace a row', () =>
  scope(() => {
    const take = (size: number, ratio: number) => {
      const { counts, count } = counter();
      const old = { oldEmbedding: fill([size, 8], 0, 1), credible: Int32Array.from({ length: size }, (_, i) => i) };
      const step = stepOf({ embeddings: fill([size, 8], 1, 1), labels: zeros([size]), old }, { count });
      mixbct.start({ ratio, onShortage: 'stop' }, setupOf()).terms(step);
      return counts;
    };
    assert.deepEqual(take(3, 0.3), { 'batches too small for the ratio to replace a row': 1 });
    assert.deepEqual([take(4, 0.3), take(3, 0)], [{}, {}]);
  }));
