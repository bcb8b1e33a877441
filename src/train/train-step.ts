import { imageTensor, labelTensor } from '../data/collate.ts';
import type { Batch, PixelMapping } from '../data/index.ts';
import type { LossTerms, TrainingStep } from '../methods/index.ts';
import { clearGradients, clipGradients, gradientNorm } from '../optim/index.ts';
import {
  add,
  backward,
  defaultGenerator,
  mul,
  noGrad,
  type ProcessGroup,
  reshape,
  scope,
  stack,
  type Tensor,
  to,
  toNumbers,
  withPeerErrors,
} from '../torch/index.ts';
import { allReduceAny, allReduceSum } from './collectives.ts';
import type { OldModelInputs } from './old-model-inputs.ts';
import { embedBatch, type Session } from './session.ts';

export type StepSettings = Pick<TrainingStep, 'progress' | 'epoch' | 'epochs' | 'rng' | 'count'> & {
  readonly lr: number;
  readonly clipNorm: number | null;
  readonly side: number;
  /** Default: (x - 127.5) / 127.5. */
  readonly pixels?: PixelMapping;
  /** Whether the flag is set in any process, so that all skip the same steps (D-22). Default: asks the session's group. */
  readonly anywhere?: (flag: boolean) => boolean;
};

/** Numbers of one step, means over the processes. */
export type StepResult = {
  readonly loss: number;
  readonly terms: Readonly<Record<string, number>>;
  /** Norm before clipping; NaN if the step was skipped. */
  readonly gradNorm: number;
  /** Whether loss and gradient are finite. A gradient that overflows in fp16 only for its scale counts as finite. */
  readonly finite: boolean;
};

/**
 * One optimiser step on one batch: forward, terms, backward, clip, update. Nothing but numbers leaves it. A non-finite loss
 * or gradient changes no weight and no optimiser state, in any process. Loss, terms and norm are read at once, behind the
 * backward pass: a device is waited for once in a step, and once more for each of fp16's checks.
 */
export function trainStep(
  session: Session,
  batch: Pick<Batch, 'images' | 'labels' | 'indices'>,
  old: OldModelInputs,
  { lr, clipNorm, side, pixels, anywhere = (flag) => allReduceAny(session.group, flag), ...at }: StepSettings,
): StepResult {
  const { projection, head, method, optimizer, parameters, clipped, unclipped, scaler, pass, group, buckets } = session;
  return scope(() => {
    // random masks are each process's own
    const masks = group.rank === 0 ? at.rng.split('dropout') : at.rng.split('dropout', group.rank);
    defaultGenerator().seed(masks.seed());
    const images = imageTensor({ images: batch.images, count: batch.labels.length, side }, pixels);
    const embeddings = embedBatch(session, images); // [B, D]
    const { classifier, chosen } = head.forStep(batch.labels, at.rng.split('classes'));
    const toOldSpace = (rows: Tensor): Tensor => (projection ? projection.forward(rows, pass) : rows);
    const terms = method.terms({
      ...at,
      embeddings,
      inOldSpace: toOldSpace(embeddings),
      toOldSpace,
      labels: labelTensor(batch.labels),
      head: classifier,
      pass,
      group,
      old: old.forBatch(batch.indices),
    });
    const loss = totalOf(terms);
    buckets?.arm();
    withPeerErrors('backward', () => backward(scaler ? scaler.scaled(loss) : loss));
    buckets?.finish();
    const others = chosen ? [...unclipped, chosen.rows] : unclipped;
    const fits = !scaler || scaler.unscale([...clipped, ...others]);
    const { norm, ...means } = readStep(group, { loss, terms, norm: gradientNorm(clipped, others) });
    const gradNorm = fits ? norm : Number.NaN;
    const clean = !anywhere(!Number.isFinite(means.loss) || !Number.isFinite(gradNorm));
    // at a scale of 1 or less it is not the scale that overflows
    const overflows = !clean && Number.isFinite(means.loss) && scaler !== null && scaler.scale > 1;
    if (clean) {
      clipGradients(clipped, gradNorm, clipNorm ?? Number.POSITIVE_INFINITY);
      optimizer.step(lr, chosen);
    } else if (overflows) at.count('steps skipped for overflowing gradients', 1);
    if (Number.isFinite(means.loss)) scaler?.update(clean);
    clearGradients(parameters);
    return { ...means, gradNorm: clean ? gradNorm : Number.NaN, finite: clean || overflows };
  });
}

/** The numbers of a step, in one transfer: loss and terms as means over the processes, non-finite everywhere if they are in one; the norm. */
function readStep(
  group: ProcessGroup,
  { loss, terms, norm }: { readonly loss: Tensor; readonly terms: LossTerms; readonly norm: Tensor },
) {
  const names = Object.keys(terms);
  const values = [norm, loss, ...Object.values(terms).map(({ value }) => value)];
  const [ownNorm, ...own] = noGrad(() =>
    toNumbers(stack(values.map((value) => reshape(to(value, { dtype: 'float64' }), [])))),
  );
  const [mean, ...means] = allReduceSum(group, own).map((sum) => sum / group.processes);
  return { norm: ownNorm!, loss: mean!, terms: Object.fromEntries(names.map((name, i) => [name, means[i]!])) };
}

/** Σ weight · value of a method's terms. */
function totalOf(terms: LossTerms): Tensor {
  const parts = Object.values(terms).map(({ value, weight }) => (weight === 1 ? value : mul(value, weight)));
  const [first, ...rest] = parts;
  if (!first) throw new Error('a method returned no loss terms');
  return rest.reduce((sum, part) => add(sum, part), first);
}
