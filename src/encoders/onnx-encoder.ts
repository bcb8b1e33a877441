import { UserError } from '../base/errors.ts';
import type { ModelInput } from '../data/model-input.ts';
import type { Encoder, ModelIdentity } from './encoder.ts';
import { type OnnxInterface, OnnxSession, onnxMessage } from './onnx-session.ts';

export type OnnxEncoderOptions = ModelIdentity &
  ModelInput & {
    readonly interface: OnnxInterface;
    /** D */
    readonly dim: number;
    /** Height and width of its images in pixels. */
    readonly side: number;
  };

/** An encoder of an ONNX file, by ONNX Runtime on the processor. @throws UserError if ONNX Runtime is not installed */
export async function onnxEncoder(file: string, { interface: about, ...own }: OnnxEncoderOptions): Promise<Encoder> {
  const session = await OnnxSession.open(file, `the ONNX model ${own.name}`);
  const { side, pixels, dim } = own;
  return {
    ...own,
    space: 'own',
    device: 'cpu',
    precision: 'float32',
    async embed(images, count) {
      try {
        return await session.embed(images, count, { ...about, side, pixels, dim });
      } catch (error) {
        if (error instanceof UserError) throw error;
        throw new UserError(`${own.name}: ONNX Runtime fails (${onnxMessage(error)})`, { cause: error });
      }
    },
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}
