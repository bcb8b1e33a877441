import { Rng } from '../../src/base/rng.ts';
import { imageTensor } from '../../src/data/collate.ts';
import { parseRecipe } from '../../src/runs/load-recipe.ts';
import {
  copy_,
  fillNormal,
  fillUniform,
  generator,
  mean,
  noGrad,
  scope,
  setDefaultDevice,
  setThreads,
  singleProcess,
  type Tensor,
  to,
  toUint8,
  zeros,
} from '../../src/torch/index.ts';
import { noOldModelInputs, type OldModelInputs } from '../../src/train/old-model-inputs.ts';
import { openSession, type Session, type SessionOptions } from '../../src/train/session.ts';
import { trainStep } from '../../src/train/train-step.ts';
import type { Workload } from '../workload.ts';

/** Small, so that the warm-up losses of two programs can be compared. */
const LR = 0.01;

/** Training as `mixbct train` does it, but on one fixed batch. */
export type Training = {
  readonly session: Session;
  /** One step of the trainer. @returns the loss */
  step(): number;
  /** Takes the batch to the device as a step does, and waits until it is there. */
  copy(): void;
};

type Changes = Readonly<Record<string, unknown>> & { readonly old?: OldModelInputs };

/**
 * `changes`: sections of the recipe, and settings of its network, that are not the workload's. With a `group`, each process has
 * an equal share of the batch.
 */
export function startTraining(
  {
    network: name = 'r18',
    precision = 'float32',
    device = 'cpu',
    sampleRate = 1,
    width,
    side,
    batch,
    dim,
    classes,
    threads,
  }: Workload,
  { network = {}, old = noOldModelInputs, ...changes }: Changes = {},
  { group = singleProcess, overlap = true }: SessionOptions = {},
): Training {
  setThreads(threads);
  setDefaultDevice(device);
  const recipe = parseRecipe(
    {
      network: { name, embeddingDim: dim, inputSide: side, width, ...(network as object) },
      head: { kind: 'arcface', sampleRate },
      optimizer: { kind: 'sgd', lr: LR },
      batchSize: batch,
      precision,
      ...changes,
    },
    'bench',
  );
  const rng = new Rng(0);
  const session = openSession(recipe, classes, rng, { group, overlap });
  drawWeights(session);
  const pixels = scope(() =>
    toUint8(to(fillUniform(zeros([batch * side * side * 3]), generator(1), 0, 256), { dtype: 'uint8' })),
  );
  const share = batch / group.processes;
  const indices = Int32Array.from({ length: share }, (_, i) => i * group.processes + group.rank);
  const bytes = side * side * 3;
  const images = new Uint8Array(share * bytes);
  for (const [i, index] of indices.entries())
    images.set(pixels.subarray(index * bytes, (index + 1) * bytes), i * bytes);
  const fixed = { images, labels: indices.map((i) => (31 * i) % classes), indices };
  const at = { progress: 0, epoch: 0, epochs: 1, rng, count: () => undefined, lr: LR, clipNorm: recipe.clipNorm, side };
  return {
    session,
    step: () => trainStep(session, fixed, old, at).loss,
    copy: () => scope(() => void mean(imageTensor({ images, count: share, side })).item()),
  };
}

/**
 * The same initial weights as bench/peer/step.py: entry e of the state, if it has two dimensions or more, is
 * Normal(0, 1/√fanIn) of libtorch's generator seeded with 100 + e, and the class centres Normal(0, 1) of seed 99.
 */
function drawWeights({ backbone, head }: Session): void {
  const draw = (value: Tensor, seed: number, std: number): Tensor =>
    copy_(value, fillNormal(zeros(value.shape), generator(seed), 0, std));
  scope(() =>
    noGrad(() => {
      for (const [entry, [path, value]] of [...backbone.state()].entries()) {
        if (value.shape.length >= 2) draw(value, 100 + entry, 1 / Math.sqrt(value.numel / value.shape[0]!));
        if (path === 'fc.bias') copy_(value, zeros(value.shape));
      }
      for (const [, value] of head.state()) draw(value, 99, 1);
    }),
  );
}
