// Steps of a margin head whose classes lie in shards, in double precision on the inputs of methods.md 8.2 and 8.3.
import { Rng } from '../../src/base/rng.ts';
import { ArcFace } from '../../src/heads/index.ts';
import { parameter } from '../../src/nn/index.ts';
import { AdamW, Sgd } from '../../src/optim/index.ts';
import {
  backward,
  type DistributedContext,
  liveTensors,
  narrow,
  requireGrad,
  scope,
  selectRows,
  type Tensor,
  tensor,
  toNumbers,
} from '../../src/torch/index.ts';
import { fill, int64 } from '../helpers/formula.ts';

export type Input = {
  readonly classes: number;
  readonly sampleRate: number;
  readonly optimizer: 'sgd' | 'adamw';
  readonly lr: number;
  /** For each step the labels of the whole batch. */
  readonly steps: readonly (readonly number[])[];
};

export const DIM = 8;
export const settings = { marginRad: 0.5, scale: 64 };
export const optimizers = {
  sgd: (p: Tensor) => new Sgd([p], { momentum: 0.9, weightDecay: 5e-4 }),
  adamw: (p: Tensor) => new AdamW([p], { weightDecay: 0.1 }),
};

export function run({ group }: DistributedContext, input: Input) {
  const { rank, processes } = group;
  const head = new ArcFace(DIM, input.classes, { ...settings, sampleRate: input.sampleRate }, new Rng(0), group);
  const { start, count } = head.shard!;
  const whole = fill([input.classes, DIM], 1.1, 0.37);
  head.weight.dispose();
  Object.assign(head, {
    weight: parameter(tensor(Float64Array.from(toNumbers(narrow(whole, 0, start, count))), { shape: [count, DIM] })),
  });
  const optimizer = optimizers[input.optimizer](head.weight);
  const live: number[] = [];
  const steps = input.steps.map((labels, step) => {
    const own = Array.from({ length: labels.length / processes }, (_, i) => i * processes + rank);
    const result = scope(() => {
      const all = fill([labels.length, DIM], 0.3, 0.7);
      const embeddings = requireGrad(selectRows(all, int64(own)));
      const mine = own.map((row) => labels[row]!);
      const { classifier, chosen } = head.forStep(mine, new Rng('draws').split(step));
      const loss = classifier.loss(embeddings, int64(mine));
      backward(loss);
      const gradient = (chosen?.rows ?? head.weight).grad;
      const seen = {
        loss: loss.item(),
        rows: own,
        toEmbeddings: toNumbers(embeddings.grad!),
        sample: chosen
          ? toNumbers(chosen.index).map((row) => start + row)
          : Array.from({ length: count }, (_, i) => start + i),
        toWeight: gradient ? toNumbers(gradient) : [],
      };
      optimizer.step(input.lr, chosen);
      head.weight.grad = null;
      return seen;
    });
    live.push(liveTensors());
    return result;
  });
  const states = optimizer.statesOf(head.weight).map((state) => toNumbers(state));
  return { start, count, steps, weight: toNumbers(head.weight), states, leaked: live.at(-1)! - live[0]! };
}
