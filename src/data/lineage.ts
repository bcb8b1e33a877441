import { z } from 'zod';
import { FileError } from '../base/errors.ts';
import { formatRanges, type NumberList, parseRanges } from './ranges.ts';

const of = z.string();
const drawSchema = z.union([
  /** One side of a split of each class's images; `shared`: images that both sides have. */
  z.strictObject({ of, ratio: z.number(), part: z.enum(['first', 'second']), shared: z.int().default(0) }),
  /** Some images of each class. */
  z.strictObject({ of, perClass: z.int(), seed: z.int() }),
]);

/** How a part of each class's images was drawn; `of` is the digest of the dataset that they come from. */
export type Draw = z.infer<typeof drawSchema>;

/** The dataset at the root of a lineage, and how images were taken from it, the first draw first. */
export const originSchema = z.strictObject({ digest: z.string(), draws: z.array(drawSchema).default([]) });
export type Origin = z.infer<typeof originSchema>;

/** The same in a sidecar: with the id of each class in the origin as ranges (`0-27999,31`); absent: 0 … C-1. */
export const sidecarOriginSchema = originSchema.extend({ classes: z.string().optional() });
export type SidecarOrigin = z.infer<typeof sidecarOriginSchema>;

/**
 * Where a dataset comes from: parts of one dataset know their classes by the ids of the origin, so that they can be compared
 * though classes have no names and each part numbers them anew.
 */
export type Lineage = {
  readonly origin: Origin;
  /** Id in the origin of each class [C]. */
  readonly classes: NumberList;
};

/** A dataset that was not made from another is its own origin. @throws FileError if the sidecar's ranges are not C ids. */
export function lineageOf(dataset: {
  readonly path: string;
  readonly digest: string;
  readonly classes: number;
  readonly sidecar: { readonly origin?: SidecarOrigin | undefined };
}): Lineage {
  const { digest, draws, classes: text } = dataset.sidecar.origin ?? { digest: dataset.digest, draws: [] };
  const classes = text === undefined ? { length: dataset.classes, at: (label: number) => label } : parseRanges(text);
  if (classes?.length === dataset.classes) return { origin: { digest, draws }, classes };
  throw new FileError(
    `${dataset.path}.json`,
    `origin.classes does not list the ${dataset.classes} classes of the dataset`,
    'split the data set again, or remove "origin" from the file',
  );
}

/** What the sidecar of a part says: the classes `chosen` of a dataset, in this order (all if absent), and how images were drawn. */
export function originOfPart(
  { origin, classes }: Lineage,
  { chosen, draw }: { readonly chosen?: readonly number[]; readonly draw?: Draw } = {},
): SidecarOrigin {
  const ids = chosen ? chosen.map((label) => classes.at(label)) : classes;
  const text = formatRanges({ length: ids.length, at: (i) => ids.at(i)! });
  return {
    digest: origin.digest,
    draws: draw ? [...origin.draws, draw] : origin.draws,
    ...(text !== `0-${ids.length - 1}` && { classes: text }),
  };
}
