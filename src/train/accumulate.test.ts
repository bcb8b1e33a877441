// Batches that go through the backbone in parts.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { lastReport, oldSide, tinySet, trained } from '../../test/helpers/runs.ts';
import { sessionNumbers, stepAt, tinyBatch, withSession } from '../../test/helpers/session.ts';
import { Rng } from '../base/rng.ts';
import { imageTensor, labelTensor } from '../data/collate.ts';
import { backward, liveTensors, mul, narrow, scope, setThreads, toNumbers } from '../torch/index.ts';
import { noOldModelInputs, openOldModelInputs } from './old-model-inputs.ts';
import { trainStep } from './train-step.ts';

before(() => setThreads(1));

/** Sums of float32 in another order, over a few steps: relative to numbers of order 1. */
const ADDITION = 1e-3;

/** For each method a section, and what it takes. */
const methods = {
  independent: [{}, []],
  mixbct: [{ ratio: 0.4 }, ['features', 'credible']],
  l2: [{}, ['features']],
  bct: [{}, ['prototypes']],
  unibct: [{ startEpoch: 0, refreshEpochs: [0] }, ['features']],
  nccl: [{ queueSize: 20 }, ['features', 'credible']],
  advbct: [{ hidden: 6 }, ['features', 'boundaries']],
  pairs: [{ queueSize: 20 }, ['features']],
  joint: [{}, ['features']],
  ndpp: [{ neighbours: 3 }, ['prototypes']],
} as const;

// batch norms see parts: of a batch that is the same images so many times, each part has the statistics of the whole
test('every method has the losses and weights of the undivided batch, where batch norms permit', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const side = await oldSide(folder, dataset);
  for (const [kind, [section, takes]] of Object.entries(methods)) {
    const method = { kind, ...section };
    using old = openOldModelInputs(
      tinyRecipe({ method }),
      Object.fromEntries(takes.map((what) => [what, side[what]])),
      dataset,
    );
    const after = (accumulate: number) =>
      withSession({ method, batchSize: 32, accumulate, optimizer: { kind: 'sgd' } }, (session) => {
        const live = liveTensors();
        const seen = [0, 1, 2].map((step) =>
          trainStep(session, tinyBatch(32, { repeat: 4 }), old, stepAt({ lr: 1e-3, rng: new Rng(step) })),
        );
        assert.equal(liveTensors(), live, `${kind} left tensors`);
        const numbers = sessionNumbers(session);
        return { seen, weights: [...numbers['backbone.conv1.weight']!, ...numbers['head.weight']!] };
      });
    const whole = after(1);
    for (const accumulate of [2, 4]) {
      const parts = after(accumulate);
      for (const [step, { loss, terms, gradNorm }] of whole.seen.entries()) {
        const { seen } = parts;
        const expected = { loss, gradNorm, ...terms };
        const actual = { ...seen[step]!, ...seen[step]!.terms } as unknown as Record<string, number>;
        for (const [what, value] of Object.entries(expected))
          assert.ok(
            Math.abs(actual[what]! - value) <= ADDITION * Math.max(1, Math.abs(value)),
            `${kind} in ${accumulate}, step ${step}, ${what}: ${actual[what]}, wanted ${value}`,
          );
      }
      for (const [at, value] of whole.weights.entries())
        assert.ok(Math.abs(parts.weights[at]! - value) <= ADDITION, `${kind} in ${accumulate}, weight ${at}`);
    }
  }
});

test('parts of different images have the gradient that adding up their losses gives', () => {
  const gradientsOf = (accumulate: number, oneByOne: boolean): number[] =>
    withSession({ batchSize: 12, accumulate }, (session) =>
      scope(() => {
        const { images: pixels, labels } = tinyBatch(12);
        if (!oneByOne) {
          // the step at a rate of 0 and without clipping leaves the momentum as large as the gradient
          trainStep(session, tinyBatch(12), noOldModelInputs, stepAt({ lr: 1e-30, clipNorm: null }));
          return sessionNumbers(session)['optimizer.mean.0']!.map((mean) => mean / 0.1);
        }
        const images = imageTensor({ images: pixels, count: 12, side: 16 });
        const size = 12 / accumulate;
        for (let i = 0; i < accumulate; i++) {
          const part = session.backbone.forward(narrow(images, 0, i * size, size), { train: true });
          const own = labelTensor(labels.slice(i * size, (i + 1) * size));
          backward(mul(session.head.loss(part, own), 1 / accumulate));
        }
        return toNumbers(session.parameters[0]!.grad!);
      }),
    );
  for (const accumulate of [1, 2, 3]) {
    const [actual, expected] = [gradientsOf(accumulate, false), gradientsOf(accumulate, true)];
    const size = Math.hypot(...expected);
    const away = Math.hypot(...actual.map((value, i) => value - expected[i]!));
    assert.ok(size > 0 && away < ADDITION * size, `${accumulate}: ${away} of ${size}`);
  }
});

test('parts that are themselves computed again in groups of blocks change no bit', () => {
  for (const [name, own] of Object.entries({ r18: { dropout: 0.2 }, vit_t: { dropPath: 0.3, maskRatio: 0.4 } })) {
    const after = (checkpointEvery: number, precision: string) => {
      const network = { name, embeddingDim: 8, inputSide: 32, width: 1 / 32, checkpointEvery, ...own };
      return withSession({ network, precision, batchSize: 6, accumulate: 2 }, (session) => {
        const seen = [0, 1].map(() =>
          trainStep(session, tinyBatch(6, { side: 32 }), noOldModelInputs, stepAt({ side: 32 })),
        );
        return { seen, numbers: sessionNumbers(session) };
      });
    };
    for (const precision of ['float32', 'bf16'])
      assert.deepEqual(after(1, precision), after(0, precision), `${name}, ${precision}`);
  }
});

test('a recipe in parts trains; parts of unequal size are refused', async (t) => {
  assert.throws(() => tinyRecipe({ accumulate: 3 }), /batchSize 8 is no multiple of accumulate 3\n.*one size/);
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  const { steps } = await trained(dataset, out, { accumulate: 4, epochs: 1 });
  assert.equal(steps, 6, 'a step is a whole batch');
  assert.ok(Number.isFinite(lastReport(out).loss));
});
