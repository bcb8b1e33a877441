import { z } from 'zod';
import { appliedAdapterSchema, preprocessingSchema } from '../features/feature-set-artifact.ts';

/** What the vectors of a gallery are of. */
export const stampSchema = z.object({
  model: z.object({ name: z.string(), digest: z.string() }),
  dim: z.int().positive(),
  /** Whether every vector has length 1. */
  normalised: z.boolean(),
  /** What was done to the images; null: not known. */
  preprocessing: preprocessingSchema.nullable(),
  /** `mean`: of each image and its mirror; null: not known. */
  flip: z.enum(['none', 'mean', 'random']).nullable(),
  /** The adapter that the vectors went through, with its direction; null: they are as the model made them. */
  adapter: appliedAdapterSchema.nullable(),
});
export type Stamp = z.infer<typeof stampSchema>;
