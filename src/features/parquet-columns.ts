import { FileError, type Hint } from '../base/errors.ts';
import { requireDistinct } from './id-file.ts';
import type { ParquetFile, RowGroup } from './parquet-file.ts';

/** What `readVectors` makes of the vectors of a row group. */
export type VectorColumn = {
  readonly column: string;
  /** The length of each; absent: that of the first. */
  readonly dim?: number | undefined;
  /** As float64; else as float32. */
  readonly double?: boolean;
  /** What to do about a row that has none. */
  readonly hint: Hint;
};

/** Flat [K · D], and D. */
export type Vectors = { readonly numbers: Float32Array | Float64Array; readonly dim: number };

/** The vectors of a row group. @throws FileError naming the first row that has none, or one of another length */
export async function readVectors(
  file: ParquetFile,
  group: RowGroup,
  { column, dim, double = false, hint }: VectorColumn,
): Promise<Vectors> {
  const decoded = await file.vectors(column, group, { double });
  const isOther = dim !== undefined && decoded.dim !== dim; // the first row already
  const [row, length] = 'row' in decoded && !isOther ? [decoded.row, decoded.length] : [0, decoded.dim];
  if (length === 0)
    throw new FileError(file.path, `row ${group.from + row} of column ${column} is no list of numbers`, hint);
  if ('numbers' in decoded && (dim ?? decoded.dim) === decoded.dim) return decoded;
  throw new FileError(
    file.path,
    `row ${group.from + row} has ${length} numbers in column ${column}, row 0 has ${dim ?? decoded.dim}`,
  );
}

/** The ids in a column: text or whole numbers. @throws FileError if a row has none, or some occur twice */
export async function readIdColumn(file: ParquetFile, column: string): Promise<string[]> {
  const ids: string[] = [];
  for (const group of file.groups)
    for (const [i, value] of (await file.column(column, group)).entries()) {
      if (!['string', 'number', 'bigint'].includes(typeof value) || value === '')
        throw new FileError(file.path, `row ${group.from + i} has no id in column ${column}`, 'wanted text or whole numbers'); // biome-ignore format: short
      ids.push(String(value));
    }
  requireDistinct(`${file.path}, column ${column}`, ids);
  return ids;
}
