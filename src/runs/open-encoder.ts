import { digestOf } from '../artifacts/digest.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { modelInput } from '../data/model-input.ts';
import { type PixelMapping, type PixelMappingName, pixelMappings } from '../data/pixels.ts';
import { backboneEncoder, type Encoder, fasterPrecision, type Space } from '../encoders/index.ts';
import { onnxEncoder } from '../encoders/onnx-encoder.ts';
import { checkPrecision } from '../models/mixed-precision.ts';
import type { PrecisionChoice } from '../models/precisions.ts';
import { loadModel, openRun, readRunManifest } from './load-model.ts';
import { runFiles } from './run-artifact.ts';

export type EncoderOptions = {
  readonly space?: Space;
  /** `ijb` divides by 128, for models that declare no mapping of pixels; default: `train`, as the model was trained. */
  readonly pixels?: PixelMappingName;
  /** What the backbone computes in, whatever it was trained in. */
  readonly precision?: PrecisionChoice;
};

/**
 * The encoder of a finished run. In the `old` space its embeddings have gone through the projection.
 * @throws FileError as `loadModel` does; UserError if there is no projection to the old space, the precision is
 * not to be had, `pixels` is `ijb` and the model declares its own mapping, or ONNX Runtime is missing.
 */
export async function openEncoder(
  run: string,
  { space = 'own', pixels = 'train', precision = 'float32' }: EncoderOptions = {},
): Promise<Encoder> {
  if (precision !== 'auto') checkPrecision(precision);
  const manifest = readRunManifest(run);
  const { name, model, preset, differences, dataset, recipe } = manifest;
  const { inputSide: side, embeddingDim } = recipe.network;
  const input = modelInput(recipe.input);
  const about = {
    ...{ name, preset, differences, side },
    pixels: chosenPixels(name, input.pixels, pixels),
    resize: input.resize,
  };
  if (manifest.onnx) {
    if (precision !== 'float32' && precision !== 'auto')
      throw new UserError(`${name} is an ONNX model, which computes in its own precision: ${precision} was asked for`, {
        hint: optionHint('leave --precision out'),
      });
    openRun(run, space);
    const own = { ...about, digest: model, trainedOn: null, dim: embeddingDim, interface: manifest.onnx };
    return await onnxEncoder(runFiles(run).onnx, own);
  }
  const { backbone, projection, trainedClassKeys } = loadModel(run, { space });
  const modules = { backbone, projection };
  const chosen = precision === 'auto' ? await fasterPrecision(modules, { side, pixels: about.pixels }) : precision;
  if (precision === 'auto') logLine(`precision auto: ${chosen}`);
  return backboneEncoder(modules, {
    ...{ ...about, space, precision: chosen },
    digest: space === 'old' ? digestOf(model, 'old') : model,
    trainedOn: dataset && { dataset, classKeys: trainedClassKeys },
    dim: projection ? recipe.projection!.dim : embeddingDim,
  });
}

function chosenPixels(name: string, own: PixelMapping, asked: PixelMappingName): PixelMapping {
  if (asked === 'train') return own;
  if (own !== pixelMappings.train)
    throw new UserError(`${name} declares its own mapping of pixels, which ${asked} would replace`, {
      hint: optionHint('leave --pixels out'),
    });
  return pixelMappings[asked];
}
