import type { Dataset } from '../data/dataset.ts';

/** Options of what makes record sets of a dataset. */
export type FromDataset = {
  /** Folder, or prefix of a .rec and .idx. */
  readonly dataset: string;
  /** Folder of the record sets; absent: beside the dataset. */
  readonly out?: string;
  readonly force?: boolean;
};

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
