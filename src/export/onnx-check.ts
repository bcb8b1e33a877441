import type { InferenceSession } from 'onnxruntime-node';
import { UserError } from '../base/errors.ts';
import { imageTensor } from '../data/collate.ts';
import { type Dataset, Loader } from '../data/index.ts';
import type { Encoder } from '../encoders/index.ts';
import { loadOnnxRuntime } from '../encoders/onnx-runtime.ts';
import { scope, threads, toFloat32 } from '../torch/index.ts';
import { EMBEDDINGS, IMAGES, type OnnxOptions, type PixelInput } from './onnx-model.ts';
import { type UnitDifference, unitDifference } from './unit-difference.ts';

/** Images that are embedded both ways, in batches of a size that leaves a smaller one. */
const [CHECKED, BATCH] = [64, 7];
/** Smallest cosine of an export that is right, weights in float16 included. */
const LEAST_COSINE = 0.999;

export type OnnxCheck = UnitDifference & { readonly images: number };

type ExportedInput = Pick<OnnxOptions, 'pixels' | 'mapping'>;

/** An ONNX model in ONNX Runtime. Dispose it after use. */
export class OnnxSession {
  readonly #session: InferenceSession;
  readonly #runtime: Awaited<ReturnType<typeof loadOnnxRuntime>>;
  readonly #input: ExportedInput;

  private constructor(
    session: InferenceSession,
    runtime: Awaited<ReturnType<typeof loadOnnxRuntime>>,
    input: ExportedInput,
  ) {
    this.#session = session;
    this.#runtime = runtime;
    this.#input = input;
  }

  /** @throws UserError if ONNX Runtime is not installed. */
  static async open(model: Uint8Array, input: ExportedInput): Promise<OnnxSession> {
    const runtime = await loadOnnxRuntime('the check');
    const session = await runtime.InferenceSession.create(model, { intraOpNumThreads: threads() });
    return new OnnxSession(session, runtime, input);
  }

  /** `count` images, bytes [B, S, S, 3] → embeddings [B · D] and the shape that ONNX Runtime gives them. */
  async embed(
    images: Uint8Array,
    count: number,
    side: number,
  ): Promise<{ rows: Float32Array; dims: readonly number[] }> {
    const { Tensor } = this.#runtime;
    const input =
      this.#input.pixels === 'mapped'
        ? new Tensor(
            'float32',
            scope(() => toFloat32(imageTensor({ images, count, side }, this.#input.mapping))),
            [count, 3, side, side],
          )
        : new Tensor('uint8', images.slice(0, count * side * side * 3), [count, side, side, 3]);
    const { [EMBEDDINGS]: embeddings } = await this.#session.run({ [IMAGES]: input });
    return { rows: embeddings!.data as Float32Array, dims: embeddings!.dims };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.release();
  }
}

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
  await using session = await OnnxSession.open(model, { pixels, mapping: encoder.pixels });
  await using loader = new Loader(dataset, { workers: 0 });
  const images = Math.min(CHECKED, dataset.size);
  const order = Int32Array.from({ length: images }, (_, i) => Math.floor((i * dataset.size) / images));
  let [largest, cosine] = [0, 1];
  const { side: imageSide, resize } = encoder;
  for await (using batch of loader.epoch({ batchSize: BATCH, imageSide, resize, order, skipBad: false })) {
    const count = batch.labels.length;
    const ours = await encoder.embed(batch.images, count);
    const { rows } = await session.embed(batch.images, count, encoder.side);
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
