import { join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact } from '../artifacts/define-artifact.ts';
import { readJson } from '../artifacts/json-file.ts';
import { FileError } from '../base/errors.ts';

/** Ways to go on with a gallery of old vectors, from the cheapest to the dearest. */
export const ways = ['keep', 'deploy', 'bridge', 'backfill', 're-embed'] as const;
export type Way = (typeof ways)[number];

/** What may be accepted: a way, or `drop-in`, which is `deploy` at the threshold of the old model. */
export const acceptable = [...ways, 'drop-in'] as const;
export type Acceptable = (typeof acceptable)[number];

/** Numbers of vectors as stores hold them, and the bytes of each. */
export const vectorTypes = { float32: 4, float16: 2, int8: 1 } as const;
export type VectorType = keyof typeof vectorTypes;

const share = z.number().min(0).max(1);
const estimate = z
  .object({ value: z.number(), low: z.number(), high: z.number() })
  .describe('a number and its 95 % interval over identities');
const bytes = z.int().nonnegative();

const option = z.object({
  way: z.enum(ways),
  model: z.string().describe('name of the new model in the evaluation; of keep, of the old one'),
  adapter: z
    .object({ direction: z.enum(['query', 'gallery']), method: z.string() })
    .nullable()
    .describe('the adapter that queries or gallery go through'),
  standing: z
    .enum(['chosen', 'proven', 'undecided', 'ruled out'])
    .describe('proven: better than the old model, within the limits'),
  reasons: z.array(z.string()).describe('why it is undecided or ruled out, or not chosen although it is proven'),
  start: estimate.nullable().describe('the metric on the first day; null: that of the old model, until the cut-over'),
  end: estimate.describe('the metric when the way is done'),
  gain: estimate.describe('the metric when the way is done, less that of the old model on its own gallery: paired'),
  worst: z
    .object({ moved: share.nullable(), overOld: estimate })
    .nullable()
    .describe('the worst point on the way, less the old model; moved: share of the gallery; null: not measured'),
  dropIn: z
    .enum(['drop-in', 'new threshold', 'no'])
    .nullable()
    .describe(
      'of deploy and bridge: whether it serves at the threshold that the old system runs at; null: not measured',
    ),
  order: z.string().nullable().describe('in which order the gallery is re-embedded'),
  merge: z.string().nullable().describe('how scores of old and new rows are brought into one ranking meanwhile'),
  movedFor95: share.nullable().describe('share of the gallery after which 95 % of new → new is reached'),
  reEmbed: z.int().nonnegative().nullable().describe('images to embed again; null: the size of the gallery is unknown'),
  rewrite: z.int().nonnegative().nullable().describe('vectors to map by the adapter, without images'),
  hours: z.number().nonnegative().nullable().describe('of re-embedding, at the measured rate; null: unknown'),
  bytes: z.object({ now: bytes, during: bytes, after: bytes }).nullable().describe('of all vectors, without indexes'),
  threshold: z
    .object({ far: z.number(), old: z.number(), start: z.number().nullable(), end: z.number() })
    .nullable()
    .describe('cosine above which pairs are accepted at this false accept rate'),
});
export type PlanOption = z.infer<typeof option>;

/** A plan as plan.json has it, and as `mixbct schema plan` prints it. */
export const planSchema = z.object({
  kind: z.literal('plan'),
  version: z.literal(1),
  metric: z.string().describe('what ways are judged by'),
  data: z.object({ path: z.string(), digest: z.string(), images: z.int(), classes: z.int(), identities: z.int() }),
  gallery: z.object({
    size: z.int().positive().nullable(),
    type: z.enum(['float32', 'float16', 'int8']),
    imagesPerSecond: z.number().positive().nullable(),
  }),
  limits: z.object({
    minGain: share.describe('a gain that is not larger does not count'),
    maxLoss: share.describe('how far the metric may fall below the old model on the way'),
    maxHours: z.number().nonnegative().nullable(),
    accept: z.array(z.enum(acceptable)),
  }),
  verdict: z.object({
    way: z.enum(ways),
    model: z.string(),
    accepted: z.boolean().describe('whether the way is among those to accept'),
    summary: z.string(),
    why: z.string(),
    cautions: z.array(z.string()),
    wouldDecide: z.array(z.string()).describe('what would decide ways that are undecided'),
  }),
  options: z.array(option),
});
export type Plan = z.infer<typeof planSchema>;

export const PLAN_FILE = 'plan.json';

const fields = z.object({
  metric: z.string(),
  way: z.enum(ways),
  /** Digest of plan.json. */
  digest: z.string(),
});

export const planArtifact = defineArtifact<z.infer<typeof fields>>({
  kind: 'plan',
  name: 'a plan',
  command: 'mixbct plan',
  check: checkedBySchema(fields),
  describe: (_, path) => {
    const { metric, data, gallery, verdict, options } = readPlan(path);
    return {
      facts: {
        verdict: verdict.summary,
        why: verdict.why,
        metric,
        data: `${data.images} images, ${data.classes} classes`,
        gallery: gallery.size === null ? 'of unknown size' : `${gallery.size} vectors, ${gallery.type}`,
        ways: options.map(({ way, model, standing }) => `${way} ${model}: ${standing}`).join(', '),
      },
      sources: [{ kind: 'dataset', path: data.path, digest: data.digest }],
    };
  },
  digests: ({ digest }) => ({ [PLAN_FILE]: digest }),
});

/** Reads the plan in a folder. @throws FileError if there is none, or it is damaged: names the first wrong field. */
export function readPlan(folder: string): Plan {
  const file = join(folder, PLAN_FILE);
  const checked = checkedBySchema(planSchema)(readJson(file, planArtifact.again));
  if ('problem' in checked) throw new FileError(file, `its ${checked.problem}`, planArtifact.again);
  return checked.fields;
}
