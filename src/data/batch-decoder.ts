import { messageOf } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { type Augmentation, applyTransform, sampleTransform, transformMatrix } from './augment.ts';
import type { ImageFile } from './dataset.ts';
import { decode, resize } from './decode.ts';
import { composeTransforms } from './face-alignment.ts';
import { nativeImage } from './native-image.ts';
import type { Resize } from './pixels.ts';

/** The images of one batch. */
export type DecodeTask = {
  /** Positions in the dataset. */
  readonly indices: Int32Array;
  readonly side: number;
  /** Of pictures that are no square of that side; absent: they are stretched. */
  readonly resize?: Resize | undefined;
  /** Null: no augmentation. */
  readonly augment: { readonly limits: Augmentation; readonly seed: number; readonly epoch: number } | null;
};

/** An unreadable image of the batch. */
export type UndecodableImage = { readonly row: number; readonly problem: string };

/**
 * Decodes a batch into `pixels` [B, side, side, 3]. Each image's random change depends on seed, epoch and its position in
 * the dataset alone, so that any number of workers makes the same bytes. Rows of unreadable images are left unchanged.
 * @throws FileError if images cannot be fetched from where they are
 */
export async function decodeBatch(
  source: ImageFile,
  { indices, side, augment, resize: rule }: DecodeTask,
  pixels: Uint8Array,
): Promise<UndecodableImage[]> {
  const bad: UndecodableImage[] = [];
  await source.prepare?.(indices);
  const rng = augment && new Rng(augment.seed).split('augment', augment.epoch);
  for (const [row, index] of indices.entries()) {
    try {
      const transform = rng
        ? sampleTransform(augment!.limits, rng.split(index), side)
        : { mirror: false, matrix: null };
      const decoded = decode(source.encoded(index));
      let picture = decoded instanceof Promise ? await decoded : decoded;
      const offset = row * side * side * 3;
      const place = source.place?.(index, picture, side);
      if (place) {
        const matrix = composeTransforms(transformMatrix(transform, side), place);
        nativeImage.warpAffine(picture.pixels, picture.height, picture.width, matrix, pixels, offset, side);
        continue;
      }
      if (picture.height !== side || picture.width !== side) picture = await resize(picture, side, rule);
      applyTransform(picture.pixels, transform, pixels, offset, side);
    } catch (error) {
      bad.push({ row, problem: messageOf(error) });
    }
  }
  return bad;
}
