import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Connection, Table } from '@lancedb/lancedb';
import type * as Arrow from 'apache-arrow';
import { DiskFullError } from '../artifacts/durable-write.ts';
import { codeOf, FileError, messageOf, UserError } from '../base/errors.ts';
import type { StoreUrl } from './store-url.ts';

/**
 * Opens the database in a folder that exists. @throws UserError if LanceDB is not installed, or there are no tables and `fresh` is not
 * set: it would write files of its own into any folder
 */
export async function openLance({ location, text }: StoreUrl, { fresh = false } = {}): Promise<Connection> {
  if (location.includes('://'))
    throw new UserError(`${text}: wanted a folder of this machine`, { hint: 'lancedb:./gallery#faces' });
  if (!existsSync(location)) throw new FileError(text, `there is no folder ${location}`, 'check the path');
  const { connect } = await loadLance();
  if (!fresh && !readdirSync(location).some((name) => name.endsWith('.lance')))
    throw new UserError(`${text}: there are no tables in ${location}`, { hint: 'check the path' });
  return await connect(location);
}

async function loadLance(): Promise<typeof import('@lancedb/lancedb')> {
  try {
    return await import('@lancedb/lancedb');
  } catch (error) {
    const missing = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(codeOf(error) ?? '');
    const how = missing ? 'is not installed' : `does not load (${messageOf(error).split('\n', 1)[0]})`;
    throw new UserError(`a gallery in LanceDB needs the package @lancedb/lancedb, which ${how}`, {
      hint: 'npm install @lancedb/lancedb@0.31.0 apache-arrow@18.1.0',
    });
  }
}

/** Arrow as LanceDB has it: tables of another copy of the package, as an import would be, would have no rows for it. */
export const arrow = (): typeof Arrow => createRequire(import.meta.url)('apache-arrow') as typeof Arrow;

/** What a failure of LanceDB means to whom it happens; any other error as it is. */
export function asLanceError(error: unknown, url: string, folder: string): unknown {
  if (error instanceof UserError || !(error instanceof Error)) return error;
  const { message } = error;
  if (/No space left|os error 28/.test(message)) return new DiskFullError(folder, 'ENOSPC', error);
  if (/Permission denied|os error 13|Read-only file system|os error 30/.test(message))
    return new FileError(url, 'may not be written or read', `change the permissions of ${folder}`);
  if (/[Cc]ommit conflict|Retryable/.test(message))
    return new FileError(url, 'others changed the table at the same moment', 'give the command again');
  if (/Not found|corrupt|magic|Failed to (read|decode)|LanceError\(IO\)/.test(message))
    return new FileError(url, `its files are damaged (${message.split(/[\n,]/, 1)[0]})`, 'restore the folder');
  return error;
}

/** A text in a filter. */
export const quotedText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** A column in a filter or a projection: in backquotes, so that any name will do. */
export const quotedColumn = (name: string): string => `\`${name}\``;

export type VectorColumn = readonly (Float32Array | null)[];

/** A table of Arrow of texts and vectors of `dim` dimensions, each with `length` values or nulls. */
export function arrowTable(
  texts: Readonly<Record<string, readonly (string | null)[]>>,
  vectors: Readonly<Record<string, VectorColumn>>,
  dim: number,
): Arrow.Table {
  const a = arrow();
  const type = vectorType(dim);
  const fields = [
    ...Object.keys(texts).map((name) => new a.Field(name, new a.Utf8(), true)),
    ...Object.keys(vectors).map((name) => new a.Field(name, type, true)),
  ];
  const columns: Record<string, Arrow.Vector> = {};
  for (const [name, values] of Object.entries(texts)) columns[name] = a.vectorFromArray(values, new a.Utf8());
  for (const [name, values] of Object.entries(vectors)) columns[name] = vectorColumn(values, dim);
  return new a.Table(new a.Schema(fields), columns);
}

/** The type of vectors. */
export function vectorType(dim: number): Arrow.FixedSizeList<Arrow.Float32> {
  const a = arrow();
  return new a.FixedSizeList(dim, new a.Field('item', new a.Float32(), true));
}

export function vectorColumn(values: VectorColumn, dim: number): Arrow.Vector {
  const a = arrow();
  const data = new Float32Array(values.length * dim);
  const valid = new Uint8Array(Math.ceil(values.length / 8));
  let nullCount = 0;
  for (const [i, value] of values.entries()) {
    if (value === null) nullCount++;
    else {
      data.set(value, i * dim);
      valid[i >> 3]! |= 1 << (i & 7);
    }
  }
  const child = a.makeData({ type: new a.Float32(), length: data.length, data });
  return new a.Vector([
    a.makeData({ type: vectorType(dim), length: values.length, nullCount, nullBitmap: valid, child }),
  ]);
}

/** The vectors of a column that was read. */
export function vectorsOf(column: Arrow.Vector | null): (Float32Array | null)[] {
  const found: (Float32Array | null)[] = [];
  for (const part of (column?.data ?? []) as readonly Arrow.Data<Arrow.FixedSizeList<Arrow.Float32>>[]) {
    const { listSize } = part.type;
    const { values } = part.children[0] as Arrow.Data<Arrow.Float32>;
    for (let i = 0; i < part.length; i++)
      found.push(part.getValid(i) ? values.slice(i * listSize, (i + 1) * listSize) : null);
  }
  return found;
}

export type { Connection, Table };
