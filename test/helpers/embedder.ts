import type { Embedder } from '../../src/features/index.ts';

export const SIDE = 16;

/**
 * A model of two numbers: the mean of the left half of a picture, and of the right half with a trace of the batch's size in
 * it, as real models have in their last bits. It lists the sizes of the batches it was given.
 */
export function tellingEmbedder(onBatch: () => unknown = () => undefined): {
  readonly embedder: Embedder;
  readonly batches: readonly number[];
} {
  const batches: number[] = [];
  const embed = (images: Uint8Array, count: number): Float32Array => {
    batches.push(count);
    onBatch();
    const result = new Float32Array(2 * count);
    const pixels = SIDE * SIDE;
    for (let i = 0; i < count * pixels; i++)
      result[2 * Math.floor(i / pixels) + (i % SIDE < SIDE / 2 ? 0 : 1)]! += images[3 * i]! / 128;
    for (let row = 0; row < count; row++) result[2 * row + 1]! += 1e-4 * count;
    return result;
  };
  return { embedder: { name: 'halves', digest: 'a model', dim: 2, side: SIDE, embed }, batches };
}
