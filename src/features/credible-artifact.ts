import { z } from 'zod';
import { defineDerivedArtifact } from './derived-artifact.ts';

/** Which rows of a feature set may be trusted: `credible.npy` (bool [N]). */
export const credibleArtifact = defineDerivedArtifact({
  kind: 'credible',
  name: 'a mask of credible samples',
  command: 'mixbct denoise',
  fields: {
    keep: z.number(),
    columnNormalize: z.boolean(),
    rule: z.enum(['distance', 'entropy']).default('distance'),
    kept: z.int(),
    /** Rows without an embedding, which are not trusted. */
    missing: z.int().default(0),
  },
  facts: ({ count, kept, missing, rule, keep, digest }) => ({
    kept: `${kept} of ${count} rows${missing > 0 ? `, ${missing} of them missing` : ''}`,
    rule: rule === 'entropy' ? rule : `${rule}, ${keep} of each class`,
    digest,
  }),
  arrays: { mask: { file: 'credible.npy', type: '|b1', shape: ({ count }) => [count] } },
});

/** @throws FileError if `path` is no mask of `mixbct denoise`. */
export const openCredible = credibleArtifact.openArrays;
export type CredibleInfo = ReturnType<typeof openCredible>['info'];
