import { basename } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact, type Manifest } from '../artifacts/define-artifact.ts';
import {
  dtypeSchema,
  featureFiles,
  modelAndData,
  modelSchema,
  modelText,
  precisionSchema,
  preprocessingSchema,
  preprocessingText,
} from './feature-set-artifact.ts';
import { missingSchema } from './missing-rows.ts';

/** What all shards of one list have in common. */
export const planSchema = z.object({
  /** D, and the images of the whole list. */
  dim: z.int().positive(),
  total: z.int().positive(),
  /** Digest of the ids of the whole list, in order. */
  list: z.string(),
  /** Digest of the paths of the images, in order; absent: they are the ids. */
  paths: z.string().optional(),
  shards: z.int().positive(),
  /** Shards begin at batches: the last bits of an embedding depend on the batch. */
  batchSize: z.int().positive(),
  model: modelSchema,
  flip: z.enum(['none', 'mean']),
  preprocessing: preprocessingSchema,
  dtype: dtypeSchema,
  precision: precisionSchema,
});
export type EmbeddingPlan = z.infer<typeof planSchema>;

const shardSchema = planSchema.extend({
  /** Which of them this is, from 1. */
  shard: z.int().positive(),
  count: z.int().nonnegative(),
  /** Rows that have no embedding, ascending; they are zeros in features.npy. */
  missing: missingSchema,
  /** Digest of features.npy, and those of the other files, by name. */
  digest: z.string(),
  files: z.record(z.string(), z.string()),
  /** Digest of the sizes and times of change of the images' files, before they were embedded. Absent: an older shard. */
  states: z.string().optional(),
});
type ShardFields = z.infer<typeof shardSchema>;
export type EmbeddingShardInfo = Manifest<ShardFields>;

/** The plan that a shard was made by. */
export const planOf = (info: ShardFields): EmbeddingPlan => planSchema.parse(info);

/** Embeddings of images without labels, those of one process. */
export const embeddingShardArtifact = defineArtifact<ShardFields>({
  kind: 'embedding-shard',
  name: 'a shard of embeddings',
  command: 'mixbct embed',
  check: checkedBySchema(shardSchema),
  describe: (info) => ({
    facts: {
      shard: `${info.shard} of ${info.shards}`,
      embeddings: `${info.count} of ${info.dim} dimensions, ${info.dtype}`,
      ...(info.missing.length > 0 && { missing: info.missing.length }),
      model: modelText(info.model),
      flip: info.flip,
      preprocessing: preprocessingText(info.preprocessing),
      precision: info.precision,
      digest: info.digest,
    },
    sources: modelAndData({ model: info.model, dataset: null }),
  }),
  digests: ({ files, digest }) => ({ ...files, [basename(featureFiles('').features)]: digest }),
});
