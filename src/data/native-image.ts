import { loadAddon } from '../base/addon.ts';

/**
 * Decodes a JPEG into `target` from `offset` on if `capacity` bytes are enough, else writes nothing. Channels: RGB (3), or
 * of a CMYK or YCCK JPEG the CMYK values as they are stored (4).
 * @returns [height, width, channels]
 * @throws Error with the decoder's message; it leaves no trace in what is decoded next
 */
export type JpegCodec = (
  bytes: Uint8Array,
  target: Uint8Array,
  offset: number,
  capacity: number,
) => readonly [height: number, width: number, channels: number];

/** The surface of native/image: pixel work without libtorch, cheap to load in a worker thread. */
export interface NativeImage {
  /**
   * Writes a [side, side, 3] image to `target` at `offset`: for each pixel (x, y) of it, `matrix` [6] gives the place in
   * `source` [height, width, 3], read bilinearly; outside is 0; halves round up.
   */
  warpAffine(
    source: Uint8Array,
    height: number,
    width: number,
    matrix: Float64Array,
    target: Uint8Array,
    offset: number,
    side: number,
  ): void;
  /** Present where libturbojpeg's headers were found. */
  readonly decodeJpeg?: JpegCodec;
  encodeJpeg?(rgb: Uint8Array, height: number, width: number, quality: number): Buffer;
}

/** The addon, which is loaded when something of it is used first; from then on this is the addon itself. */
export let nativeImage: NativeImage = new Proxy({} as NativeImage, {
  get(_, name: keyof NativeImage) {
    nativeImage = loadAddon('image');
    return nativeImage[name];
  },
});
