import { UserError } from '../base/errors.ts';
import type { FeaturesInfo } from './feature-set-artifact.ts';
import { type ImportNpyOptions, importNpy, type NpyImport } from './import-npy.ts';
import type { importParquet as ImportParquet, ParquetImport } from './import-parquet.ts';

/** Makes a feature set of a Parquet file, as `import-parquet.ts` says. What reads Parquet is loaded when it is called. */
export const importParquet: typeof ImportParquet = async (...given) =>
  (await import('./import-parquet.ts')).importParquet(...given);

/**
 * Makes a feature set of a file that another system wrote: of a .parquet by `importParquet`, of any other by `importNpy`.
 * @throws UserError naming what only the other kind of file has.
 */
export async function importFeatures(
  { features, dataset, labels, families, ids, vector, id, label }: NpyImport & ParquetImport,
  out: string,
  options: ImportNpyOptions = {},
): Promise<FeaturesInfo> {
  const isParquet = features.endsWith('.parquet');
  const foreign = Object.entries(isParquet ? { labels, families, ids } : { vector, id, label });
  const given = foreign.find(([, value]) => value !== undefined);
  if (given)
    throw new UserError(`--${given[0]} belongs to a ${isParquet ? '.npy' : '.parquet'} file, and this is none`);
  return isParquet
    ? await importParquet({ features, dataset, vector, id, label }, out, options)
    : await importNpy({ features, dataset, labels, families, ids }, out, options);
}
