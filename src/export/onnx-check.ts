import { UserError } from '../base/errors.ts';
import { type Dataset, Loader } from '../data/index.ts';
import { type PixelMapping, pixelMappings } from '../data/pixels.ts';
import type { Encoder } from '../encoders/index.ts';
import { type OnnxInterface, OnnxSession } from '../encoders/onnx-session.ts';
import { type UnitDifference, unitDifference } from '../encoders/unit-difference.ts';
import { EMBEDDINGS, IMAGES, type PixelInput } from './onnx-model.ts';

/** Images that are embedded both ways, in batches of a size that leaves a smaller one. */
const [CHECKED, BATCH] = [64, 7];
/** Smallest cosine of an export that is right, weights in float16 included. */
const LEAST_COSINE = 0.999;

export type OnnxCheck = UnitDifference & { readonly images: number };

/** What a model that we export takes and gives. Bytes go in as RGB, whatever its mapping makes of them. */
export const exportedInput = (input: PixelInput, mapping: PixelMapping): OnnxInterface & { pixels: PixelMapping } => ({
  ...{ input: IMAGES, output: EMBEDDINGS, batch: null },
  ...(input === 'mapped'
    ? { type: 'float32', layout: 'NCHW', pixels: mapping }
    : { type: 'uint8', layout: 'NHWC', pixels: pixelMappings.train }),
});

/**
 * Embeds images of a dataset, evenly chosen, with an ONNX model and with the encoder that it was made of.
 * @throws UserError if ONNX Runtime is not installed, or the two differ by more than rounding does.
 */
export async function checkOnnx(
  model: Uint8Array,
  pixels: PixelInput,
  encoder: Pick<Encoder, 'embed' | 'side' | 'dim' | 'pixels' | 'resize'>,
  dataset: Dataset,
): Promise<OnnxCheck> {
  using session = await OnnxSession.open(model, 'the check');
  const about = { ...exportedInput(pixels, encoder.pixels), side: encoder.side, dim: encoder.dim };
  await using loader = new Loader(dataset, { workers: 0 });
  const images = Math.min(CHECKED, dataset.size);
  const order = Int32Array.from({ length: images }, (_, i) => Math.floor((i * dataset.size) / images));
  let [largest, cosine] = [0, 1];
  const { side: imageSide, resize } = encoder;
  for await (using batch of loader.epoch({ batchSize: BATCH, imageSide, resize, order, skipBad: false })) {
    const count = batch.labels.length;
    const ours = await encoder.embed(batch.images, count);
    const rows = await session.embed(batch.images, count, about);
    const found = unitDifference(ours, rows, encoder.dim);
    largest = Math.max(largest, found.largest);
    cosine = Math.min(cosine, found.cosine);
  }
  if (!(cosine >= LEAST_COSINE))
    throw new UserError(
      `ONNX Runtime's embeddings are not those of mixbct: smallest cosine ${cosine}, wanted at least ${LEAST_COSINE}; nothing was written`,
      { hint: 'the weights may be too large or too small for float32 or float16' },
    );
  return { images, largest, cosine };
}
