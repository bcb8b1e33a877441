import { add, defaultDevice, div, permute, share, type Tensor, tensor, to } from '../torch/index.ts';
import { type PixelMapping, pixelMappings } from './pixels.ts';

/** Pixels as they leave the decoder: [B, H, W, 3] bytes. */
export type Pixels = { readonly images: Uint8Array; readonly count: number; readonly side: number };

/**
 * Pixels as a backbone takes them: (x - 127.5) / divisor, float32 [B, 3, S, S]. The bytes are interleaved already, so the result
 * is channels-last without a copy: the one place where the layout of a network's data is chosen (docs/performance.md).
 */
export function imageTensor({ images, count, side }: Pixels, { divisor }: PixelMapping = pixelMappings.train): Tensor {
  const bytes = share(images.subarray(0, count * side * side * 3), { shape: [count, side, side, 3] });
  const there = to(permute(bytes, [0, 3, 1, 2]), { device: defaultDevice() }); // as bytes, a quarter of the numbers
  return add(div(to(there, { dtype: 'float32' }), divisor), -127.5 / divisor);
}

/** Class ids as int64 [B]. */
export const labelTensor = (labels: ArrayLike<number>): Tensor =>
  tensor(BigInt64Array.from(Array.from(labels), BigInt));
