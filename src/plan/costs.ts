import type { PlanOption, VectorType } from './plan-artifact.ts';
import { vectorTypes } from './plan-artifact.ts';

/** The gallery that is planned for, as far as it is known. */
export type Gallery = {
  readonly size: number | null;
  readonly type: VectorType;
  readonly imagesPerSecond: number | null;
};

/** What a way does to the gallery. */
export type Work = {
  /** Whether all images are embedded again. */
  readonly reEmbed: boolean;
  /** Whether all vectors are mapped by an adapter. */
  readonly rewrite: boolean;
  /** Dimensions of the vectors that are there, and of those that will be. */
  readonly from: number;
  readonly to: number;
};

/**
 * Items, hours and bytes of a way. Vectors are `size` · dimensions · bytes of a number; indexes and ids come on top. Old vectors
 * stay until the new ones are complete, so that both are there during it.
 */
export function costsOf(
  { reEmbed, rewrite, from, to }: Work,
  { size, type, imagesPerSecond }: Gallery,
): Pick<PlanOption, 'reEmbed' | 'rewrite' | 'hours' | 'bytes'> {
  const vectors = (dim: number): number => size! * dim * vectorTypes[type];
  const changed = reEmbed || rewrite;
  return {
    reEmbed: reEmbed ? size : 0,
    rewrite: rewrite ? size : 0,
    hours: reEmbed ? (size === null || imagesPerSecond === null ? null : size / imagesPerSecond / 3600) : 0,
    bytes:
      size === null
        ? null
        : {
            now: vectors(from),
            during: vectors(from) + (changed ? vectors(to) : 0),
            after: changed ? vectors(to) : vectors(from),
          },
  };
}
