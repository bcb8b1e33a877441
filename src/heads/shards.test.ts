// Classes in shards: against the numbers of methods.md 8.2, the loss over all classes at once, and finite differences.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, golden, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import {
  add,
  clamp,
  concat,
  cosines,
  exp,
  gradients,
  largest,
  mean,
  mul,
  narrow,
  requireGrad,
  scope,
  square,
  sub,
  type Tensor,
  tensor,
  toNumbers,
} from '../torch/index.ts';
import {
  arcfaceLogits,
  labelsInShard,
  type ShardLogits,
  saturatedCrossEntropy,
  shardedCrossEntropy,
  shardOf,
} from './index.ts';

/** Sums in another order, in double precision, of losses up to 69. */
const ROUND_OFF = 1e-11;

const vectors = golden('parity_vectors.json').pfc_world1_world2;
const arc = { marginRad: 0.5, scale: 64 };
const target = [0, 2, 9, 6];
const CLASSES = 11;

const shardsOf = (processes: number) =>
  Array.from({ length: processes }, (_, rank) => shardOf(CLASSES, { processes, rank }));

/** One shard's part of the head of 8.2. */
function partOf(embeddings: Tensor, weight: Tensor, shard: ReturnType<typeof shardOf>): ShardLogits {
  const labels = labelsInShard(int64(target), shard);
  return { logits: arcfaceLogits(clamp(cosines(embeddings, weight), -1, 1), labels, arc), labels };
}

/** The head of 8.2 in shards: embeddings [4, 8] and each shard's rows of the weight. */
function world(processes: number) {
  const embeddings = requireGrad(fill([4, 8], 0.3, 0.7));
  const whole = fill([CLASSES, 8], 1.1, 0.37);
  const shards = shardsOf(processes);
  const weights = shards.map(({ start, count }) => requireGrad(narrow(whole, 0, start, count)));
  return { embeddings, weights, parts: shards.map((shard, s) => partOf(embeddings, weights[s]!, shard)) };
}

test('classes are spread evenly, the first shards take the rest (2.8, 8.2)', () => {
  for (const processes of [1, 2])
    for (const [rank, { start, count }] of shardsOf(processes).entries()) {
      const expected = vectors[processes][rank];
      assert.deepEqual([start, count], [expected.class_start, expected.num_local]);
    }
  assert.deepEqual(
    shardsOf(3).map(({ start, count }) => [start, count]),
    [
      [0, 4],
      [4, 4],
      [8, 3],
    ],
  );
  for (let classes = 1; classes < 20; classes++)
    for (let processes = 1; processes < 7; processes++) {
      const shards = Array.from({ length: processes }, (_, rank) => shardOf(classes, { processes, rank }));
      const held = shards.flatMap(({ start, count }) => Array.from({ length: count }, (_, i) => start + i));
      assert.deepEqual(held, [...new Array(classes).keys()], 'every class once, in order');
    }
});

test('labels of other shards are -1', () =>
  scope(() => {
    const seen = shardsOf(3).map((shard) => toNumbers(labelsInShard(int64([0, 3, 4, 7, 8, 10]), shard)));
    assert.deepEqual(seen, [
      [0, 3, -1, -1, -1, -1],
      [-1, -1, 0, 3, -1, -1],
      [-1, -1, -1, -1, 0, 2],
    ]);
  }));

test('cosines and the cross-entropy of each sample are those of 8.2', () =>
  scope(() => {
    const SIX_DIGITS = 1e-6;
    const [embeddings, weight] = [fill([4, 8], 0.3, 0.7), fill([CLASSES, 8], 1.1, 0.37)];
    assert.ok(gap(cosines(embeddings, weight), vectors.cos.flat()) < SIX_DIGITS);
    const logits = arcfaceLogits(cosines(embeddings, weight), int64(target), arc);
    for (const [i, expected] of vectors.per_sample.entries()) {
      const one = shardedCrossEntropy([{ logits: narrow(logits, 0, i, 1), labels: int64([target[i]!]) }]);
      assert.ok(Math.abs(one.item() - Math.min(expected, 69.0775527898)) < PRINTED, `sample ${i}`);
    }
  }));

test('one process that holds one, two or three shards has the loss and the gradients of 8.2', () => {
  const expected = vectors[1][0];
  for (const processes of [1, 2, 3])
    scope(() => {
      const { embeddings, weights, parts } = world(processes);
      const loss = shardedCrossEntropy(parts);
      assert.ok(Math.abs(loss.item() - expected.loss) < PRINTED, `${processes} shards`);
      const [dE, ...dW] = gradients(loss, [embeddings, ...weights]) as Tensor[];
      assert.ok(gap(dE!, expected.gemb.flat()) < PRINTED);
      assert.ok(gap(concat(dW), expected.gW.flat()) < PRINTED);
    });
});

test('two processes that only exchange maxima and sums have the numbers of 8.2', () =>
  scope(() => {
    const { embeddings, weights, parts } = world(2);
    const most = largest(
      concat(
        parts.map(({ logits }) => logits),
        1,
      ),
      1,
    );
    /** What a process says in the second exchange: its sum, and its share of the own classes. */
    const sums = parts.map(({ logits, labels }) => {
      const odds = toNumbers(exp(sub(logits, most)));
      const width = logits.shape[1]!;
      return toNumbers(labels).flatMap((label, i) => {
        const row = odds.slice(i * width, (i + 1) * width);
        return [row.reduce((a, b) => a + b), label < 0 ? 0 : row[label]!];
      });
    });
    const said: number[][] = [];
    const [toEmbeddings, losses]: [number[][], number[]] = [[], []];
    for (const [rank, part] of parts.entries()) {
      const across = {
        max: () => most,
        sum: (x: Tensor) => {
          said[rank] = toNumbers(x);
          return tensor(
            Float64Array.from(sums[0]!, (v, i) => v + sums[1]![i]!),
            { shape: x.shape },
          );
        },
      };
      const loss = shardedCrossEntropy([part], across);
      losses.push(loss.item());
      const [dE, dW] = gradients(loss, [embeddings, weights[rank]!]) as [Tensor, Tensor];
      assert.ok(gap(dW, vectors[2][rank].gW.flat()) < PRINTED, 'rows of the weight as in one process');
      toEmbeddings.push(toNumbers(dE));
    }
    assert.ok(gap(losses, [vectors[2][0].loss, vectors[2][1].loss]) < PRINTED, 'one loss on every process');
    assert.ok(gap(said.flat(), sums.flat()) < ROUND_OFF);
    // the gather's backward pass sums over the processes and, for the mean that follows, multiplies by W (2.9)
    const gathered = toEmbeddings[0]!.map((g, i) => 2 * (g + toEmbeddings[1]![i]!));
    assert.ok(gap(gathered, [...vectors[2][0].gemb, ...vectors[2][1].gemb].flat()) < PRINTED);
  }));

test('in shards the loss is that of all classes at once, value and gradient, saturated or not (D-30)', () => {
  for (const scale of [1, 8, 60])
    scope(() => {
      const logits = requireGrad(fill([4, CLASSES], 0.4, 1.7, scale));
      const whole = saturatedCrossEntropy(logits, int64(target));
      const parts = shardsOf(3).map((shard) => ({
        logits: narrow(logits, 1, shard.start, shard.count),
        labels: labelsInShard(int64(target), shard),
      }));
      const sharded = shardedCrossEntropy(parts);
      assert.ok(Math.abs(sharded.item() - whole.item()) < ROUND_OFF, `scale ${scale}`);
      const [wanted, seen] = [whole, sharded].map((loss) => toNumbers(gradients(loss, [logits])[0]!));
      assert.ok(gap(seen!, wanted!) < ROUND_OFF);
    });
});

test('its gradient agrees with finite differences, also when the loss is one term of several', () => {
  const loss = (logits: Tensor): Tensor => {
    const parts = shardsOf(2).map((shard) => ({
      logits: narrow(logits, 1, shard.start, shard.count),
      labels: labelsInShard(int64(target), shard),
    }));
    return add(mul(shardedCrossEntropy(parts), 0.3), mean(square(logits)));
  };
  assert.ok(gradientGap(loss, fill([4, CLASSES], 0.4, 1.7)) < DIFFERENCES);
});
