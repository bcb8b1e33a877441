import type { Connection, Table } from '@lancedb/lancedb';
import type * as Arrow from 'apache-arrow';
import { UserError } from '../base/errors.ts';
import { isIntegerKey } from './integer-key.ts';
import { arrow, quotedColumn, quotedText } from './lance-driver.ts';
import { galleryColumns, type StoreUrl } from './store-url.ts';

/** A table with a gallery as it is now; the application may have changed its columns a moment later. */
export type LanceGallery = {
  /** What tells it from others in the folder. */
  readonly name: string;
  readonly table: string;
  readonly id: string;
  readonly vector: string;
  readonly columns: readonly string[];
  readonly idType: Arrow.DataType;
  /** Whether keys are whole numbers. */
  readonly integers: boolean;
  /** Dimensions of the vectors. */
  readonly dim: number;
};

/** Columns that a cut-over to other dimensions has for a moment. */
export const [FRESH, FORMER] = ['mixbct_fresh', 'mixbct_former'];

/** Opens the table. @throws UserError that lists the tables if the URL names none of them. */
export async function openLanceTable(db: Connection, { table, text, location }: StoreUrl): Promise<Table> {
  const names = (await db.tableNames()).filter((name) => !name.startsWith('mixbct_'));
  const name = table ?? (names.length === 1 ? names[0]! : undefined);
  if (name !== undefined && names.includes(name)) return await db.openTable(name);
  const problem = name === undefined ? 'the URL names no table' : `there is no table ${name}`;
  throw new UserError(`${text}: ${problem}; tables: ${names.slice(0, 20).join(', ') || 'none'}`, { hint: `lancedb:${location}#TABLE` }); // biome-ignore format: short
}

/** @throws UserError if a column is missing or of a type that a gallery cannot have. */
export async function describeLance(table: Table, url: StoreUrl): Promise<LanceGallery> {
  const { fields } = await table.schema();
  const columns = fields.map(({ name }) => name).filter((name) => name !== FRESH && name !== FORMER);
  const { id, vector } = galleryColumns(url, columns);
  const typeOf = (name: string): Arrow.DataType => fields.find((field) => field.name === name)!.type as Arrow.DataType;
  const { DataType } = arrow();
  const [idType, vectorType] = [typeOf(id), typeOf(vector)];
  const integers = DataType.isInt(idType);
  if (!integers && !DataType.isUtf8(idType) && !DataType.isLargeUtf8(idType))
    throw new UserError(`${url.text}: the column ${id} is of type ${String(idType)}, wanted text or whole numbers`, { hint: 'name another column in the URL: ?id=…' }); // biome-ignore format: short
  if (!DataType.isFixedSizeList(vectorType) || !/Float32/.test(String(vectorType)))
    throw new UserError(`${url.text}: the column ${vector} is of type ${String(vectorType)}, wanted vectors of float32`, { hint: 'name another column in the URL: ?vector=…' }); // biome-ignore format: short
  const name = `${table.name}.${vector}`;
  return { name, table: table.name, id, vector, columns, idType, integers, dim: vectorType.listSize };
}

/** @throws UserError if an id is NULL or occurs twice: no column of LanceDB is declared unique */
export async function requireUniqueIds(table: Table, { id }: LanceGallery, url: string): Promise<void> {
  let previous: string | null = null;
  for await (const batch of table
    .query()
    .orderBy({ columnName: id })
    .select({ key: quotedColumn(id) }))
    for (const value of batch.getChild('key')!) {
      const key = value === null ? null : String(value);
      if (key !== null && key !== previous) previous = key;
      else throw new UserError(`${url}: the column ${id} ${key === null ? 'holds NULL' : `holds ${key} twice`}, so a row cannot be told from another`, { hint: 'give each row an id of its own, or name another column in the URL: ?id=…' }); // biome-ignore format: short
    }
}

/** Whether ids are whole numbers without sign of 64 bits: LanceDB takes a plain literal from 2^63 on for a floating-point number. */
function isUnsigned64({ idType, integers }: LanceGallery): boolean {
  const { bitWidth, isSigned } = idType as Arrow.Int;
  return integers && bitWidth === 64 && !isSigned;
}

/** A key in a filter. */
function literalOf(gallery: LanceGallery, key: string): string {
  if (isUnsigned64(gallery)) return `arrow_cast('${key}', 'UInt64')`;
  return gallery.integers ? key : quotedText(key);
}

/** Filter of the rows with these keys; null if none of them can be an id. */
export function keysFilter(gallery: LanceGallery, keys: readonly string[]): string | null {
  const { bitWidth, isSigned: signed } = gallery.idType as Arrow.Int;
  const possible = gallery.integers ? keys.filter((key) => isIntegerKey(key, bitWidth, { signed })) : keys;
  if (possible.length === 0) return null;
  return `${quotedColumn(gallery.id)} IN (${possible.map((key) => literalOf(gallery, key)).join(', ')})`;
}

/** Filter of the rows after a key. */
export const afterFilter = (gallery: LanceGallery, key: string): string =>
  `${quotedColumn(gallery.id)} > ${literalOf(gallery, key)}`;

/** Filter of the rows beside from the row after one key to that of another. */
export function besideRange(gallery: LanceGallery, after: string | null, last: string): string {
  const number = isUnsigned64(gallery) ? `arrow_cast(id, 'UInt64')` : 'CAST(id AS BIGINT)';
  const id = gallery.integers ? number : 'id';
  return `${id} <= ${literalOf(gallery, last)}${after === null ? '' : ` AND ${id} > ${literalOf(gallery, after)}`}`;
}

/** What a query gives of each row as `key` and `vector`. */
export const projection = ({ id, vector }: LanceGallery): Record<string, string> => ({
  key: quotedColumn(id),
  vector: quotedColumn(vector),
});

/** Keys as the column of ids holds them. */
export function idColumn({ idType, integers }: LanceGallery, keys: readonly string[]): Arrow.Vector {
  const wide = integers && (idType as Arrow.Int).bitWidth === 64;
  const values = integers ? keys.map((key) => (wide ? BigInt(key) : Number(key))) : keys;
  return arrow().vectorFromArray(values as string[], idType as Arrow.Utf8);
}
