// Heads whose classes are spread over real processes: against the numbers of methods.md 8.2, and a dense twin in one process.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIM, type Input, optimizers, type run, settings } from '../../test/distributed/partial-fc.ts';
import { fill, gap, int64 } from '../../test/helpers/formula.ts';
import { golden, PRINTED } from '../../test/helpers/golden.ts';
import { inProcesses } from '../../test/helpers/processes.ts';
import { Rng } from '../base/rng.ts';
import { init, parameter } from '../nn/index.ts';
import {
  add,
  clamp,
  cosines,
  equal,
  gradients,
  mul,
  requireGrad,
  scope,
  selectRows,
  sub,
  type Tensor,
  tensor,
  toNumbers,
  zeros,
} from '../torch/index.ts';
import { arcfaceLogits, saturatedCrossEntropy, shardOf } from './index.ts';

/** Sums in another order, in double precision, of losses up to 69 and their gradients. */
const ROUND_OFF = 1e-11;

type Answer = ReturnType<typeof run>;
const partialFc = (processes: number, input: Input): Promise<Answer[]> => inProcesses(processes, 'partial-fc', input);

const plain: Input = { classes: 11, sampleRate: 1, optimizer: 'sgd', lr: 0.1, steps: [[0, 2, 9, 6]] };

test('two processes have the loss of 8.2 and its gradients: of the weight alike, of embeddings times W', async () => {
  const { loss, gemb, gW } = golden('parity_vectors.json').pfc_world1_world2['1']['0'];
  const answers = await partialFc(2, plain);
  assert.deepEqual(
    answers.map(({ start, count }) => [start, count]),
    [
      [0, 6],
      [6, 5],
    ],
  );
  for (const { steps, leaked } of answers) {
    const [step] = steps;
    assert.ok(Math.abs(step!.loss - loss) < PRINTED, `${step!.loss}`);
    const expected = step!.rows.flatMap((row) => gemb[row].map((g: number) => 2 * g));
    assert.ok(gap(step!.toEmbeddings, expected) < PRINTED);
    assert.equal(leaked, 0);
  }
  assert.ok(
    gap(
      answers.flatMap(({ steps }) => steps[0]!.toWeight),
      gW.flat(),
    ) < PRINTED,
  );
});

/** The same steps in one process that sees every logit, those of classes outside the sample masked. */
function denseTwin({ classes, optimizer, lr, steps }: Input, samples: readonly (readonly number[])[]) {
  const weight = parameter(fill([classes, DIM], 1.1, 0.37));
  const updates = optimizers[optimizer](weight);
  const seen = steps.map((labels, step) => {
    const sample = [...samples[step]!].sort((a, b) => a - b);
    return scope(() => {
      const embeddings = requireGrad(fill([labels.length, DIM], 0.3, 0.7));
      const mask = Float64Array.from({ length: classes }, (_, c) => (sample.includes(c) ? 0 : -1e30));
      const logits = arcfaceLogits(clamp(cosines(embeddings, weight), -1, 1), int64(labels), settings);
      const loss = saturatedCrossEntropy(add(logits, tensor(mask, { shape: [1, classes] })), int64(labels));
      const [toEmbeddings, toWeight] = gradients(loss, [embeddings, weight]) as [Tensor, Tensor];
      const index = int64(sample);
      const rows = requireGrad(selectRows(weight, index), false);
      rows.grad = selectRows(toWeight, index);
      const result = { loss: loss.item(), toEmbeddings: toNumbers(toEmbeddings), toWeight: toNumbers(rows.grad) };
      updates.step(lr, { whole: weight, index, rows });
      return result;
    });
  });
  const states = updates.statesOf(weight).map((state) => toNumbers(state));
  const end = { seen, weight: toNumbers(weight), states };
  weight.dispose();
  updates.dispose();
  return end;
}

/** Runs both, and compares everything. */
async function assertTwins(processes: number, input: Input): Promise<Answer[]> {
  const answers = await partialFc(processes, input);
  const samples = input.steps.map((_, step) => answers.flatMap(({ steps }) => steps[step]!.sample));
  const twin = denseTwin(input, samples);
  for (const [step, expected] of twin.seen.entries()) {
    for (const { steps } of answers) {
      const { loss, rows, toEmbeddings } = steps[step]!;
      assert.ok(Math.abs(loss - expected.loss) < ROUND_OFF, `loss of step ${step}: ${loss}, ${expected.loss}`);
      const wanted = rows.flatMap((row) =>
        expected.toEmbeddings.slice(row * DIM, (row + 1) * DIM).map((g) => processes * g),
      );
      assert.ok(gap(toEmbeddings, wanted) < ROUND_OFF);
    }
    assert.ok(
      gap(
        answers.flatMap(({ steps }) => steps[step]!.toWeight),
        expected.toWeight,
      ) < ROUND_OFF,
    );
  }
  assert.ok(
    gap(
      answers.flatMap(({ weight }) => weight),
      twin.weight,
    ) < ROUND_OFF,
    'weight',
  );
  for (const [i, state] of twin.states.entries())
    assert.ok(
      gap(
        answers.flatMap(({ states }) => states[i]!),
        state,
      ) < ROUND_OFF,
      `state ${i}`,
    );
  return answers;
}

test('three processes with eleven classes equal one process, step after step', async () => {
  const steps = [
    [0, 2, 9, 6, 10, 4],
    [3, 3, 8, 1, 0, 7],
  ];
  await assertTwins(3, { ...plain, steps });
  await assertTwins(3, { ...plain, optimizer: 'adamw', lr: 0.01, steps });
});

test('sampled classes equal a dense twin that masks the same ones, momentum of absent classes included', async () => {
  const steps = [
    [3, 0, 7, 3, 10, 9],
    [5, 0, 2, 9, 5, 1],
    [8, 8, 4, 6, 0, 0],
  ];
  for (const [processes, optimizer, lr] of [
    [2, 'sgd', 0.1],
    [3, 'adamw', 0.01],
  ] as const) {
    const answers = await assertTwins(processes, { classes: 11, sampleRate: 0.5, optimizer, lr, steps });
    for (const { count, steps: seen } of answers)
      for (const { sample } of seen) assert.ok(sample.length >= Math.floor(count / 2) && sample.length <= count);
    assert.ok(answers.some(({ count, steps: seen }) => seen.some(({ sample }) => sample.length < count)));
  }
});

test('a shard without classes takes part, and so does one whose sample is empty', async () => {
  const steps = [
    [0, 2, 1, 2],
    [2, 2, 2, 0],
  ];
  const answers = await assertTwins(4, { ...plain, classes: 3, steps });
  assert.deepEqual(answers.at(-1)!.weight, []);
  await assertTwins(4, { ...plain, classes: 5, sampleRate: 0.5, steps: [[0, 0, 4, 4], ...steps] });
});

test('rows of a shard are born as rows of the whole matrix, whatever the number of shards', () =>
  scope(() => {
    const rng = () => new Rng(7).split('weight');
    for (const [classes, dim] of [
      [11, 8],
      [3, 5],
      [70_001, 16], // more than a block, and no multiple of 16 at the end of a shard
      [131_073, 8], // a last block of fewer than 16
    ] as const) {
      const whole = init.normal([classes, dim], 0.01, rng());
      for (const processes of [1, 2, 3, 7])
        for (let rank = 0; rank < processes; rank++) {
          const shard = shardOf(classes, { processes, rank });
          const rows = init.normalRows([classes, dim], 0.01, rng(), shard);
          const index = tensor(BigInt64Array.from({ length: shard.count }, (_, i) => BigInt(shard.start + i)));
          assert.ok(equal(rows, selectRows(whole, index)), `${classes} × ${dim}, ${rank} of ${processes}`);
        }
    }
    const nothing = init.normalRows([3, 5], 0.01, rng(), { start: 3, count: 0 });
    assert.deepEqual(nothing.shape, [0, 5]);
    assert.equal(toNumbers(sub(mul(nothing, 2), zeros([0, 5]))).length, 0);
  }));
