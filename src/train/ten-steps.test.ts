import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gap } from '../../test/helpers/formula.ts';
import { golden } from '../../test/helpers/golden.ts';
import { B, batchOf, C, ChosenRows, D, noise, P, SIDE, STEPS } from '../../test/helpers/ten-steps.ts';
import { Rng } from '../base/rng.ts';
import type { OldModelBatch, OldModelConstants } from '../methods/index.ts';
import type { Precision } from '../models/precisions.ts';
import { parseRecipe } from '../runs/load-recipe.ts';
import {
  buildInfo,
  copy_,
  mul,
  noGrad,
  normalizeRows,
  scope,
  type Tensor,
  tensor,
  to,
  toNumbers,
  zero_,
} from '../torch/index.ts';
import { noOldModelInputs } from './old-model-inputs.ts';
import { disposeSession, makeSchedule, openSession, type Session } from './session.ts';
import { trainStep } from './train-step.ts';

/**
 * Ten steps in two programs, relative to values of order 1 and losses of order 10. float32: on one libtorch. The others:
 * what ten steps make of one processor's half-precision kernels against another's, measured over oneDNN's four kinds (bf16 to
 * 0.03, fp16 to 0.0006, without the overflow's four steps).
 */
const TEN_STEPS: Readonly<Record<string, number>> = { float32: 1e-4, bf16: 5e-2, fp16: 3e-3 };
/** The first step in bf16 alone, before weights differ: measured to 0.0007. */
const FIRST_STEP_BF16 = 3e-3;
/** libtorch 1.13 rounds otherwise than the release that the numbers are of, and ten steps let it grow (hoc: 1e-7 in the third, 2e-4 in the fifth). */
const OTHER_RELEASE = 1e-3;
/** How far bf16 may lead a loss from float32's within ten steps: measured to 0.03 of it. */
const BF16_FROM_FLOAT32 = 8e-2;

/** Of gradient norms; bf16 measured to 0.045, as above. */
const NORMS: Readonly<Record<string, number>> = { float32: 1e-3, bf16: 0.15, fp16: 1e-2 };

const float32 = (numbers: Float64Array, shape: readonly number[]): Tensor =>
  scope(() => to(tensor(numbers, { shape }), { dtype: 'float32' }));
const prototypes = (dim: number): Tensor => scope(() => normalizeRows(float32(noise(C * dim, 5003, 1), [C, dim])));

/** Six samples of each class, class after class, in the streams of the script. */
const SIX = 6;
const sixOfEach = (stream: number, dim = D): Float32Array =>
  Float32Array.from(Array.from({ length: C }, (_, label) => Array.from(noise(SIX * dim, stream + label, 1))).flat());

/** What the script has of the whole set. */
const constants = (dim = D): OldModelConstants => ({
  oldPrototypes: prototypes(dim),
  oldBoundaries: {
    centres: scope(() => mul(prototypes(dim), 0.8)),
    radii: float32(
      Float64Array.from({ length: C }, (_, label) => 0.2 + 0.06 * label),
      [C],
    ),
    several: float32(
      Float64Array.from({ length: C }, (_, label) => (label === 9 ? 0 : 1)),
      [C],
    ),
  },
  oldRows: {
    rows: (indices) =>
      Float32Array.from(
        Array.from(indices).flatMap((i) => Array.from(sixOfEach(6000, dim).subarray(i * dim, (i + 1) * dim))),
      ),
    byClass: () =>
      Array.from({ length: C }, (_, label) => Int32Array.from({ length: SIX }, (__, i) => SIX * label + i)),
  },
});

/** Serves the old embeddings of the golden script; which rows are mixed is the script's choice too. */
const oldOf = (step: number, dim: number) => ({
  ...noOldModelInputs,
  forBatch: () =>
    ({
      ...constants(dim),
      oldEmbedding: scope(() =>
        normalizeRows(to(tensor(noise(B * dim, 3000 + step, 1), { shape: [B, dim] }), { dtype: 'float32' })),
      ),
      credible: Int32Array.from({ length: B }, (_, i) => i),
    }) as unknown as OldModelBatch,
});

/** `set_weights` of make_ten_steps.py; entries of one dimension keep their initial values, which are PyTorch's. */
function setWeights({ backbone, projection, head, method }: Session): void {
  const fill = (value: Tensor, numbers: Float64Array): Tensor =>
    copy_(value, to(tensor(numbers, { shape: value.shape }), { dtype: 'float32' }));
  scope(() =>
    noGrad(() => {
      for (const [entry, [path, value]] of [...backbone.state()].entries()) {
        const fanIn = value.shape.slice(1).reduce((product, size) => product * size, 1);
        if (value.shape.length >= 2) fill(value, noise(value.numel, entry, Math.sqrt(12 / fanIn)));
        if (path === 'fc.bias') zero_(value);
      }
      for (const [name, value] of projection?.state() ?? [])
        fill(value, noise(value.numel, 9000, name === 'angles' ? 0.5 : Math.sqrt(12 / D)));
      for (const [, value] of method.modules?.['lce.fromOld']?.state() ?? [])
        fill(value, noise(D * P, 9100, Math.sqrt(12 / P)));
      const adversary = method.modules ?? {};
      for (const [name, value] of adversary['discriminator']?.state() ?? []) {
        const stream = ['d_fc1.weight', 'd_fc1.bias', 'd_fc2.weight', 'd_fc2.bias'].indexOf(name);
        if (stream >= 0) fill(value, noise(value.numel, 8000 + stream, 0.5));
      }
      for (const [, value] of adversary['eboundary']?.state() ?? []) fill(value, noise(C, 8004, 2));
      const parts: Record<string, Float64Array> = { weight: noise(C * D, 4000, 0.5), bias: noise(C, 4001, 0.1) };
      for (const [name, value] of head.state()) fill(value, parts[name]!);
    }),
  );
}

/** Settings of the script that are not the defaults. */
const options: Readonly<Record<string, object>> = {
  advbct: { boundaryWeight: 4 },
  bct: { weight: 1, scale: 16, marginCos: 0.1 },
  unibct: { weight: 1, scale: 30, startEpoch: 0, refreshEpochs: [0] },
  nccl: { alpha: 1, queueSize: 24, temperature: 0.5 },
  lce: { boundaryWeight: 1 },
  ract: { weight: 1, temperature: 0.5 },
  bt2: { weight: 1, scale: 16 },
  pairs: { weight: 1, queueSize: 24, partners: 0, far: 0.1, sharpness: 4 },
  joint: { weight: 1 },
  ndpp: { weight: 1, scale: 16, neighbours: 4, strength: 2 },
};

/** Steps of an epoch: NDPP moves its prototypes before the second. */
const epochOf = (kinds: readonly string[]): number => (kinds.includes('ndpp') ? STEPS / 2 : STEPS);

/** The recipe's `method` section: `l2+bct` is a composition, in which the regression is the weakened one. */
function sectionOf(kinds: readonly string[], projected: boolean): object {
  const parts = kinds.map((kind) => ({ kind, ...options[kind], ...(kind === 'nccl' && projected && { beta: 0 }) }));
  if (parts.length === 1) return parts[0]!;
  return { kind: 'compose', of: parts.map((part) => (part.kind === 'l2' ? { ...part, threshold: 0.2 } : part)) };
}

type Case = {
  method: string;
  head: string;
  optimizer: string;
  precision: Precision;
  losses: number[];
  gradNorms: (number | null)[];
  conv1: number[];
  runningMean: number[];
  features: number[];
  headWeight: number[];
  projection?: number[];
};

const float32Cases = golden('ten_steps.json').cases as Case[];
const composedCases = golden('ten_steps_composed.json').cases as Case[];
const fieldCases = golden('ten_steps_field.json').cases as Case[];
const ownCases = golden('ten_steps_own.json').cases as Case[];
const halfCases = golden('ten_steps_half.json').cases as Case[];
/** libtorch 1.13 has fp16 on CUDA alone. */
const without = (precision: Precision): string | false =>
  precision === 'fp16' && buildInfo().libtorch.startsWith('1.') && 'fp16 wants libtorch 2 on a processor';

for (const expected of [...float32Cases, ...composedCases, ...fieldCases, ...ownCases, ...halfCases])
  test(`ten steps of ${expected.method}, ${expected.head}, ${expected.optimizer}, ${expected.precision} equal PyTorch's`, {
    skip: without(expected.precision),
  }, async () => {
    const projected = expected.projection !== undefined;
    const kinds = expected.method.replace('/p', '').split('+');
    const recipe = parseRecipe(
      {
        network: { name: 'r18', embeddingDim: D, inputSide: SIDE, width: 0.125 },
        head: { kind: expected.head, ...(expected.head === 'simplex' && { firstVertex: 3 }) },
        method: sectionOf(kinds, projected),
        ...(projected && { projection: { dim: P, orthonormal: kinds.includes('bt2') } }),
        optimizer:
          expected.optimizer === 'sgd' ? { kind: 'sgd', lr: 0.02 } : { kind: 'adamw', lr: 0.001, weightDecay: 0.1 },
        epochs: 1,
        batchSize: B,
        precision: expected.precision,
      },
      'test',
    );
    const own = TEN_STEPS[expected.precision]!;
    const tolerance = buildInfo().libtorch.startsWith('1.') ? Math.max(own, OTHER_RELEASE) : own;
    const session = openSession(recipe, C, new Rng(0));
    try {
      setWeights(session);
      const embedTrainSet = async (): Promise<Float32Array> => sixOfEach(7000);
      const lrAt = makeSchedule(recipe, STEPS);
      const dim = projected ? P : D;
      const seen: ReturnType<typeof trainStep>[] = [];
      for (let step = 0; step < STEPS; step++) {
        const epoch = Math.floor(step / epochOf(kinds));
        if (step % epochOf(kinds) === 0) await session.method.onEpoch?.({ epoch, old: constants(dim), embedTrainSet });
        const at = { progress: step / STEPS, epoch, epochs: 1, rng: new ChosenRows(step), count: () => undefined };
        seen.push(
          scope(() =>
            trainStep(session, batchOf(step), oldOf(step, dim), {
              ...at,
              lr: lrAt(step),
              clipNorm: recipe.clipNorm,
              side: SIDE,
            }),
          ),
        );
      }
      for (const [step, { loss, gradNorm }] of seen.entries()) {
        const [wanted, norm] = [expected.losses[step]!, expected.gradNorms[step]!];
        const near = step === 0 && expected.precision === 'bf16' ? FIRST_STEP_BF16 : tolerance;
        assert.ok(
          Math.abs(loss - wanted) < near * Math.max(1, wanted),
          `loss of step ${step}: ${loss}, wanted ${wanted}`,
        );
        if (norm === null) assert.ok(Number.isNaN(gradNorm), `step ${step} is skipped`);
        else
          assert.ok(
            Math.abs(gradNorm / norm - 1) < NORMS[expected.precision]!,
            `gradient norm of step ${step}: ${gradNorm}, wanted ${norm}`,
          );
      }
      if (expected.precision === 'bf16') {
        const wide = float32Cases.find(({ method, head }) => method === expected.method && head === expected.head)!;
        for (const [step, { loss }] of seen.entries())
          assert.ok(Math.abs(loss / wide.losses[step]! - 1) < BF16_FROM_FLOAT32, `float32 loses sight at step ${step}`);
      }
      const state = new Map(session.backbone.state());
      const first8 = (name: string): number[] => toNumbers(state.get(name)!).slice(0, 8);
      const headWeight = session.head.weight;
      const gaps = {
        conv1: gap(first8('conv1.weight'), expected.conv1),
        runningMean: gap(first8('layer2.0.bn2.running_mean'), expected.runningMean),
        features: gap(first8('features.bias'), expected.features),
        headWeight: gap(toNumbers(headWeight).slice(0, 8), expected.headWeight),
      };
      for (const [, value] of session.projection?.state() ?? [])
        assert.ok(gap(toNumbers(value).slice(0, 8), expected.projection!) < tolerance, 'projection');
      for (const [name, difference] of Object.entries(gaps))
        assert.ok(difference < tolerance, `${name}: ${difference}`);
    } finally {
      disposeSession(session);
    }
  });
