import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, golden, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { Rng } from '../base/rng.ts';
import { Sgd } from '../optim/index.ts';
import {
  backward,
  clamp,
  cosines,
  gradients,
  mul,
  norm,
  requireGrad,
  scope,
  sum,
  type Tensor,
  tensor,
  toFloat64,
} from '../torch/index.ts';
import { arcfaceLogits, cosfaceLogits, makeHead, saturatedCrossEntropy } from './index.ts';

const arc = { marginRad: 0.5, scale: 64 };
const vectors = golden('parity_vectors.json').arcface_pfc_sampled;
const cosineTable = (): Tensor =>
  tensor(Float64Array.from([0.8, 0.1, -0.2, -0.95, 0.3, 0.2, 0.5, 0.6, 0.7]), { shape: [3, 3] });
const labels = (): Tensor => int64([0, 0, -1]);

test('ArcFace logits and their gradient equal the reference (8.1)', () =>
  scope(() => {
    const cos = requireGrad(cosineTable());
    const out = arcfaceLogits(cos, labels(), arc);
    assert.ok(gap(out, vectors.V1_arc_out.flat()) < PRINTED);
    const [gradient] = gradients(sum(mul(out, fill([3, 3], 0.2, 0.9))), [cos]);
    assert.ok(gap(gradient!, vectors['V1_arc_grad_for_w_sin(0.2+0.9k)'].flat()) < PRINTED);
  }));

test('ArcFace stays finite at cos = ±1, value and gradient (D-29)', () =>
  scope(() => {
    const cos = requireGrad(tensor(Float64Array.from([1, -1]), { shape: [2, 1] }));
    const out = arcfaceLogits(cos, int64([0, 0]), arc);
    const EDGE = 1e-4; // the vector is printed with four decimals
    assert.ok(gap(out, [56.1653, -79.3416]) < EDGE);
    const [gradient] = gradients(sum(out), [cos]);
    assert.ok(toFloat64(gradient!).every(Number.isFinite));
    const [unguarded] = gradients(sum(arcfaceLogits(cos, int64([0, 0]), { ...arc, sineFloor: 0 })), [cos]);
    assert.deepEqual([...toFloat64(unguarded!)], [Number.POSITIVE_INFINITY, Number.NaN], 'the reference (8.1)');
  }));

test('gradients of the margin losses agree with finite differences', () => {
  const weight = fill([5, 4], 1.1, 0.37);
  const target = int64([0, 4, 2]);
  const losses = {
    arcface: (x: Tensor) =>
      saturatedCrossEntropy(arcfaceLogits(cosines(x, weight), target, { marginRad: 0.4, scale: 8 }), target),
    cosface: (x: Tensor) =>
      saturatedCrossEntropy(cosfaceLogits(cosines(x, weight), target, { marginCos: 0.3, scale: 8 }), target),
  };
  for (const [name, loss] of Object.entries(losses))
    assert.ok(gradientGap(loss, fill([3, 4], 0.1, 1.3)) < DIFFERENCES, name);
});

test('CosFace takes the margin from the target alone', () =>
  scope(() => {
    const out = cosfaceLogits(cosineTable(), labels(), { marginCos: 0.4, scale: 10 });
    assert.ok(gap(out, [4, 1, -2, -13.5, 3, 2, 5, 6, 7]) < PRINTED);
  }));

test('the reported loss saturates at -ln 1e-30 for a sample, its gradient does not (8.2, D-30)', () =>
  scope(() => {
    const expected = golden('parity_vectors.json').pfc_world1_world2;
    const embeddings = requireGrad(fill([4, 8], 0.3, 0.7));
    const weight = requireGrad(fill([11, 8], 1.1, 0.37));
    const target = int64([0, 2, 9, 6]);
    const loss = saturatedCrossEntropy(arcfaceLogits(clamp(cosines(embeddings, weight), -1, 1), target, arc), target);
    assert.ok(Math.abs(loss.item() - expected['1']['0'].loss) < PRINTED);
    const [dE, dW] = gradients(loss, [embeddings, weight]);
    assert.ok(gap(dE!, expected['1']['0'].gemb.flat()) < PRINTED);
    assert.ok(gap(dW!, expected['1']['0'].gW.flat()) < PRINTED);
  }));

test('with all ten classes and one of them twice, loss and gradients are the reference’s', () =>
  scope(() => {
    const embeddings = requireGrad(fill([4, 8], 0.3, 0.7));
    const weight = requireGrad(fill([10, 8], 1.1, 0.37));
    const target = int64([3, 0, 7, 3]);
    const cos = clamp(cosines(embeddings, weight), -1, 1);
    assert.ok(gap(toFloat64(cos).slice(0, 10), vectors.V2_cos_row0) < PRINTED);
    const loss = saturatedCrossEntropy(arcfaceLogits(cos, target, arc), target);
    assert.ok(Math.abs(loss.item() - vectors.V2_loss) < PRINTED, `${loss.item()}`);
    const [dE, dW] = gradients(loss, [embeddings, weight]) as [Tensor, Tensor];
    assert.ok(gap(dE, vectors.V2_gemb.flat()) < PRINTED);
    assert.ok(Math.abs(norm(dW).item() - vectors.V2_gW_fro) < PRINTED);
    const rows = [0, 3, 7].flatMap((row) => [...toFloat64(dW).slice(row * 8, (row + 1) * 8)]);
    assert.ok(gap(rows, vectors.V2_gW_rows_0_3_7.flat()) < PRINTED);
  }));

test('every head classifies separable embeddings after some steps', () => {
  const LEARNED = 0.5; // of the first loss
  for (const kind of ['arcface', 'cosface', 'softmax'] as const)
    scope(() => {
      const recipe = {
        arcface: { kind: 'arcface', marginRad: 0.2, scale: 8, sampleRate: 1, sineFloor: 1e-12 },
        cosface: { kind: 'cosface', marginCos: 0.1, scale: 8, sampleRate: 1 },
        softmax: { kind: 'softmax' },
      } as const;
      const head = makeHead(recipe[kind], 4, 3, new Rng(1));
      const embeddings = fill([6, 4], 0.2, 0.9, 1, 'float32');
      const target = int64([0, 1, 2, 0, 1, 2]);
      const parameters = [...head.parameters()].map(([, p]) => p);
      const sgd = new Sgd(parameters);
      const first = head.loss(embeddings, target).item();
      for (let i = 0; i < 300; i++)
        scope(() => {
          backward(head.loss(embeddings, target));
          sgd.step(0.1);
          for (const p of parameters) p.grad = null;
        });
      assert.ok(head.loss(embeddings, target).item() < first * LEARNED, kind);
    });
});
