import { z } from 'zod';
import type { SampleOptions } from '../data/split.ts';
import { datasetReference, defineStage } from '../experiment/stage.ts';
import { type FromDataset, fromDataset } from './from-dataset.ts';

/** Draws some images of each class into a record set. */
export const drawSample = ({ dataset, ...options }: FromDataset & SampleOptions) =>
  fromDataset(dataset, ({ sampleImages }, opened) => sampleImages(opened, options));

export const sampleStage = defineStage({
  kind: 'sample',
  summary: 'draw some images of each class',
  inputs: { of: datasetReference },
  options: { perClass: z.int().positive() },
  describe: ({ of, perClass }) => `draw ${perClass} images of each class of ${of}`,
  run: async ({ of, perClass }, { seed, out, force }) =>
    (await drawSample({ dataset: of, perClass, seed, out, force })).prefix,
});
