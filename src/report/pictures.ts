import type { ChangedPair, ChangedSearch, Evaluation } from '../eval/index.ts';

/** Small pictures of the evaluated images for a page, and the names of their classes. */
export type ReportPictures = {
  /** The picture at a position in the dataset as a `data:` address, if there is one. */
  image(position: number): string | undefined;
  className(label: number): string;
  /** What a reader should know of pictures that are missing. */
  readonly note: string | null;
  /** Whether examples are ids of templates, and classes subjects. */
  readonly templates?: boolean;
};

export const withoutPictures = (note: string | null = null): ReportPictures => ({
  image: () => undefined,
  className: (label) => `class ${label}`,
  note,
});

/** Of a protocol of templates, which are sets of images. */
export const templatesWithoutPictures: ReportPictures = {
  image: () => undefined,
  className: (label) => `${label}`,
  note: 'Each template is a set of images, so there are no pictures of what changes, no scores drawn and no map: templates and subjects stand here by their ids.',
  templates: true,
};

/** An example that a page shows, by its images. */
export type PictureExample = { readonly images: readonly number[] };

const ofSearch = ({ query, right, wrong }: ChangedSearch): number[] => [query, right, wrong];
const ofPair = ({ query, gallery }: ChangedPair): number[] => [query, gallery];

/**
 * The examples of an evaluation in the order of their worth: the classes of the map, then of each kind and new model the first, the
 * second, and so on.
 */
export function pictureExamples({ candidates, tests }: Evaluation): PictureExample[] {
  const mapped = tests.find(({ map }) => map)?.map?.classes.map(({ images }) => ({ images: images.slice(0, 1) })) ?? [];
  const kinds = candidates.flatMap(({ changes }) =>
    changes
      ? [
          ...[changes.searches].flatMap((of) =>
            of ? [of.examples.broken.map(ofSearch), of.examples.repaired.map(ofSearch)] : [],
          ),
          ...[changes.pairs?.genuine, changes.pairs?.impostor].flatMap((of) =>
            of ? [of.examples.broken.map(ofPair), of.examples.repaired.map(ofPair)] : [],
          ),
        ]
      : [],
  );
  const longest = Math.max(0, ...kinds.map(({ length }) => length));
  const examples = Array.from({ length: longest }, (_, i) =>
    kinds.flatMap((kind) => (kind[i] ? [{ images: kind[i] }] : [])),
  );
  return [...mapped, ...examples.flat()];
}
