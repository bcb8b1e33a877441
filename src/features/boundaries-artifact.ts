import { z } from 'zod';
import { defineDerivedArtifact } from './derived-artifact.ts';

/** Centre and radius of each class: `centres.npy` (float32 [C, D]), `radii.npy` (float32 [C]), `kept.npy` (int32 [C]). */
export const boundariesArtifact = defineDerivedArtifact({
  kind: 'boundaries',
  name: 'class boundaries',
  command: 'mixbct boundaries',
  fields: { classes: z.int(), dim: z.int() },
  facts: ({ classes, dim, count, digest }) => ({
    boundaries: `${classes} of ${dim} dimensions, from ${count} rows`,
    digest,
  }),
  arrays: {
    centres: { file: 'centres.npy', type: '<f4', shape: ({ classes, dim }) => [classes, dim] },
    largest: { file: 'radii.npy', type: '<f4', shape: ({ classes }) => [classes] },
    kept: { file: 'kept.npy', type: '<i4', shape: ({ classes }) => [classes] },
  },
});

/** @throws FileError if `path` holds no boundaries of `mixbct boundaries`. */
export const openBoundaries = boundariesArtifact.openArrays;
export type BoundariesInfo = ReturnType<typeof openBoundaries>['info'];
