import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { classDirections_, scope, share } from '../torch/index.ts';
import { classBlocks, classesWithoutRows, type LabelledRows, sortByClass } from './class-blocks.ts';
import type { FeatureSet } from './feature-set.ts';
import { type PrototypesInfo, prototypesArtifact } from './prototypes-artifact.ts';

/**
 * Class prototypes (methods.md 4.3): the mean of each class's raw features, then divided by its length; zeros for a class
 * whose rows are all missing. → flat [C · D]
 * @throws UserError naming the first class without a row: prototypes are looked up by label.
 */
export function classPrototypes(features: LabelledRows): Float32Array {
  const all = new Float32Array(features.info.classes * features.info.dim);
  let done = 0;
  for (const some of prototypeBlocks(features)) {
    all.set(some, done);
    done += some.length;
  }
  return all;
}

/** Blocks differ a little in their classes: room for one serves the next. */
const SPARE = 1.125;

/** `classPrototypes`, a few classes at a time: flat [K · D], good until the next ones. */
function* prototypeBlocks(features: LabelledRows): Generator<Float32Array> {
  const { dim } = features.info;
  const lost = new Set(classesWithoutRows(features));
  let room = new Float32Array(0);
  for (const block of classBlocks(features, sortByClass(features), 'average')) {
    const { first, starts } = block;
    const classes = starts.length - 1;
    const empty = starts.findIndex((start, k) => start === starts[k + 1] && !lost.has(first + k));
    if (empty >= 0)
      throw new UserError(
        `${features.path ?? 'the features'}: class ${first + empty} of ${features.info.classes} has no features`,
        { hint: 'every class needs a prototype: extract a dataset in which every class has an image' },
      );
    if (room.length < classes * dim) room = new Float32Array(Math.ceil(classes * SPARE) * dim);
    const own = room.subarray(0, classes * dim);
    scope(() => classDirections_(share(own, { shape: [classes, dim] }), block.tensor(), share(starts)));
    yield own;
  }
}

/** Averages a feature set and writes its prototypes. */
export function writePrototypes(
  path: string,
  features: FeatureSet,
  options: { readonly force?: boolean } = {},
): Promise<PrototypesInfo> {
  return prototypesArtifact.derive(path, features, options, () => {
    const { classes, dim } = features.info;
    const empty = classesWithoutRows(features);
    if (empty.length > 0)
      logLine(
        `${path}: the prototypes of ${empty.length} of ${classes} classes are zeros, because all their rows are missing`,
      );
    return { arrays: { rows: prototypeBlocks(features) }, fields: { classes, dim, empty } };
  });
}
