import { z } from 'zod';
import { adapterMethods } from '../adapt/adapter-artifact.ts';
import { judges, metrics } from '../eval/metrics/index.ts';
import { defineStage, reference } from '../experiment/stage.ts';
import { adapterDirections } from '../features/feature-set-artifact.ts';

export const fitAdapterStage = defineStage({
  kind: 'fit-adapter',
  summary: 'fit an adapter between two models by features of the same images; stops if none beats the old model',
  inputs: { old: reference, new: reference },
  options: {
    direction: z.enum(adapterDirections).describe('query: new → old space; gallery: old → new space'),
    metric: z
      .enum(metrics.filter((metric) => judges(metric, 'labelled set')).map(({ name }) => name))
      .default('TAR@FAR=1e-3'),
    candidates: z.array(z.enum(adapterMethods)).min(1).optional(),
    resamples: z.int().positive().optional(),
    blend: z.boolean().default(false).describe('interpolate between compatible queries and adapted ones'),
    allowWorse: z.boolean().default(false).describe('go on with an adapter that does not beat the old model'),
  },
  describe: ({ direction, old, new: newer }) => `fit an adapter for the ${direction} between ${old} and ${newer}`,
  run: async (
    { old, new: newer, direction, metric, candidates, resamples, blend, allowWorse },
    { seed, out, force },
  ) => {
    const { writeAdapter } = await import('./adapt.ts');
    const how = {
      direction,
      metric,
      blend,
      allowWorse,
      seed,
      ...(candidates && { candidates }),
      ...(resamples && { resamples }),
    };
    return writeAdapter({ old, new: newer, ...how, out, force });
  },
});

export const applyAdapterStage = defineStage({
  kind: 'apply-adapter',
  summary: 'map features by an adapter: of the new model for the query, of the old one for the gallery',
  inputs: { adapter: reference, features: reference },
  options: {},
  describe: ({ adapter, features }) => `map ${features} by ${adapter}`,
  run: async ({ adapter, features }, { out, force }) => {
    const { applyAdapter } = await import('./adapt.ts');
    return applyAdapter({ adapter, features, out, force });
  },
});
