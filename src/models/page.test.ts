// The code of docs/adding-a-backbone.md, as it stands there, is a backbone that learns.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, int64 } from '../../test/helpers/formula.ts';
import { loadPage } from '../../test/helpers/page.ts';
import { Rng } from '../base/rng.ts';
import type { Module } from '../nn/index.ts';
import { clearGradients, Sgd } from '../optim/index.ts';
import { backward, crossEntropy, noGrad, scope, setThreads } from '../torch/index.ts';
import type { BackboneOptions } from './options.ts';

type Page = { readonly Plain: new (options: BackboneOptions, rng: Rng) => Module };

test('the page on adding a backbone shows one that embeds, names its state and learns', async (t) => {
  setThreads(1);
  const { Plain } = await loadPage<Page>(t, 'adding-a-backbone.md');
  const options = { embeddingDim: 4, inputSide: 32, width: 0.125 };
  const net = new Plain(options, new Rng(1));
  assert.throws(() => new Plain({ ...options, inputSide: 20 }, new Rng(1)), /multiple of 16, got 20/);
  const names = [...net.state()].map(([name]) => name);
  assert.deepEqual(names.slice(-3), ['body.11.weight', 'fc.weight', 'fc.bias']);
  assert.ok(names.includes('body.1.running_mean'));
  scope(() => {
    for (const count of [1, 7])
      assert.deepEqual(
        noGrad(() => net.forward(fill([count, 3, 32, 32], 0, 0.01, 1, 'float32'), { train: false })).shape,
        [count, 4],
      );
  });
  const parameters = [...net.parameters()].map(([, value]) => value);
  const sgd = new Sgd(parameters);
  const losses = Array.from({ length: 20 }, () =>
    scope(() => {
      clearGradients(parameters);
      const loss = crossEntropy(
        net.forward(fill([4, 3, 32, 32], 0.3, 1.7, 1, 'float32'), { train: true }),
        int64([0, 1, 2, 3]),
      );
      backward(loss);
      sgd.step(0.05);
      return loss.item();
    }),
  );
  assert.ok(losses.at(-1)! < losses[0]! / 4, `${losses[0]} → ${losses.at(-1)}`);
  net.dispose();
});
