import { Rng } from '../../src/base/rng.ts';
import type { MethodSetup, OldModelBatch, TrainingStep } from '../../src/methods/index.ts';
import { singleProcess, sum, type Tensor, zeros } from '../../src/torch/index.ts';

/** What a method is started with in a test: 8 dimensions, 10 classes. */
export const setupOf = (changes: Partial<MethodSetup> = {}): MethodSetup => ({
  oldDim: 8,
  newDim: 8,
  projected: false,
  orthonormal: false,
  classes: 10,
  dataClasses: changes.classes ?? 10,
  epochs: 10,
  rng: new Rng(0),
  ...changes,
});

/** A head without loss: what is left is the method's own. */
export const zeroHead = (weight = zeros([10, 8], { dtype: 'float64' })): TrainingStep['head'] => ({
  weight,
  shard: null,
  loss: () => sum(zeros([1], { dtype: 'float64' })),
  overClasses: (all) => all,
});

type Given = Pick<TrainingStep, 'embeddings' | 'labels'> & { readonly old?: Partial<OldModelBatch> };

/** A step in a test: the first of one epoch, unless `changes` say otherwise. */
export const stepOf = ({ old = {}, ...given }: Given, changes: Partial<TrainingStep> = {}): TrainingStep => ({
  inOldSpace: given.embeddings,
  toOldSpace: (rows) => rows,
  head: zeroHead(),
  progress: 0,
  epoch: 0,
  epochs: 1,
  pass: { train: true },
  group: singleProcess,
  rng: new Rng(0),
  count: () => undefined,
  old: old as OldModelBatch,
  ...given,
  ...changes,
});

/** The value of one term. */
export const termOf = (terms: Readonly<Record<string, { readonly value: Tensor }>>, name: string): Tensor =>
  terms[name]!.value;
