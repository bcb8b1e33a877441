import { z } from 'zod';
import type { SplitOptions } from '../data/split.ts';
import { datasetReference, defineStage } from '../experiment/stage.ts';
import { type FromDataset, fromDataset } from './from-dataset.ts';

/** Splits a record set in two, by class or by the images of each class. */
export const splitDataset = ({ dataset, ...options }: FromDataset & SplitOptions) =>
  fromDataset(dataset, ({ split }, opened) => split(opened, options));

export const splitStage = defineStage({
  kind: 'split',
  summary: 'split a data set in two, by class or by data',
  inputs: { of: datasetReference },
  options: {
    by: z.enum(['class', 'data']),
    ratio: z.number().gt(0).lt(1).default(0.3).describe('parts: first, second'),
  },
  outputs: ['first', 'second'],
  describe: ({ of, by, ratio }) =>
    `split ${of} by ${by}, ${Math.round(100 * ratio)} to ${Math.round(100 - 100 * ratio)}`,
  run: async ({ of, by, ratio }, { out, force }) => {
    const [first, second] = await splitDataset({ dataset: of, by, ratio, out, force });
    return { first: first!.prefix, second: second!.prefix };
  },
});
