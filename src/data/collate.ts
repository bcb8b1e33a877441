import { add, atHome, div, flip, permute, share, type Tensor, tensor, to } from '../torch/index.ts';
import { type PerChannel, type PixelMapping, pixelMappings } from './pixels.ts';

/** Pixels as they leave the decoder: [B, H, W, 3] bytes. */
export type Pixels = { readonly images: Uint8Array; readonly count: number; readonly side: number };

/**
 * Pixels as a backbone takes them: (x - mean) / std, float32 [B, 3, S, S]. The bytes are interleaved already, so the result
 * is channels-last without a copy: the one place where the layout of a network's data is chosen (docs/performance.md).
 */
export function imageTensor(
  { images, count, side }: Pixels,
  { channels, mean, std }: PixelMapping = pixelMappings.train,
): Tensor {
  const bytes = share(images.subarray(0, count * side * side * 3), { shape: [count, side, side, 3] });
  const there = atHome(permute(bytes, [0, 3, 1, 2])); // as bytes, a quarter of the numbers
  const floats = to(channels === 'BGR' ? flip(there, [1]) : there, { dtype: 'float32' });
  const offset = mean.map((value, i) => -value / std[i]!) as unknown as PerChannel;
  return add(div(floats, perChannel(std)), perChannel(offset));
}

/** One number where the channels agree, as it is faster; else [3, 1, 1]. */
const perChannel = (values: PerChannel): number | Tensor =>
  values.every((value) => value === values[0]) ? values[0] : tensor(values, { shape: [3, 1, 1] });

/** Class ids as int64 [B]. */
export const labelTensor = (labels: ArrayLike<number>): Tensor =>
  tensor(BigInt64Array.from(Array.from(labels), BigInt));
