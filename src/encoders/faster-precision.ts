import { Rng } from '../base/rng.ts';
import { packedForm } from '../models/packed/index.ts';
import type { Precision } from '../models/precisions.ts';
import { bf16Instructions, defaultDevice } from '../torch/index.ts';
import { type EmbeddingModules, type EmbeddingOptions, embedWith } from './backbone-encoder.ts';
import { unitDifference } from './unit-difference.ts';

/** Images that are embedded in both precisions, and how often: the faster time counts. */
const [COUNT, ROUNDS] = [16, 3];
/** bf16 has to save this much of the time, so that a machine with other work does not choose anew each time. */
const LEAST_GAIN = 1.15;
/** Smallest cosine between the embeddings of an image in both precisions. */
export const LEAST_COSINE = 0.9995;

/**
 * What a model embeds in fastest on this machine: bf16 where that was measured to gain, by some images of noise, and where their
 * embeddings agree with those in float32; float32 on processors without instructions for bf16, and on CUDA devices.
 */
export async function fasterPrecision(
  modules: EmbeddingModules,
  options: Omit<EmbeddingOptions, 'precision'>,
): Promise<Precision> {
  if (bf16Instructions().length === 0 || defaultDevice() !== 'cpu') return 'float32';
  const rng = new Rng(0).split('images');
  const images = Uint8Array.from({ length: COUNT * options.side ** 2 * 3 }, () => rng.integer(256));
  const packed = packedForm(modules.backbone);
  const embedders = {
    float32: embedWith({ ...modules, backbone: packed ?? modules.backbone }, options),
    bf16: embedWith(modules, { ...options, precision: 'bf16' }),
  };
  const measure = async (which: keyof typeof embedders) => {
    const startMs = performance.now();
    const rows = await embedders[which](images, COUNT);
    return { rows, ms: performance.now() - startMs };
  };
  try {
    const [float, half] = [await measure('float32'), await measure('bf16')]; // the first calls allocate
    if (unitDifference(float.rows, half.rows, float.rows.length / COUNT).cosine < LEAST_COSINE) return 'float32';
    const best = { float32: Number.POSITIVE_INFINITY, bf16: Number.POSITIVE_INFINITY };
    for (let round = 0; round < ROUNDS; round++)
      for (const which of ['float32', 'bf16'] as const) best[which] = Math.min(best[which], (await measure(which)).ms);
    return best.float32 > LEAST_GAIN * best.bf16 ? 'bf16' : 'float32';
  } finally {
    packed?.dispose();
  }
}
