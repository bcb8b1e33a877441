/** RGB pixels, interleaved: [height, width, 3]. */
export type Picture = { readonly pixels: Uint8Array; readonly height: number; readonly width: number };
