import { z } from 'zod';
import { defineStage, reference } from '../experiment/stage.ts';
import { labelledSetSettings, memoryOption } from './labelled-set-settings.ts';

export const evaluateStage = defineStage({
  kind: 'evaluate',
  summary: 'evaluate new models against the old one, by feature sets of classes that none was trained on',
  titled: true,
  inputs: {
    old: reference,
    oracle: reference.optional(),
    new: z
      .record(z.string(), z.union([reference, z.strictObject({ own: reference, old: reference })]))
      .describe(
        'features of each new model; of one with a projection or an adapter, in its own space and as they cross',
      ),
  },
  options: {
    far: z.number().gt(0).lt(1).optional().describe('the FAR that the old system runs at (1e-3)'),
    ...labelledSetSettings,
    pictures: z.boolean().optional().describe('whether the report shows images of the data (true)'),
    trial: z.boolean().optional().describe('no verdict: the run only shows that every stage works'),
  },
  describe: (stage) => `judge ${Object.keys(stage.new).join(', ')} against ${stage.old}`,
  run: async ({ old, oracle, new: models, memory, ...how }, { title, seed, out, force }) => {
    const { evaluateSets } = await import('./evaluate-sets.ts');
    const candidates = Object.entries(models).map(([name, at]) =>
      typeof at === 'string' ? { name, features: at } : { name, features: at.own, inOldSpace: at.old },
    );
    return evaluateSets({ title, old, oracle, candidates, ...how, ...memoryOption(memory), seed, out, force });
  },
});
