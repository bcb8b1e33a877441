import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../base/artifact.ts';
import { FileError } from '../base/errors.ts';
import type { Evaluation } from './evaluate.ts';

/** JSON has no NaN and no infinity: they are written as null. */
const number = z.number().nullable();
const numbers = z.array(number);
const estimate = z.looseObject({ value: number, low: number, high: number });
const interval = estimate.nullable();

const verification = z.looseObject({
  auc: number,
  eer: number,
  tar: z.array(z.looseObject({ far: z.number(), nearest: number, atMost: number, interval })),
  curve: z.looseObject({ far: numbers, tar: numbers }),
});
const rankRate = z.looseObject({ rank: z.number(), rate: number });
const fpirRate = z.looseObject({ fpir: z.number(), rate: number });
const identification = z.looseObject({
  ranks: z.array(rankRate.extend({ interval })),
  tpir: z.array(fpirRate.extend({ interval })),
  curve: z.looseObject({ fpir: numbers, tpir: numbers }),
  cmc: z.looseObject({ rank: numbers, rate: numbers }).optional(),
  galleries: z.array(z.looseObject({ name: z.string(), ranks: z.array(rankRate), tpir: z.array(fpirRate) })).optional(),
  mixed: z.array(rankRate).optional(),
});

/** What an evaluation must have to be shown; what later versions add is kept. */
const evaluationSchema = z.looseObject({
  kind: z.literal('evaluation'),
  version: z.literal(1),
  title: z.string(),
  dataset: z.looseObject({
    path: z.string(),
    digest: z.string(),
    images: z.number(),
    classes: z.number(),
    families: number,
  }),
  protocol: z.looseObject({
    name: z.string().optional(),
    seed: z.number(),
    genuinePairs: z.number(),
    impostorPairs: z.number(),
    allImpostors: z.boolean(),
    probes: z.number(),
    galleries: z.array(z.number()),
    resamples: z.number(),
  }),
  models: z.array(
    z.looseObject({
      name: z.string(),
      role: z.enum(['old', 'oracle', 'new']),
      dim: z.number(),
      preset: z.string().optional(),
      differences: z.array(z.string()).optional(),
      trainingData: z
        .looseObject({
          relation: z.enum(['same', 'overlapping', 'disjoint', 'unknown']),
          sharedClasses: z.number().optional(),
          images: z.enum(['shared', 'different']).optional(),
          comparedBy: z.enum(['digest', 'origin', 'names']).optional(),
          path: z.string().optional(),
        })
        .optional(),
    }),
  ),
  tests: z.array(
    z.looseObject({
      query: z.string(),
      gallery: z.string(),
      verification: verification.nullable(),
      identification: identification.nullable(),
    }),
  ),
  candidates: z.array(
    z.looseObject({
      name: z.string(),
      withheld: z
        .looseObject({
          reason: z.enum(['trial', 'training images', 'too few identities']),
          identities: z.number().optional(),
          needed: z.number().optional(),
        })
        .optional(),
      comparisons: z.array(
        z.looseObject({
          metric: z.string(),
          oldOld: number,
          newOld: number,
          newNew: number,
          oracle: number,
          difference: estimate,
          criterion: z.enum(['met', 'undecided', 'missed', 'withheld']),
          updateGain: interval,
          tax: interval,
          scores: z.looseObject({ up: number, comp: number, one: number }).nullable(),
        }),
      ),
    }),
  ),
});

export const EVALUATION_FILE = 'evaluation.json';

/** Reads the evaluation in a folder. @throws FileError if there is none, or it is damaged: names the first wrong field. */
export function readEvaluation(folder: string): Evaluation {
  const file = join(folder, EVALUATION_FILE);
  const raw = readJson(file, 'make one with: mixbct evaluate') as { kind?: unknown; version?: unknown } | null;
  if (raw?.kind !== 'evaluation' || raw.version !== 1)
    throw new FileError(file, 'is no evaluation of this version', 'make it again with: mixbct evaluate');
  const result = evaluationSchema.safeParse(raw);
  const [issue] = result.error?.issues ?? [];
  if (issue)
    throw new FileError(
      file,
      `its "${issue.path.join('.')}" is damaged (${issue.message})`,
      'make it again with: mixbct evaluate',
    );
  return result.data as unknown as Evaluation;
}
