import { z } from 'zod';
import { FileError, messageOf } from '../base/errors.ts';
import { stampSchema } from './stamp.ts';

/** Where new vectors come from. Digests tell a changed source from the one that the migration began with. */
const sourceSchema = z.discriminatedUnion('kind', [
  /** A feature set of the new model, row by row by its ids. */
  z.object({ kind: z.literal('features'), path: z.string(), digest: z.string() }),
  /** An adapter for the gallery, which maps the old vectors. */
  z.object({ kind: z.literal('adapter'), path: z.string(), digest: z.string() }),
  /** A model that embeds the images: of a column with paths or bytes, or of a folder by id. */
  z.object({
    kind: z.literal('images'),
    path: z.string(),
    digest: z.string(),
    column: z.string().nullable(),
    folder: z.string().nullable(),
  }),
]);
export type MigrationSource = z.infer<typeof sourceSchema>;

export const migrationSchema = z.object({
  /** Tells two migrations of one gallery apart. */
  id: z.string(),
  /** What the old and the new vectors are of. */
  from: stampSchema,
  target: stampSchema,
  source: sourceSchema,
  /** The file that lists ids in the order to move; null: in the order of the store. */
  order: z.object({ path: z.string(), digest: z.string() }).nullable(),
  /** `moving`: the new vectors are beside. `cut-over`: the old ones are. */
  phase: z.enum(['moving', 'cut-over']),
  /** Whether the process that runs it is asked to stop. */
  paused: z.boolean(),
  startedAt: z.string(),
});
export type MigrationRecord = z.infer<typeof migrationSchema>;

/** What a store has written of a gallery, as JSON or as parsed. @throws FileError naming the store if it is damaged */
export function parseRecord<T>(schema: z.ZodType<T>, url: string, raw: unknown): T {
  try {
    return schema.parse(typeof raw === 'string' ? JSON.parse(raw) : raw);
  } catch (error) {
    throw new FileError(url, `what mixbct wrote about this gallery is damaged (${messageOf(error).split('\n', 1)[0]})`, 'it was changed by hand, or by a newer mixbct'); // biome-ignore format: short
  }
}
