import { z } from 'zod';
import { defineStage, reference } from '../experiment/stage.ts';
import type { DenoiseOptions } from '../features/index.ts';
import { type FromFeatures, fromFeatures } from './from-features.ts';

/** Marks the features of each class that may be trusted. */
export const markCredible = ({ features, out, force = false, ...options }: FromFeatures & DenoiseOptions) =>
  fromFeatures(features, ({ writeCredible }, set) => writeCredible(out, set, options, { force }));

export const denoiseStage = defineStage({
  kind: 'denoise',
  summary: 'mark the old features that may be trusted',
  inputs: { features: reference },
  options: {
    keep: z.number().gt(0).max(1).default(0.9),
    columnNormalize: z.boolean().default(true),
    rule: z.enum(['distance', 'entropy']).default('distance'),
  },
  describe: ({ features }) => `find the credible features of ${features}`,
  run: ({ features, keep, columnNormalize, rule }, { out, force }) =>
    markCredible({ features, out, force, keep, columnNormalize, rule }),
});
