import { z } from 'zod';
import { backfillOrders } from '../backfill/simulation.ts';
import { datasetReference, defineStage, reference } from '../experiment/stage.ts';

export const rollOutStage = defineStage({
  kind: 'roll-out',
  summary: 'make a gallery, move it to the new model, cut over, and search it before, meanwhile and after',
  inputs: {
    old: reference.describe('features of the gallery by the old model'),
    new: reference.describe('features of the same data by the new model: queries'),
    data: datasetReference,
    model: reference.describe('the new model'),
    evaluation: reference,
    backfill: reference.optional().describe('a simulation with these features, for the order'),
  },
  options: {
    order: z.enum(backfillOrders).default('predicted-disagreement'),
    gallery: z
      .string()
      .optional()
      .describe(
        'URL of a table that does not exist, without password; if absent, one in LanceDB in the folder of the stage',
      ),
    queries: z.int().positive().default(200),
  },
  describe: ({ old, model }) => `move the gallery ${old} to ${model}`,
  run: async (settings, { seed, out, force, signal, reporter }) => {
    const { rollOut } = await import('./roll-out-gallery.ts');
    await rollOut({ ...settings, seed, out, force, signal, reporter });
  },
});
