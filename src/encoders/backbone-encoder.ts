import { imageTensor } from '../data/collate.ts';
import { type PixelMapping, pixelMappings, type Resize, stretched } from '../data/pixels.ts';
import { inPrecision } from '../models/mixed-precision.ts';
import { packedForm } from '../models/packed/index.ts';
import type { Precision } from '../models/precisions.ts';
import type { Module } from '../nn/index.ts';
import { defaultDevice, inference, scope, toFloat32, trimMemory } from '../torch/index.ts';
import type { Encoder, ModelIdentity, Space } from './encoder.ts';

/** Modules that make embeddings: a backbone, and a projection if embeddings go through one. */
export type EmbeddingModules = { readonly backbone: Module; readonly projection: Module | null };

export type EmbeddingOptions = {
  /** Height and width of the images in pixels. */
  readonly side: number;
  readonly pixels?: PixelMapping;
  /** What the backbone computes in, whatever it was trained in. */
  readonly precision?: Precision;
};

/** A backbone in evaluation mode as a function of pixels; nothing but numbers leaves it. */
export function embedWith(
  { backbone, projection }: EmbeddingModules,
  { side, pixels = pixelMappings.train, precision = 'float32' }: EmbeddingOptions,
): Encoder['embed'] {
  let before = 0;
  return async (images, count) => {
    // a last batch, which is smaller, needs other sizes of memory: those of the full ones are returned first, not held beside them
    if (count < before) trimMemory();
    before = count;
    return inference(() =>
      scope(() => {
        const tensor = imageTensor({ images, count, side }, pixels);
        const embeddings = inPrecision(precision, tensor, (x) => backbone.forward(x, { train: false }));
        return toFloat32(projection ? projection.forward(embeddings, { train: false }) : embeddings);
      }),
    );
  };
}

/** An encoder of libtorch modules, which it owns. In float32 it embeds by their packed form, where there is one. */
export function backboneEncoder(
  modules: EmbeddingModules,
  { pixels = pixelMappings.train, resize = stretched, precision = 'float32', ...about }: BackboneEncoderOptions,
): Encoder {
  const packed = precision === 'float32' ? packedForm(modules.backbone) : null;
  return {
    ...about,
    pixels,
    resize,
    precision,
    device: defaultDevice(),
    embed: embedWith({ ...modules, backbone: packed ?? modules.backbone }, { side: about.side, pixels, precision }),
    [Symbol.dispose]() {
      packed?.dispose();
      modules.backbone.dispose();
      modules.projection?.dispose();
    },
  };
}

export type BackboneEncoderOptions = ModelIdentity &
  EmbeddingOptions & {
    readonly space: Space;
    readonly resize?: Resize;
    /** D of what leaves the last module. */
    readonly dim: number;
  };
