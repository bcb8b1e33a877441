import { FileError, type Hint } from '../base/errors.ts';
import { requireDistinct } from './id-file.ts';
import type { ParquetFile } from './parquet-file.ts';

/** A value of a column as the list of numbers that it must be. @throws FileError that ends with `hint` */
export function vectorOf(path: string, column: string, value: unknown, row: number, hint: Hint): ArrayLike<number> {
  const isList = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof Uint8Array));
  const list = isList ? (value as ArrayLike<unknown>) : [];
  if (list.length > 0 && Array.prototype.every.call(list, (x) => typeof x === 'number'))
    return list as ArrayLike<number>;
  throw new FileError(path, `row ${row} of column ${column} is no list of numbers`, hint);
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
