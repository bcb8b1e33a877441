import { join } from 'node:path';
import { z } from 'zod';
import { adapterMethods } from '../adapt/adapter-artifact.ts';
import { checkedBySchema, defineArtifact } from '../artifacts/define-artifact.ts';
import { readJson } from '../artifacts/json-file.ts';
import { FileError } from '../base/errors.ts';
import { adapterDirections } from '../features/feature-set-artifact.ts';
import { percent } from '../report/number-format.ts';

const estimate = z
  .object({ value: z.number(), low: z.number(), high: z.number() })
  .describe('a number and its 95 % interval over identities');

/** A comparison of generations as chain.json has it, and as `mixbct schema chain` prints it. */
export const chainSchema = z.object({
  kind: z.literal('chain'),
  version: z.literal(1),
  metric: z.string(),
  data: z.object({ path: z.string(), digest: z.string(), images: z.int(), classes: z.int() }),
  seed: z.int().nonnegative(),
  models: z.array(z.object({ name: z.string(), dim: z.int().positive() })).describe('from the oldest to the newest'),
  matrix: z
    .array(z.array(estimate.nullable()))
    .describe('a row for each query model, a column for each gallery model; null: their dimensions differ'),
  averageCompatibility: z.object({
    value: z.number().describe('share of the pairs whose newer queries beat the older model on its gallery'),
    pairs: z.int(),
    met: z.int().describe('pairs that beat it with their interval'),
  }),
  averageAccuracy: estimate.describe('mean over all query models and their own and older galleries'),
  pairs: z.array(
    z.object({
      query: z.string(),
      gallery: z.string(),
      overOld: estimate.nullable().describe('less the gallery model’s own queries: paired; null: cannot be compared'),
      criterion: z.enum(['met', 'undecided', 'missed', 'not comparable']),
    }),
  ),
  worst: z.object({ query: z.string(), gallery: z.string() }),
  adapters: z
    .object({
      direction: z.enum(adapterDirections),
      identities: z.int().describe('that they are tested on, and that none was fitted on'),
      pairs: z.array(
        z.object({
          from: z.string(),
          to: z.string(),
          methods: z.array(z.enum(adapterMethods)).describe('of the adapters between neighbours'),
          chained: estimate,
          refitted: estimate.extend({ method: z.enum(adapterMethods) }),
          difference: estimate.describe('chained less refitted: paired'),
          old: estimate.describe('the older model on its own gallery'),
        }),
      ),
    })
    .nullable(),
});
export type Chain = z.infer<typeof chainSchema>;

export const CHAIN_FILE = 'chain.json';

const fields = z.object({
  metric: z.string(),
  seed: z.int().nonnegative(),
  /** Digest of chain.json. */
  digest: z.string(),
});

export const chainArtifact = defineArtifact<z.infer<typeof fields>>({
  kind: 'chain',
  name: 'a comparison of generations',
  command: 'mixbct plan --chain',
  check: checkedBySchema(fields),
  describe: (_, path) => {
    const { metric, data, models, averageCompatibility, averageAccuracy, worst, seed } = readChain(path);
    return {
      facts: {
        models: models.map(({ name, dim }) => `${name} (${dim} dimensions)`).join(', '),
        metric,
        data: `${data.images} images, ${data.classes} classes`,
        'average compatibility': `${percent(averageCompatibility.value)} %`,
        'average multi-model accuracy': `${percent(averageAccuracy.value)} %`,
        'worst pair': `${worst.query} → ${worst.gallery}`,
        seed,
      },
      sources: [{ kind: 'dataset', path: data.path, digest: data.digest }],
    };
  },
  digests: ({ digest }) => ({ [CHAIN_FILE]: digest }),
});

/** Reads the comparison in a folder. @throws FileError if there is none, or it is damaged: names the first wrong field. */
export function readChain(folder: string): Chain {
  const file = join(folder, CHAIN_FILE);
  const checked = checkedBySchema(chainSchema)(readJson(file, chainArtifact.again));
  if ('problem' in checked) throw new FileError(file, `its ${checked.problem}`, chainArtifact.again);
  return checked.fields;
}
