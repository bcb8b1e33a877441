import { UserError } from '../base/errors.ts';
import { markNearest, scope, share, toFloat64, toUint8, unitSquares } from '../torch/index.ts';
import { classBlocks, type LabelledRows, type RowsByClass, sortByClass } from './class-blocks.ts';
import { type CredibleInfo, credibleArtifact } from './credible-artifact.ts';
import { credibleByEntropy } from './entropy.ts';
import type { FeatureSet } from './feature-set.ts';

export type DenoiseOptions = {
  /** T, share of each class that is kept: its ceil(T · n) rows nearest to the class mean. In (0, 1]. */
  readonly keep: number;
  /** Divide each dimension by its length over all samples after the rows are normalised, as the reference does (D-08). */
  readonly columnNormalize?: boolean;
  /** `distance`: nearest to the class mean. `entropy`: see `credibleByEntropy`, which ignores `keep` and `columnNormalize`. */
  readonly rule?: 'distance' | 'entropy';
};

/**
 * The mask of credible old features (methods.md 4.2): → [N], 1 or 0. The rows of each class are normalised to length 1 (zero
 * rows stay zero), column-normalised and ranked by distance to their mean. On a tie the earlier row wins. A missing row is not
 * credible and belongs to no class. Rows are read block by block, twice if columns are normalised.
 * @throws UserError if `keep` is out of range or there are no features.
 */
export function denoise(
  features: LabelledRows,
  { keep, columnNormalize = true, rule = 'distance' }: DenoiseOptions,
): Uint8Array {
  if (!(keep > 0 && keep <= 1)) throw new UserError(`keep ${keep}: wanted a share above 0, at most 1, for example 0.9`);
  const { count, dim } = features.info;
  if (count === 0) throw new UserError('there are no features to denoise');
  if (rule === 'entropy') return credibleByEntropy(features);
  const order = sortByClass(features);
  const factors = columnNormalize ? columnFactors(features, order) : new Float64Array(dim).fill(1);
  const mask = new Uint8Array(count);
  for (const block of classBlocks(features, order, 'denoise')) {
    const { starts, order: rows, from } = block;
    const marks = scope(() => toUint8(markNearest(block.tensor(), share(starts), share(factors), keep)));
    if (rows) for (let i = 0; i < rows.length; i++) mask[rows[i]!] = marks[i]!;
    else mask.set(marks, from);
  }
  return mask;
}

/** 1 / the sum of squares of each dimension over all unit rows; [D] */
function columnFactors(features: LabelledRows, order: RowsByClass): Float64Array {
  const squares = new Float64Array(features.info.dim);
  for (const block of classBlocks(features, order, 'lengths of dimensions')) {
    const ofBlock = scope(() => toFloat64(unitSquares(block.tensor())));
    for (const [d, value] of ofBlock.entries()) squares[d]! += value;
  }
  return squares.map((total) => (total > 0 ? 1 / total : 0));
}

/** Denoises a feature set and writes the mask. */
export function writeCredible(
  path: string,
  features: FeatureSet,
  { keep, columnNormalize = true, rule = 'distance' }: DenoiseOptions,
  options: { readonly force?: boolean } = {},
): Promise<CredibleInfo> {
  return credibleArtifact.derive(path, features, options, () => {
    const mask = denoise(features, { keep, columnNormalize, rule });
    let kept = 0;
    for (let i = 0; i < mask.length; i++) kept += mask[i]!; // millions: no call for each
    return { arrays: { mask }, fields: { keep, columnNormalize, rule, kept, missing: features.missing().size } };
  });
}
