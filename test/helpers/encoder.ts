import { pixelMappings, stretched } from '../../src/data/index.ts';
import type { Encoder } from '../../src/encoders/index.ts';

export const SIDE = 16;

/** An encoder of a function. */
export const testEncoder = (own: Pick<Encoder, 'name' | 'digest' | 'dim' | 'side' | 'embed'>): Encoder => ({
  preset: 'default',
  differences: [],
  trainedOn: null,
  space: 'own',
  pixels: pixelMappings.train,
  resize: stretched,
  device: 'cpu',
  precision: 'float32',
  ...own,
  [Symbol.dispose]: () => undefined,
});

/**
 * A model of two numbers: the mean of the left half of a picture, and of the right half with a trace of the batch's size in
 * it, as real models have in their last bits. It lists the sizes of the batches it was given.
 */
export function recordingEncoder(onBatch: () => unknown = () => undefined): {
  readonly encoder: Encoder;
  readonly batches: readonly number[];
} {
  const batches: number[] = [];
  const embed = async (images: Uint8Array, count: number): Promise<Float32Array> => {
    batches.push(count);
    onBatch();
    const result = new Float32Array(2 * count);
    const pixels = SIDE * SIDE;
    for (let i = 0; i < count * pixels; i++)
      result[2 * Math.floor(i / pixels) + (i % SIDE < SIDE / 2 ? 0 : 1)]! += images[3 * i]! / 128;
    for (let row = 0; row < count; row++) result[2 * row + 1]! += 1e-4 * count;
    return result;
  };
  return { encoder: testEncoder({ name: 'halves', digest: 'a model', dim: 2, side: SIDE, embed }), batches };
}
