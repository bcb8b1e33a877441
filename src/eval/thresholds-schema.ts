import { z } from 'zod';

/** JSON has no NaN and no infinity, so they are null. */
const number = z.number().nullable();
const estimate = z
  .object({ value: number, low: number, high: number })
  .describe('a figure and its 95 % interval over identities');

const calibration = z
  .discriminatedUnion('kind', [
    z.object({
      kind: z.literal('platt'),
      slope: z.number().min(0),
      intercept: z.number(),
    }),
    z.object({
      kind: z.literal('isotonic'),
      scores: z.array(z.number()).min(1).describe('scores of the knots, rising'),
      logOdds: z.array(z.number()).min(1).describe('log-odds of the knots, rising'),
      outerSlope: z.number().min(0).describe('slope below the first and above the last knot'),
    }),
  ])
  .describe(
    'score → log-odds of genuine, where genuine and impostor pairs are equally frequent beforehand: slope · score + intercept, or linear between knots',
  );

const pair = z.object({
  query: z.string().describe('name of the model of the queries'),
  gallery: z.string().describe('name of the model of the gallery'),
  queryModel: z.string().optional().describe('digest of the model of the queries, where it is known'),
  galleryModel: z.string().optional().describe('digest of the model of the gallery, where it is known'),
  projection: z
    .string()
    .optional()
    .describe('digest of the queries that are compared, if these are projected into the old space by their own model'),
  adapter: z
    .object({ direction: z.enum(['query', 'gallery']), method: z.string(), digest: z.string() })
    .optional()
    .describe('query: it maps the queries into the old space; gallery: the old gallery into the new space'),
  grade: z
    .enum(['drop-in', 'new threshold', 'no', 'withheld'])
    .optional()
    .describe('of new → old: whether it can be used at the old threshold, at one of its own, or not'),
  atOldThreshold: z
    .object({ tar: estimate, far: estimate, tpir: estimate, fpir: estimate })
    .describe('shares at the old threshold'),
  threshold: estimate.describe('keeps the FAR: accept pairs whose cosine is above its value'),
  atThreshold: z.object({ tar: estimate, tpir: estimate, fpir: estimate }).describe('shares at this threshold'),
  calibration: calibration.nullable(),
  calibratedThreshold: number.describe('the threshold in log-odds'),
  heldOutLogLoss: z
    .object({ platt: z.number(), isotonic: z.number() })
    .nullable()
    .describe('mean log loss on held-out identities, by which the calibration was chosen; null if there were too few'),
});

/** What `mixbct thresholds` writes. Later versions may add fields. */
export const thresholdsSchema = z.object({
  kind: z.literal('thresholds'),
  version: z.literal(1),
  mixbct: z.string().describe('version of mixbct that wrote it'),
  evaluations: z
    .array(
      z.object({
        title: z.string(),
        dataset: z.object({ path: z.string(), digest: z.string() }),
        far: z.number().describe('FAR that the old system runs at'),
        oldThreshold: number.describe('old → old accepts pairs whose cosine is above it'),
        pairs: z.array(pair),
      }),
    )
    .min(1),
});

export type Thresholds = z.infer<typeof thresholdsSchema>;
export type ThresholdPair = Thresholds['evaluations'][number]['pairs'][number];
