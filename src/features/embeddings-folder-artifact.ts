import { z } from 'zod';
import { checkedBySchema, defineArtifact } from '../artifacts/define-artifact.ts';
import { modelSchema, modelText } from './feature-set-artifact.ts';

const folderSchema = z.object({
  /** Name of the file in the folder. */
  file: z.string(),
  digest: z.string(),
  count: z.int().positive(),
  skipped: z.int().nonnegative(),
  /** D */
  dim: z.int().positive(),
  model: modelSchema,
});

/** What a stage `embed` makes: embeddings of images without labels, with what stands beside them. */
export const embeddingsFolderArtifact = defineArtifact<z.infer<typeof folderSchema>>({
  kind: 'embeddings-folder',
  name: 'a folder of embeddings',
  command: 'mixbct run',
  check: checkedBySchema(folderSchema),
  describe: ({ file, digest, count, skipped, dim, model }) => ({
    facts: {
      file,
      embeddings: `${count} of ${dim} dimensions`,
      ...(skipped > 0 && { skipped }),
      model: modelText(model),
      digest,
    },
    sources: [{ kind: 'run', digest: model.digest, name: model.name }],
  }),
  digests: ({ file, digest }) => ({ [file]: digest }),
});
