import type { Rng } from '../base/rng.ts';
import { Linear } from '../nn/index.ts';
import { AdamW, clearGradients } from '../optim/index.ts';
import {
  backward,
  clone,
  detach,
  mean,
  mul,
  neg,
  noGrad,
  normalizeRows,
  scope,
  sum,
  type Tensor,
  zeros,
} from '../torch/index.ts';
import { type AdapterMap, mapRows } from './adapter-map.ts';
import type { Candidate, TrainingPairs } from './candidate.ts';
import { forEachBlock, type PairedRows } from './paired-rows.ts';
import { ridge } from './ridge.ts';

const HIDDEN = 256;
const [BATCH, LEARNING_RATE, WEIGHT_DECAY] = [256, 1e-3, 1e-2];
/** Epochs at most, and epochs without a better one after which training stops. */
const [MOST_EPOCHS, PATIENCE] = [40, 4];

/** Cosine of each mapped row with its target. [K] */
const agreement = (map: AdapterMap, x: Tensor, y: Tensor): Tensor =>
  sum(mul(normalizeRows(mapRows(map, x)), normalizeRows(y)), { dim: -1 });

/** Mean agreement on other rows. */
function meanAgreement(map: AdapterMap, pairs: PairedRows, rows: Int32Array): number {
  let total = 0;
  noGrad(() => forEachBlock(pairs, rows, (x, y) => (total += sum(agreement(map, x, y)).item())));
  return total / rows.length;
}

/**
 * Trains relu layers beside a linear map that stays, for `epochs` or until `onEpoch` says that it is enough.
 * Loss: 1 less the mean cosine of mapped rows and their targets. The last layer starts at 0, so training starts at the linear map.
 */
function trainResidual(
  linear: AdapterMap,
  pairs: PairedRows,
  rows: Int32Array,
  { rng, epochs, isEnough }: TrainOptions,
): AdapterMap {
  const hidden = new Linear(pairs.dims.x, HIDDEN, {}, rng.split('hidden'));
  const residual = new Linear(HIDDEN, pairs.dims.y, { init: (shape) => zeros(shape) }, rng.split('residual'));
  const learned = [hidden.weight, hidden.bias!, residual.weight, residual.bias!] as const;
  const optimizer = new AdamW(learned, { weightDecay: WEIGHT_DECAY });
  const map = {
    ...linear,
    'hidden.weight': hidden.weight,
    'hidden.bias': hidden.bias!,
    'residual.weight': residual.weight,
    'residual.bias': residual.bias!,
  };
  try {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const order = Int32Array.from(rng.split('order', epoch).sample(rows, rows.length));
      const step = (x: Tensor, y: Tensor): void => {
        clearGradients(learned);
        backward(neg(mean(agreement(map, x, y))));
        optimizer.step(LEARNING_RATE);
      };
      forEachBlock(pairs, order, step, BATCH);
      if (isEnough?.(map, epoch)) break;
    }
    return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, clone(detach(value))]));
  } finally {
    optimizer.dispose();
    hidden.dispose();
    residual.dispose();
  }
}
type TrainOptions = {
  readonly rng: Rng;
  readonly epochs: number;
  readonly isEnough?: (map: AdapterMap, epoch: number) => boolean;
};

/** The number of epochs after which agreement on the identities of the first fold is best; 0 if the linear map's is. */
function chooseEpochs({ pairs, folds, rng }: TrainingPairs): number {
  const [heldOut, ...others] = folds;
  return scope(() => {
    const { map: linear } = ridge.fit({ pairs, folds: others, rng });
    const best = { epoch: 0, value: meanAgreement(linear, pairs, heldOut!.rows) };
    const isEnough = (map: AdapterMap, epoch: number): boolean => {
      const value = meanAgreement(map, pairs, heldOut!.rows);
      if (value > best.value) Object.assign(best, { epoch, value });
      return epoch - best.epoch >= PATIENCE;
    };
    trainResidual(linear, pairs, rowsOf(others), { rng, epochs: MOST_EPOCHS, isEnough });
    return best.epoch;
  });
}

const rowsOf = (folds: TrainingPairs['folds']): Int32Array => Int32Array.from(folds.flatMap(({ rows }) => [...rows]));

/**
 * A ridge regression plus a layer of relu units (a residual block, He et al. 2016, whose shortcut is the regression), trained by
 * AdamW. One fold of identities tells when to stop; then all are trained on for as many epochs.
 */
export const residualMlp: Candidate = {
  method: 'residual-mlp',
  fit(training) {
    const epochs = chooseEpochs(training);
    const { map: linear, settings } = ridge.fit(training);
    const { pairs, folds, rng } = training;
    const map = epochs === 0 ? linear : trainResidual(linear, pairs, rowsOf(folds), { rng, epochs });
    return { map, settings: { ...settings, epochs } };
  },
};
