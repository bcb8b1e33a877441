import type { InferenceSession } from 'onnxruntime-node';
import { messageOf, UserError } from '../base/errors.ts';
import { fromHalf, toHalf } from '../base/half.ts';
import { imageTensor, type Pixels } from '../data/collate.ts';
import type { PixelMapping } from '../data/pixels.ts';
import { flip, permute, scope, share, threads, toFloat32, toUint8 } from '../torch/index.ts';
import { loadOnnxRuntime } from './onnx-runtime.ts';

/** The input of an ONNX model, and which of its outputs holds the embeddings. */
export type OnnxInterface = {
  readonly input: string;
  /** `uint8`: bytes of RGB pictures, which the model maps itself. */
  readonly type: 'float32' | 'float16' | 'uint8';
  readonly layout: 'NCHW' | 'NHWC';
  /** Images that it takes at a time; null: any number. */
  readonly batch: number | null;
  readonly output: string;
};

/** An interface, and what is known of images and embeddings. */
export type OnnxInput = OnnxInterface & {
  readonly side: number;
  readonly pixels: PixelMapping;
  /** D; absent: not known yet. */
  readonly dim?: number;
};

/** A value of a model's interface. A dimension that is a text is any number. */
export type OnnxValue = {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
};

/** The first line of what ONNX Runtime says of a failure; names in it come from the file. */
export const onnxMessage = (error: unknown): string =>
  messageOf(error)
    .split('\n', 1)[0]!
    .slice(0, 300)
    .replace(/\p{Cc}/gu, '?');

/** A model in ONNX Runtime, on the processor, with the threads that libtorch has. Dispose it after use. */
export class OnnxSession implements Disposable {
  readonly #session: InferenceSession;
  readonly #runtime: Awaited<ReturnType<typeof loadOnnxRuntime>>;

  private constructor(session: InferenceSession, runtime: Awaited<ReturnType<typeof loadOnnxRuntime>>) {
    this.#session = session;
    this.#runtime = runtime;
  }

  /**
   * Opens a file, or its bytes. `purpose` says what needs it, as the subject of a sentence.
   * @throws UserError if ONNX Runtime is not installed; its own Error if the model is none
   */
  static async open(model: string | Uint8Array, purpose: string): Promise<OnnxSession> {
    const runtime = await loadOnnxRuntime(purpose);
    const options: InferenceSession.SessionOptions = {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads(),
      interOpNumThreads: 1,
      logSeverityLevel: 3, // warnings about the graph are for those who wrote it
    };
    const { InferenceSession: Session } = runtime;
    const session =
      typeof model === 'string' ? await Session.create(model, options) : await Session.create(model, options);
    return new OnnxSession(session, runtime);
  }

  get inputs(): readonly OnnxValue[] {
    return this.#session.inputMetadata.map(describeValue);
  }

  get outputs(): readonly OnnxValue[] {
    return this.#session.outputMetadata.map(describeValue);
  }

  /**
   * `count` images, bytes [B, S, S, 3] in RGB → embeddings [B · D]. A model of a fixed batch gets as many images as it takes,
   * black ones after the last.
   * @throws UserError if what comes out is not [B, D]; ONNX Runtime's Error if it fails
   */
  async embed(images: Uint8Array, count: number, about: OnnxInput): Promise<Float32Array> {
    const { side, batch } = about;
    if (batch === null) return (await this.#run(images, count, about)).slice();
    const bytes = side * side * 3;
    const parts: Float32Array[] = [];
    for (let from = 0; from < count; from += batch) {
      const part = new Uint8Array(batch * bytes);
      part.set(images.subarray(from * bytes, Math.min(from + batch, count) * bytes));
      parts.push(await this.#run(part, batch, about));
    }
    const dim = parts[0]!.length / batch;
    const rows = new Float32Array(count * dim);
    for (const [i, part] of parts.entries()) rows.set(part.subarray(0, (count - i * batch) * dim), i * batch * dim);
    return rows;
  }

  async #run(images: Uint8Array, count: number, about: OnnxInput): Promise<Float32Array> {
    const { side, pixels, dim, input, output } = about;
    const fed = fedTo(about, { images: images.subarray(0, count * side * side * 3), count, side }, pixels);
    const shape = about.layout === 'NCHW' ? [count, 3, side, side] : [count, side, side, 3];
    const tensor = new this.#runtime.Tensor(about.type, fed, shape);
    const { [output]: found } = await this.#session.run({ [input]: tensor }, [output]);
    const [rows, size] = found?.dims ?? [];
    if (
      (found?.type !== 'float32' && found?.type !== 'float16') ||
      found.dims.length !== 2 ||
      rows !== count ||
      size !== (dim ?? size)
    )
      throw new UserError(
        `output ${output} of the ONNX model is ${found?.type} [${found?.dims}] for ${count} images, wanted float32 or float16 [${count}, ${dim ?? 'D'}]`,
      );
    if (found.type === 'float32') return found.data as Float32Array;
    const bits = found.data as unknown as Uint16Array; // a Float16Array where Node has it
    return fromHalf(new Uint16Array(bits.buffer, bits.byteOffset, bits.length));
  }

  [Symbol.dispose](): void {
    this.#session.release().catch(() => undefined); // nobody could do anything about it
  }
}

function describeValue(value: InferenceSession.ValueMetadata): OnnxValue {
  return value.isTensor ? value : { name: value.name, type: 'no tensor', shape: [] };
}

/** Bytes [B, S, S, 3] as the model takes them. */
function fedTo(
  { type, layout }: OnnxInterface,
  images: Pixels,
  pixels: PixelMapping,
): Float32Array | Uint16Array | Uint8Array {
  return scope(() => {
    if (type !== 'uint8') {
      const planes = imageTensor(images, pixels);
      const numbers = toFloat32(layout === 'NCHW' ? planes : permute(planes, [0, 2, 3, 1]));
      return type === 'float32' ? numbers : toHalf(numbers); // ONNX Runtime takes the bits of float16
    }
    const { images: bytes, count, side } = images;
    const rgb = share(bytes, { shape: [count, side, side, 3] });
    const rows = pixels.channels === 'BGR' ? flip(rgb, [3]) : rgb;
    return toUint8(layout === 'NHWC' ? rows : permute(rows, [0, 3, 1, 2]));
  });
}
