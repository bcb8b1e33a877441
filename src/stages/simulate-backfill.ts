import { z } from 'zod';
import { backfillOrders, scoreMerges } from '../backfill/simulation.ts';
import { defineStage, reference } from '../experiment/stage.ts';
import { labelledSetSettings, memoryOption } from './labelled-set-settings.ts';

export const simulateBackfillStage = defineStage({
  kind: 'simulate-backfill',
  summary: 'simulate a gallery that is moved to the new model row by row, in several orders',
  titled: true,
  inputs: {
    old: reference,
    new: z
      .union([reference, z.strictObject({ own: reference, old: reference })])
      .describe(
        'features of the new model; of one with a projection or an adapter, in its own space and as they cross',
      ),
    adapter: reference.optional(),
    evaluation: reference
      .optional()
      .describe('with these features: its calibrations, in place of those that are fitted on pairs of the set'),
  },
  options: {
    orders: z.array(z.enum(backfillOrders)).min(1).optional(),
    merges: z.array(z.enum(scoreMerges)).min(1).optional(),
    draws: z.int().positive().max(1000).optional(),
    steps: z.int().positive().max(1000).optional(),
    ...labelledSetSettings,
  },
  describe: ({ old, new: newer }) => `simulate the move of ${old} to ${typeof newer === 'string' ? newer : newer.own}`,
  run: async ({ old, new: newer, adapter, evaluation: thresholds, memory, ...how }, { title, seed, out, force }) => {
    const { writeBackfill } = await import('./backfill.ts');
    const own = typeof newer === 'string' ? { new: newer } : { new: newer.own, inOldSpace: newer.old };
    return writeBackfill({
      title,
      old,
      ...own,
      adapter,
      thresholds,
      ...how,
      ...memoryOption(memory),
      seed,
      out,
      force,
    });
  },
});
