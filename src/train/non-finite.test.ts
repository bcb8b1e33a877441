// A loss that is finite and a gradient that is not: nothing may learn from it, nor may what it made be called a model.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { inProcesses } from '../../test/helpers/processes.ts';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { tinySet, trained } from '../../test/helpers/runs.ts';
import { sessionNumbers, spoiltHead, stepAt, tinyBatch, withSession } from '../../test/helpers/session.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { LossScaler } from '../optim/index.ts';
import { buildInfo, full, ones, setThreads } from '../torch/index.ts';
import { NonFiniteLossPolicy } from './non-finite-loss-policy.ts';
import { noOldModelInputs, type OldModelInputs } from './old-model-inputs.ts';
import type { Session } from './session.ts';
import { trainStep } from './train-step.ts';

before(() => setThreads(1));

/** In one dimension every cosine is 1 or -1, where the reference's ArcFace has an infinite slope (D-29). */
const singular = { preset: 'reference', network: { ...tinyRecipe().network, embeddingDim: 1 } };
const oldLibtorch = buildInfo().libtorch.startsWith('1.');

test('a non-finite gradient stops the run, or is skipped up to the given number of times; it makes no model', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const [out, lenient] = [join(folder, 'out'), join(folder, 'lenient')];
  await assert.rejects(trained(dataset, out, singular), (error: Error) => {
    assert.match(
      error.message,
      /non-finite gradient at step 1: classify \d.*\n {2}samples: (\d+, ){7}\d+\n.*--skip-non-finite/,
    );
    assert.doesNotMatch(error.message, /--resume|checkpoint/, 'there is nothing to go on from');
    return true;
  });
  assert.equal(existsSync(out), false);
  await assert.rejects(
    trained(dataset, lenient, singular, { skipNonFinite: 2 }),
    /non-finite gradient at step 3: .*, after 2 skipped batches\n.*\n.*--resume/,
  );
  assert.equal(existsSync(join(lenient, MANIFEST)), false);
});

test('fp16 halves its scale down to 1; a gradient that is non-finite then is not the scale’s doing', {
  skip: oldLibtorch && 'libtorch 1.13 has fp16 on CUDA alone',
}, async (t) => {
  const { folder, dataset } = await tinySet(t);
  await assert.rejects(
    trained(dataset, join(folder, 'run'), { ...singular, precision: 'fp16' }),
    /non-finite gradient at step 17: classify/, // after 16 halvings of 2¹⁶
  );
});

/** What a method may ask of an old model, for a batch of 6. */
const old: OldModelInputs = {
  ...noOldModelInputs,
  forBatch: () =>
    ({
      oldEmbedding: full([6, 8], 8 ** -0.5),
      credible: Int32Array.of(0, 2, 3),
      oldBoundaries: { centres: full([6, 8], 0.1), radii: ones([6]), several: ones([6]) },
    }) as never,
};

/** The session's numbers after a step that was skipped and undone, and before it; and the step's result. */
function leftOut(
  session: Session,
  supply: OldModelInputs,
  { head = session.head, scaler = null }: Partial<Session> = {},
) {
  const policy = new NonFiniteLossPolicy(1, session);
  const counted: string[] = [];
  policy.snapshot();
  const then = sessionNumbers(session);
  const count = (what: string): void => void counted.push(what);
  const seen = trainStep({ ...session, head, scaler }, tinyBatch(6), supply, stepAt({ count }));
  policy.discard();
  const now = sessionNumbers(session);
  policy.dispose();
  scaler?.dispose();
  return { then, now, seen, counted };
}

test('a step without a finite gradient changes nothing: weights, optimiser, statistics, head, projection, queue', () => {
  const cases: Record<string, Record<string, unknown>> = {
    float32: {},
    bf16: { precision: 'bf16' },
    parts: { accumulate: 2 },
    'computed again': { network: { ...tinyRecipe().network, checkpointEvery: 1 } },
    sampled: { head: { kind: 'cosface', scale: 16, sampleRate: 0.5 } },
    softmax: { head: { kind: 'softmax' }, optimizer: { kind: 'sgd', lr: 0.1 } },
    projected: {
      method: { kind: 'l2' },
      network: { ...tinyRecipe().network, embeddingDim: 4 },
      projection: { dim: 8 },
    },
    nccl: { method: { kind: 'nccl', queueSize: 10 } },
    advbct: { method: { kind: 'advbct', hidden: 6 } },
  };
  for (const [name, changes] of Object.entries(cases))
    withSession(changes, (session) => {
      const head = spoiltHead(session.head);
      const { then, now, seen } = leftOut(session, old, { head });
      assert.ok(Number.isFinite(seen.loss) && Number.isNaN(seen.gradNorm) && !seen.finite, name);
      assert.deepEqual(now, then, name);
      trainStep(session, tinyBatch(6), old, stepAt());
      const learned = sessionNumbers(session);
      assert.ok(Object.values(learned).flat().every(Number.isFinite), `${name}: the next step learns`);
      assert.notDeepEqual(learned, then, name);
    });
});

test('a scale that overflows is put back like any other, and told as its own', () => {
  withSession({ method: { kind: 'nccl', queueSize: 10 } }, (session) => {
    const { then, now, seen, counted } = leftOut(session, old, { scaler: new LossScaler({ scale: 2 ** 127 }) });
    assert.ok(seen.finite && Number.isNaN(seen.gradNorm));
    assert.deepEqual(now, then);
    assert.ok(counted.includes('steps skipped for overflowing gradients'));
  });
  withSession({}, (session) => {
    const head = spoiltHead(session.head);
    const { seen, counted } = leftOut(session, noOldModelInputs, { head, scaler: new LossScaler({ scale: 1 }) });
    assert.deepEqual([seen.finite, counted], [false, []], 'nothing is left to halve');
  });
});

test('old embeddings that are no numbers do not stay in NCCL’s queue', () =>
  withSession({ method: { kind: 'nccl', queueSize: 10 } }, (session) => {
    const bad: OldModelInputs = {
      ...noOldModelInputs,
      forBatch: () => ({ oldEmbedding: full([6, 8], Number.NaN) }) as never,
    };
    const { then, now, seen } = leftOut(session, bad);
    assert.ok(Number.isNaN(seen.loss) && !seen.finite);
    assert.deepEqual(now, then);
  }));

test('a gradient that is non-finite in one process alone is skipped by all', async () => {
  const answers = await inProcesses<{ same: boolean; finite: boolean; loss: number }>(2, 'bad-gradient', null);
  for (const { same, finite, loss } of answers)
    assert.ok(same && !finite && Number.isFinite(loss), JSON.stringify(answers));
});

test('weights that an update has made infinite are no finished model', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  const last = { batchSize: 48, epochs: 1, optimizer: { kind: 'sgd', lr: 3e38 }, schedule: { kind: 'constant' } };
  await assert.rejects(
    trained(dataset, out, last),
    /non-finite numbers after step 1: \S+.*; the checkpoint of step 0 is kept\n.*optimizer\.lr/,
  );
  assert.equal(existsSync(join(out, MANIFEST)), false);
});
