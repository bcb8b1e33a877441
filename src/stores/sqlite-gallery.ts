import { existsSync, statSync } from 'node:fs';
import { FileError, UserError } from '../base/errors.ts';
import { quoted, type SqliteDatabase } from './sqlite-driver.ts';
import { galleryColumns, type StoreUrl } from './store-url.ts';

/** A table with a gallery, and what is made for it beside the application's tables. All names are quoted, as SQL has them. */
export type SqliteGallery = {
  readonly path: string;
  /** What tells it from others in the file. */
  readonly name: string;
  readonly table: string;
  readonly id: string;
  readonly vector: string;
  readonly columns: readonly string[];
  readonly sql: {
    readonly table: string;
    readonly id: string;
    readonly vector: string;
    /** A parameter that holds a key. */
    readonly key: string;
    /** The second vector of each row. */
    readonly beside: string;
    readonly swap: string;
  };
  /** Whether keys are whole numbers. */
  readonly integers: boolean;
  /** Type of the ids as the table declares it. */
  readonly idType: string;
};

/** @throws FileError if there is no file: SQLite would make one. */
export function requireDatabaseFile({ location: path, text }: StoreUrl): void {
  if (!existsSync(path)) throw new FileError(text, `there is no file ${path}`, 'check the path');
  if (!statSync(path).isFile()) throw new FileError(text, `${path} is no file`, 'check the path');
  if (statSync(path).size === 0)
    throw new FileError(text, `${path} is empty, wanted an SQLite database`, 'check the path');
}

/** Finds the table and the columns of a gallery. @throws UserError if one is missing, or ids are not unique. */
export function findGallery(database: SqliteDatabase, url: StoreUrl): SqliteGallery {
  const tables = database.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").all();
  const names = tables.map(({ name }) => String(name)).filter((name) => !/^(sqlite|mixbct)_/.test(name));
  const { table = names.length === 1 ? names[0]! : undefined, text, location } = url;
  const found = tables.find(({ name }) => name === table);
  if (table === undefined || !found)
    throw new UserError(`${text}: ${table === undefined ? 'the URL names no table' : `there is no table ${table}`}; tables: ${names.slice(0, 20).join(', ') || 'none'}`, { hint: `sqlite:${location}#TABLE` }); // biome-ignore format: short
  if (/^\s*CREATE\s+VIRTUAL/i.test(String(found['sql'])))
    throw new UserError(`${text}: ${table} is a virtual table, which has no triggers: what changes in it would not be noticed`, { hint: `copy it into a table: CREATE TABLE faces AS SELECT … FROM ${table}` }); // biome-ignore format: short
  const info = database.prepare(`PRAGMA table_info(${quoted(table)})`).all();
  const columns = info.map(({ name }) => String(name));
  const { id, vector } = galleryColumns(url, columns);
  requireUnique(database, { text, table, id, primary: info.filter(({ pk }) => Number(pk) > 0).map(({ name }) => name) }); // biome-ignore format: short
  const idType = String(info.find(({ name }) => name === id)!['type']);
  const integers = hasIntegerIds(database, { text, table, id });
  const name = `${table}.${vector}`;
  const own = (what: string): string => quoted(`mixbct_${what}_${name}`);
  const key = integers ? 'CAST(? AS INTEGER)' : '?';
  const sql = { table: quoted(table), id: quoted(id), vector: quoted(vector), key, beside: own('beside'), swap: own('swap') }; // biome-ignore format: short
  return { path: location, name, table, id, vector, columns, sql, integers, idType };
}

type Column = { readonly text: string; readonly table: string; readonly id: string };

function requireUnique(
  database: SqliteDatabase,
  { text, table, id, primary }: Column & { readonly primary: readonly unknown[] },
): void {
  if (primary.length === 1 && primary[0] === id) return;
  for (const { name, unique, partial } of database.prepare(`PRAGMA index_list(${quoted(table)})`).all()) {
    if (!Number(unique) || Number(partial)) continue;
    const columns = database.prepare(`PRAGMA index_info(${quoted(String(name))})`).all();
    if (columns.length === 1 && columns[0]!['name'] === id) return;
  }
  throw new UserError(`${text}: the column ${id} is not declared unique, so a row cannot be told from another`, {
    hint: `CREATE UNIQUE INDEX ${table}_${id} ON ${table} (${id}), or name another column in the URL: ?id=…`,
  });
}

/** Whether ids are whole numbers, by the first row. @throws UserError if they are neither numbers nor text, or one is NULL */
function hasIntegerIds(database: SqliteDatabase, { text, table, id }: Column): boolean {
  const [first] = database
    .prepare(`SELECT typeof(${quoted(id)}) AS type FROM ${quoted(table)} ORDER BY ${quoted(id)} LIMIT 1`)
    .all(); // NULL would come first
  const type = first?.['type'] ?? 'text';
  if (type === 'text' || type === 'integer') return type === 'integer';
  throw new UserError(`${text}: the column ${id} holds ${String(type)}, wanted text or whole numbers`, {
    hint: 'name another column in the URL: ?id=…',
  });
}
