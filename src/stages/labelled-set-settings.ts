import { z } from 'zod';

/** Settings of stages that compare a labelled set, as the options of their commands: how much of it, and by how much memory. */
export const labelledSetSettings = {
  genuines: z.int().positive().optional(),
  impostors: z.int().positive().optional(),
  probes: z.int().positive().optional(),
  resamples: z.int().positive().optional(),
  maxZeroShare: z.number().min(0).max(1).optional().describe("share of a model's embeddings that may be zeros (0.01)"),
  memory: z.number().positive().optional().describe('GB that it may take (a quarter of the machine)'),
};

/** The memory of a setting, in GB, as an option in bytes. */
export const memoryOption = (gigabytes: number | undefined) =>
  gigabytes === undefined ? {} : { memoryBytes: gigabytes * 1e9 };
