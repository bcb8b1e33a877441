import { z } from 'zod';
import {
  channelOrders,
  type PerChannel,
  type PixelMapping,
  pixelMappings,
  pixelPresets,
  type Resize,
  resizeRules,
} from './pixels.ts';

const perChannel = (least: number, most: number) => {
  const wanted = `wanted a number from ${least} to ${most}, or three in brackets, where pixels are 0 to 255`;
  const one = z.number({ error: wanted }).min(least, wanted).max(most, wanted);
  return z.union([one, z.array(one).length(3, wanted)], { error: wanted });
};

/** How pictures become a model's input, as a recipe declares it. */
export const inputSchema = z
  .strictObject({
    pixels: z
      .enum(Object.keys(pixelPresets) as [keyof typeof pixelPresets])
      .optional()
      .describe('mean and std by name: unit is (x - 127.5) / 127.5; leave it out where mean and std are given'),
    mean: perChannel(0, 255).optional().describe('subtracted from pixels of 0 to 255, one number or one per channel'),
    std: perChannel(1, 1000).optional().describe('what the difference is divided by, in the same units'),
    channels: z.enum(channelOrders).default('RGB').describe('order of the channels, of mean and std, too'),
    resize: z
      .enum(resizeRules)
      .default('stretch')
      .describe('of pictures that are no square: change proportions, add margins, or cut off what is outside'),
    background: z
      .array(z.int().min(0).max(255))
      .length(3)
      .optional()
      .describe('RGB colour of the margins of resize: fit; default: black'),
  })
  .refine(({ mean, std }) => (mean === undefined) === (std === undefined), { error: 'mean and std belong together' })
  .refine(({ pixels, mean }) => pixels === undefined || mean === undefined, {
    error: 'pixels is a name for mean and std: give one or the other',
  })
  .refine(({ resize, background }) => background === undefined || resize === 'fit', {
    error: 'background is the colour of the margins of resize: fit',
  });
export type InputRecipe = z.infer<typeof inputSchema>;
/** The same as it is declared: what is left out is not said, which is another thing than the default. */
export type InputDeclaration = z.input<typeof inputSchema>;

/** How pictures become what a model reads. */
export type ModelInput = { readonly pixels: PixelMapping; readonly resize: Resize };

/** What a recipe's `input` declares; absent: (x - 127.5) / 127.5 of stretched pictures. */
export function modelInput(declared: InputRecipe | undefined): ModelInput {
  const { pixels, mean, std, channels = 'RGB', resize: rule = 'stretch', background = [0, 0, 0] } = declared ?? {};
  const resize: Resize = { rule, background: background as unknown as PerChannel };
  if (mean !== undefined && std !== undefined)
    return { pixels: sameAsUnit({ channels, mean: triple(mean), std: triple(std) }), resize };
  const preset: PixelMapping = pixelPresets[pixels ?? 'unit'];
  if (channels === 'RGB') return { pixels: preset, resize };
  const reversed = ([r, g, b]: PerChannel): PerChannel => [b, g, r];
  return { pixels: { channels, mean: reversed(preset.mean), std: reversed(preset.std) }, resize };
}

const triple = (value: number | readonly number[]): PerChannel =>
  typeof value === 'number' ? [value, value, value] : (value as PerChannel);

/** The mapping of undeclared models itself, where `mapping` equals it. */
function sameAsUnit(mapping: PixelMapping): PixelMapping {
  const { train } = pixelMappings;
  return JSON.stringify(mapping) === JSON.stringify(train) ? train : mapping;
}
