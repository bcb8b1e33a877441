import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { classDirections_, scope, share, tensor } from '../torch/index.ts';
import { classBlocks, classesWithoutRows, type LabelledRows, sortByClass } from './class-blocks.ts';
import type { FeatureSet } from './feature-set.ts';
import { type PrototypesInfo, prototypesArtifact } from './prototypes-artifact.ts';

/**
 * Class prototypes (methods.md 4.3): the mean of each class's raw features, then divided by its length; zeros for a class
 * whose rows are all missing. → flat [C · D]
 * @throws UserError naming the first class without a row: prototypes are looked up by label.
 */
export function classPrototypes(features: LabelledRows): Float32Array {
  const { dim, classes } = features.info;
  const lost = new Set(classesWithoutRows(features));
  const order = sortByClass(features);
  const prototypes = new Float32Array(classes * dim);
  for (const block of classBlocks(features, order, 'average')) {
    const { first, starts } = block;
    const empty = starts.findIndex((start, k) => start === starts[k + 1] && !lost.has(first + k));
    if (empty >= 0)
      throw new UserError(`${features.path ?? 'the features'}: class ${first + empty} of ${classes} has no features`, {
        hint: 'every class needs a prototype: extract a dataset in which every class has an image',
      });
    const own = prototypes.subarray(first * dim, (first + starts.length - 1) * dim);
    scope(() => classDirections_(share(own, { shape: [starts.length - 1, dim] }), block.tensor(), tensor(starts)));
  }
  return prototypes;
}

/** Averages a feature set and writes its prototypes. */
export function writePrototypes(
  path: string,
  features: FeatureSet,
  options: { readonly force?: boolean } = {},
): Promise<PrototypesInfo> {
  return prototypesArtifact.derive(path, features, options, () => {
    const rows = classPrototypes(features);
    const { classes, dim } = features.info;
    const empty = classesWithoutRows(features);
    if (empty.length > 0)
      logLine(
        `${path}: the prototypes of ${empty.length} of ${classes} classes are zeros, because all their rows are missing`,
      );
    return { arrays: { rows }, fields: { classes, dim, empty } };
  });
}
