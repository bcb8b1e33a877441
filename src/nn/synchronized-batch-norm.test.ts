// Batch statistics of a batch that several real processes share, against libtorch's batch norm of the whole batch.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inputs, layer, type run, SHAPE } from '../../test/distributed/batch-norm.ts';
import { gap } from '../../test/helpers/formula.ts';
import { inProcesses } from '../../test/helpers/processes.ts';
import { backward, mul, requireGrad, scope, sum, toNumbers } from '../torch/index.ts';

/** Double precision of numbers about 100, squared. */
const DOUBLE = 1e-9;

test('outputs, gradients and running statistics are those of one process', async () => {
  const size = SHAPE[1] * SHAPE[2] * SHAPE[3];
  const whole = scope(() => {
    const { x, probe } = inputs();
    const leaf = requireGrad(x);
    const norm = layer();
    const y = norm.forward(leaf, { train: true });
    backward(sum(mul(y, probe)));
    const numbers = [y, leaf.grad!, norm.weight.grad!, norm.bias.grad!, norm.runningMean, norm.runningVar].map(
      toNumbers,
    );
    norm.dispose();
    return numbers;
  });
  const [y, toX, toWeight, toBias, mean, variance] = whole;
  for (const processes of [2, 3]) {
    const answers = await inProcesses<ReturnType<typeof run>>(processes, 'batch-norm', null);
    const rowsOf = (all: readonly number[], rows: readonly number[]): number[] =>
      rows.flatMap((row) => all.slice(row * size, (row + 1) * size));
    for (const seen of answers) {
      assert.ok(gap(seen.y, rowsOf(y!, seen.rows)) < DOUBLE);
      assert.deepEqual(seen.again, seen.y);
      assert.ok(gap(seen.toX, rowsOf(toX!, seen.rows)) < DOUBLE);
      assert.ok(gap(seen.mean, mean!) < DOUBLE);
      assert.ok(gap(seen.variance, variance!) < DOUBLE);
      assert.equal(seen.batches, 1, 'a pass that is computed again moves nothing');
    }
    const total = (of: (answer: (typeof answers)[number]) => readonly number[]): number[] =>
      [0, 1, 2].map((channel) => answers.reduce((sum, answer) => sum + of(answer)[channel]!, 0));
    assert.ok(
      gap(
        total(({ toWeight }) => toWeight),
        toWeight!,
      ) < DOUBLE,
    );
    assert.ok(
      gap(
        total(({ toBias }) => toBias),
        toBias!,
      ) < DOUBLE,
    );
  }
});
