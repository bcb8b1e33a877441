import type { Dataset } from '../data/dataset.ts';

/** `dataset`: folder, or prefix of a .rec and .idx. */
export type FromDataset = { readonly dataset: string };

/** Opens a dataset for `make`, and closes it. */
export async function fromDataset<T>(
  path: string,
  make: (data: typeof import('../data/index.ts'), dataset: Dataset) => Promise<T>,
): Promise<T> {
  const [data, { openInputDataset }] = await Promise.all([
    import('../data/index.ts'),
    import('../data/input-dataset.ts'),
  ]);
  using dataset = openInputDataset(path);
  return await make(data, dataset);
}
