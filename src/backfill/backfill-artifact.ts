import { join } from 'node:path';
import { z } from 'zod';
import { modelSide } from '../adapt/adapter-artifact.ts';
import { checkedBySchema, defineArtifact, type Manifest } from '../artifacts/define-artifact.ts';
import { datasetReference, datasetSource } from '../data/dataset-reference.ts';
import { adapterDirections } from '../features/feature-set-artifact.ts';
import { backfillOrders, orderNeeds } from './simulation.ts';

const schema = z.object({
  old: modelSide,
  new: modelSide,
  /** Between the two models; null: new queries are compared with old rows as they are. */
  adapter: z.object({ digest: z.string(), direction: z.enum(adapterDirections) }).nullable(),
  dataset: datasetReference.nullable(),
  seed: z.int().nonnegative(),
  /** Rows of the feature sets, and how many of them both models have an embedding of: an order has these. */
  count: z.int().nonnegative(),
  rows: z.int().nonnegative(),
  /** The orders that are there as files, and digests of these. */
  orders: z.array(z.object({ name: z.enum(backfillOrders), needs: z.array(z.enum(orderNeeds)), digest: z.string() })),
  /** Whether ids.jsonl names the rows. */
  ids: z.boolean(),
  /** Digest of backfill.json. */
  digest: z.string(),
});
export type BackfillFields = z.infer<typeof schema>;
export type BackfillInfo = Manifest<BackfillFields>;

export const BACKFILL_FILE = 'backfill.json';
const orderFile = (name: string): string => `order-${name}.npy`;

/** The files of a simulation; `ids` is there only where ids are known. */
export const backfillFiles = (path: string) => ({
  simulation: join(path, BACKFILL_FILE),
  page: join(path, 'backfill.html'),
  ids: join(path, 'ids.jsonl'),
  order: (name: string): string => join(path, orderFile(name)),
});

export const backfillArtifact = defineArtifact<BackfillFields>({
  kind: 'backfill',
  name: 'a simulated backfill',
  command: 'mixbct backfill simulate',
  check: checkedBySchema(schema),
  describe: (info) => ({
    facts: {
      gallery: `${info.rows} of ${info.count} rows`,
      adapter: info.adapter ? `for the ${info.adapter.direction} (digest ${info.adapter.digest})` : 'none',
      orders: info.orders.map(({ name }) => name).join(', '),
      seed: info.seed,
    },
    sources: [
      { kind: 'features', name: 'old', digest: info.old.features },
      { kind: 'features', name: 'new', digest: info.new.features },
      ...(info.adapter ? [{ kind: 'adapter', name: info.adapter.direction, digest: info.adapter.digest }] : []),
      ...(info.dataset ? [datasetSource(info.dataset)] : []),
    ],
  }),
  digests: ({ orders, digest }) => ({
    [BACKFILL_FILE]: digest,
    ...Object.fromEntries(orders.map((order) => [orderFile(order.name), order.digest])),
  }),
});
