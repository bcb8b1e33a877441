import { z } from 'zod';
import type { HoldOutOptions } from '../data/split.ts';
import { datasetReference, defineStage } from '../experiment/stage.ts';
import { type FromDataset, fromDataset } from './from-dataset.ts';

/** Draws classes that no training may see. → the record sets of these classes and of the others */
export const holdOutClasses = ({ dataset, ...options }: FromDataset & HoldOutOptions) =>
  fromDataset(dataset, ({ holdOut }, opened) => holdOut(opened, options));

export const holdOutStage = defineStage({
  kind: 'hold-out',
  summary: 'draw classes that no training may see',
  inputs: { of: datasetReference },
  options: { classes: z.int().positive().describe('parts: eval, train') },
  outputs: ['eval', 'train'],
  describe: ({ of, classes }) => `keep ${classes} classes of ${of} away from training`,
  run: async ({ of, classes }, { seed, out, force }) => {
    const [held, rest] = await holdOutClasses({ dataset: of, classes, seed, out, force });
    return { eval: held!.prefix, train: rest!.prefix };
  },
});
