import { z } from 'zod';
import { defineDerivedArtifact } from './derived-artifact.ts';

/** A unit vector for each class: `prototypes.npy` (float32 [C, D]). */
export const prototypesArtifact = defineDerivedArtifact({
  kind: 'prototypes',
  name: 'class prototypes',
  command: 'mixbct average',
  fields: {
    classes: z.int(),
    dim: z.int(),
    /** Classes whose rows are all missing: their prototypes are zeros. */
    empty: z.array(z.int().nonnegative()).default([]),
  },
  facts: ({ classes, dim, empty, count, digest }) => ({
    prototypes: `${classes} of ${dim} dimensions, from ${count} rows`,
    ...(empty.length > 0 && { 'without rows': empty.length }),
    digest,
  }),
  arrays: { rows: { file: 'prototypes.npy', type: '<f4', shape: ({ classes, dim }) => [classes, dim] } },
});

/** @throws FileError if `path` holds no prototypes of `mixbct average`. */
export const openPrototypes = prototypesArtifact.openArrays;
export type PrototypesInfo = ReturnType<typeof openPrototypes>['info'];
