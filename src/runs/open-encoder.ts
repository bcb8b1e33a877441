import { digestOf } from '../artifacts/digest.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { modelInput } from '../data/model-input.ts';
import { type PixelMapping, type PixelMappingName, pixelMappings } from '../data/pixels.ts';
import { backboneEncoder, type Encoder, type Space } from '../encoders/index.ts';
import { checkPrecision } from '../models/mixed-precision.ts';
import type { Precision } from '../models/precisions.ts';
import { loadModel } from './load-model.ts';

export type EncoderOptions = {
  readonly space?: Space;
  /** `ijb` divides by 128, for models that declare no mapping of pixels; default: `train`, as the model was trained. */
  readonly pixels?: PixelMappingName;
  /** What the backbone computes in, whatever it was trained in. */
  readonly precision?: Precision;
};

/**
 * The encoder of a finished run. In the `old` space its embeddings have gone through the projection.
 * @throws FileError as `loadModel` does; UserError if there is no projection to the old space, libtorch lacks the
 * precision, or `pixels` is `ijb` and the model declares its own mapping.
 */
export async function openEncoder(
  run: string,
  { space = 'own', pixels = 'train', precision = 'float32' }: EncoderOptions = {},
): Promise<Encoder> {
  checkPrecision(precision);
  const { manifest, backbone, projection, trainedClassKeys } = loadModel(run, { space });
  const { name, model, preset, differences, dataset, recipe } = manifest;
  const input = modelInput(recipe.input);
  return backboneEncoder(
    { backbone, projection },
    {
      ...{ name, preset, differences, space, precision },
      digest: space === 'old' ? digestOf(model, 'old') : model,
      trainedOn: dataset && { dataset, classKeys: trainedClassKeys },
      dim: projection ? recipe.projection!.dim : recipe.network.embeddingDim,
      side: recipe.network.inputSide,
      pixels: chosenPixels(name, input.pixels, pixels),
      resize: input.resize,
    },
  );
}

function chosenPixels(name: string, own: PixelMapping, asked: PixelMappingName): PixelMapping {
  if (asked === 'train') return own;
  if (own !== pixelMappings.train)
    throw new UserError(`${name} declares its own mapping of pixels, and --pixels ${asked} replaces it`, {
      hint: optionHint('leave --pixels out'),
    });
  return pixelMappings[asked];
}
