/** A number for each channel, in the order in which a model takes them. */
export type PerChannel = readonly [number, number, number];

export const channelOrders = ['RGB', 'BGR'] as const;

/** How the bytes of a picture become the numbers that a model reads: (x - mean) / std, both in units of bytes, 0 to 255. */
export type PixelMapping = {
  readonly channels: (typeof channelOrders)[number];
  readonly mean: PerChannel;
  readonly std: PerChannel;
};

const grey = (mean: number, std: number): PixelMapping => ({
  channels: 'RGB',
  mean: [mean, mean, mean],
  std: [std, std, std],
});

/** The mappings of training and of the reference's IJB evaluation (D-12), for models that declare none. */
export const pixelMappings = { train: grey(127.5, 127.5), ijb: grey(127.5, 128) } as const satisfies Readonly<
  Record<string, PixelMapping>
>;
export type PixelMappingName = keyof typeof pixelMappings;

/** Mappings by name, as a recipe and `import-model` take them: `imagenet` has torchvision's numbers times 255. */
export const pixelPresets = {
  unit: pixelMappings.train,
  imagenet: { channels: 'RGB', mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] },
} as const satisfies Readonly<Record<string, PixelMapping>>;
export type PixelPresetName = keyof typeof pixelPresets;

/** `stretch` changes proportions, `fit` adds margins, `crop` cuts off what lies outside of the central square. */
export const resizeRules = ['stretch', 'fit', 'crop'] as const;

/** How a picture of another size becomes a square. */
export type Resize = {
  readonly rule: (typeof resizeRules)[number];
  /** Colour of the margins of `fit`: RGB, 0 to 255. */
  readonly background: PerChannel;
};
export const stretched: Resize = { rule: 'stretch', background: [0, 0, 0] };
