/** How the bytes of a picture become the numbers that a model reads: (x - 127.5) / divisor. */
export type PixelMapping = { readonly divisor: number };

/** The mappings of training and of the reference's IJB evaluation (D-12). */
export const pixelMappings = { train: { divisor: 127.5 }, ijb: { divisor: 128 } } as const satisfies Readonly<
  Record<string, PixelMapping>
>;
export type PixelMappingName = keyof typeof pixelMappings;
