import { digestOf } from '../artifacts/digest.ts';
import { type PixelMappingName, pixelMappings } from '../data/pixels.ts';
import { backboneEncoder, type Encoder, type Space } from '../encoders/index.ts';
import { checkPrecision } from '../models/mixed-precision.ts';
import type { Precision } from '../models/precisions.ts';
import { loadModel } from './load-model.ts';

export type EncoderOptions = {
  readonly space?: Space;
  readonly pixels?: PixelMappingName;
  /** What the backbone computes in, whatever it was trained in. */
  readonly precision?: Precision;
};

/**
 * The encoder of a finished run. In the `old` space its embeddings have gone through the projection.
 * @throws FileError as `loadModel` does; UserError if there is no projection to the old space, or libtorch lacks the precision.
 */
export function openEncoder(
  run: string,
  { space = 'own', pixels = 'train', precision = 'float32' }: EncoderOptions = {},
): Encoder {
  checkPrecision(precision);
  const { manifest, backbone, projection, trainedClassKeys } = loadModel(run, { space });
  const { name, model, preset, differences, dataset, recipe } = manifest;
  return backboneEncoder(
    { backbone, projection },
    {
      ...{ name, preset, differences, space, precision },
      digest: space === 'old' ? digestOf(model, 'old') : model,
      trainedOn: dataset && { dataset, classKeys: trainedClassKeys },
      dim: projection ? recipe.projection!.dim : recipe.network.embeddingDim,
      side: recipe.network.inputSide,
      pixels: pixelMappings[pixels],
    },
  );
}
