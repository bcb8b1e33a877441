// node convolution-check.js SWEEP, see convolutions.ts: value and gradients of convolutions, channels-last, against the same in
// float64. Prints a line for each that differs.
import { Rng } from '../../src/base/rng.ts';
import { Conv2d } from '../../src/nn/index.ts';
import {
  autocast,
  backward,
  contiguous,
  conv2d,
  type Dtype,
  detach,
  requireGrad,
  scope,
  setThreads,
  square,
  sum,
  type Tensor,
  tensor,
  to,
  toFloat64,
} from '../../src/torch/index.ts';

import { kinds, type Layer, type Sweep } from './convolutions.ts';

/** Largest difference relative to the largest element: sums of up to 10⁶ products in float32; 8 bits of bf16. */
const TOLERANCE = { float32: 1e-4, bfloat16: 0.03 };

const pattern = (shape: readonly number[]): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(0.37 * i)),
    { shape },
  );

/** Of a layer's value and its gradients, the largest difference to float64. */
function farthest(
  [inputs, outputs, options, side]: Layer,
  batch: number,
  image: number,
  dtype: Sweep['dtype'],
): number {
  const layer = new Conv2d(inputs, outputs, { bias: false, ...options }, new Rng(1));
  const { stride = 1, padding = 0, groups = 1 } = options;
  const shape = [batch, inputs, side ?? image, side ?? image];
  const numbersOf = (x: Tensor, y: Tensor, weight: Tensor): Float64Array[] => {
    backward(sum(square(to(y, { dtype: x.dtype }))));
    return [y, x.grad!, weight.grad!].map((value) => toFloat64(to(value, { dtype: 'float64' })));
  };
  const leaf = (of: Dtype): Tensor => requireGrad(contiguous(to(pattern(shape), { dtype: of }), 'channels_last'));
  const ours = scope(() => {
    const x = leaf('float32');
    const forward = (): Tensor => layer.forward(x);
    const y = dtype === 'float32' ? forward() : autocast(forward, { device: 'cpu', dtype });
    return numbersOf(x, y, layer.weight);
  });
  const exact = scope(() => {
    const [x, weight] = [leaf('float64'), requireGrad(to(detach(layer.weight), { dtype: 'float64' }))];
    const bias = layer.bias && to(detach(layer.bias), { dtype: 'float64' });
    return numbersOf(x, conv2d(x, weight, bias, { stride, padding, groups }), weight);
  });
  layer.dispose();
  return Math.max(
    ...exact.map((wanted, i) => {
      const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), Number.MIN_VALUE);
      // a NaN counts as infinitely far
      return (
        wanted.reduce(
          (most, value, k) =>
            Math.abs(value - ours[i]![k]!) <= most ? most : Math.abs(value - ours[i]![k]!) || Number.POSITIVE_INFINITY,
          0,
        ) / largest
      );
    }),
  );
}

const { threads, dtype, ...lists } = JSON.parse(process.argv[2]!) as Sweep;
setThreads(threads);
for (const kind of lists.kinds)
  for (const channels of lists.channels)
    for (const side of lists.sides)
      for (const batch of lists.batches) {
        const far = farthest(kinds[kind]!(channels, side), batch, side, dtype);
        if (!(far < TOLERANCE[dtype]))
          process.stdout.write(`${kind}, ${channels} channels, side ${side}, batch ${batch}: ${far}\n`);
      }
