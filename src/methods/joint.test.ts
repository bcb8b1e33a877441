import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { setupOf, stepOf, termOf, zeroHead } from '../../test/helpers/step.ts';
import {
  gather,
  gradients,
  linear,
  logSoftmax,
  mean,
  mul,
  requireGrad,
  scope,
  type Tensor,
  toFloat64,
  toNumbers,
  unsqueeze,
} from '../torch/index.ts';
import { joint } from './joint.ts';

const [B, C, D] = [5, 4, 3];
const labels = [0, 2, 0, 1, 3];

/** Softmax cross-entropy of plain products with class rows. */
const headOf = (weight: Tensor) => ({
  ...zeroHead(weight),
  loss: (rows: Tensor, own: Tensor): Tensor =>
    mul(mean(gather(logSoftmax(linear(rows, weight), 1), 1, unsqueeze(own, 1))), -1),
});

const oldEmbedding = (): Tensor => fillUnitRows([B, D], 0.5, 0.9);
const termsOf = (embeddings: Tensor, weight: Tensor) =>
  joint
    .start(joint.options.parse({}), setupOf({ oldDim: D, newDim: D, classes: C }))
    .terms(
      stepOf({ embeddings, labels: int64(labels), old: { oldEmbedding: oldEmbedding() } }, { head: headOf(weight) }),
    );

test('the classifier’s loss of old embeddings equals a loop over the batch, its gradient by the classes finite differences', () => {
  const weight = (): Tensor => fill([C, D], 0.3, 1.1);
  scope(() => {
    const [w, old] = [toNumbers(weight()), toNumbers(oldEmbedding())];
    const each = labels.map((label, i) => {
      const z = Array.from({ length: C }, (_, c) =>
        [0, 1, 2].reduce((sum, d) => sum + w[c * D + d]! * old[i * D + d]!, 0),
      );
      return Math.log(z.reduce((sum, x) => sum + Math.exp(x), 0)) - z[label]!;
    });
    const slow = each.reduce((a, b) => a + b) / B;
    const found = termOf(termsOf(fill([B, D], 0.1, 1.3), weight()), 'old').item();
    assert.ok(Math.abs(found - slow) < PRINTED, `${found}, wanted ${slow}`);
  });
  assert.ok(gradientGap((w) => termOf(termsOf(fill([B, D], 0.1, 1.3), w), 'old'), weight()) < DIFFERENCES);
});

test('no new embedding is replaced: each has the gradient that it has without an old model, and the classes are pulled by both', () =>
  scope(() => {
    const [embeddings, weight] = [requireGrad(fill([B, D], 0.1, 1.3)), requireGrad(fill([C, D], 0.3, 1.1))];
    const terms = termsOf(embeddings, weight);
    const alone = gradients(headOf(weight).loss(embeddings, int64(labels)), [embeddings]);
    const [byRows] = gradients(termOf(terms, 'classify'), [embeddings]);
    assert.deepEqual(toFloat64(byRows!), toFloat64(alone[0]!));
    const [byClasses] = gradients(termOf(terms, 'old'), [weight]);
    assert.ok(toFloat64(byClasses!).some((g) => Math.abs(g) > 0.01));
    assert.ok(!termOf(terms, 'old').requiresGrad || toFloat64(byRows!).every((g) => Math.abs(g) > 0));
  }));
