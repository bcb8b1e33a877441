import type { FeatureSet } from '../features/index.ts';

/** Options of what is derived from a feature set. */
export type FromFeatures = {
  /** Folder of the feature set. */
  readonly features: string;
  readonly out: string;
  readonly force?: boolean;
};

/** Opens a feature set for `make`, and closes it. */
export async function fromFeatures<T>(
  path: string,
  make: (features: typeof import('../features/index.ts'), set: FeatureSet) => Promise<T>,
): Promise<T> {
  const tools = await import('../features/index.ts');
  using set = tools.FeatureSet.open(path);
  return await make(tools, set);
}
