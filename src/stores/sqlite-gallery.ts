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
  const isPrimary = info.every((column) => Number(column['pk']) > 0 === (column['name'] === id));
  requireUnique(database, { text, table, id, isPrimary });
  const idType = String(info.find(({ name }) => name === id)!['type']);
  const integers = hasIntegerIds(database, { text, table, id, isPrimary });
  const name = `${table}.${vector}`;
  const own = (what: string): string => quoted(`mixbct_${what}_${name}`);
  const key = integers ? 'CAST(? AS INTEGER)' : '?';
  const sql = { table: quoted(table), id: quoted(id), vector: quoted(vector), key, beside: own('beside'), swap: own('swap') }; // biome-ignore format: short
  return { path: location, name, table, id, vector, columns, sql, integers, idType };
}

/** `isPrimary`: whether the ids, and nothing else, are the primary key. */
type Column = { readonly text: string; readonly table: string; readonly id: string; readonly isPrimary: boolean };

function requireUnique(database: SqliteDatabase, { text, table, id, isPrimary }: Column): void {
  if (isPrimary) return;
  for (const { name, unique, partial } of database.prepare(`PRAGMA index_list(${quoted(table)})`).all()) {
    if (!Number(unique) || Number(partial)) continue;
    const columns = database.prepare(`PRAGMA index_info(${quoted(String(name))})`).all();
    if (columns.length === 1 && columns[0]!['name'] === id) return;
  }
  throw new UserError(`${text}: the column ${id} is not declared unique, so a row cannot be told from another`, {
    hint: `CREATE UNIQUE INDEX ${table}_${id} ON ${table} (${id}), or name another column in the URL: ?id=…`,
  });
}

/** Whether ids are whole numbers. @throws UserError if they are neither all numbers nor all text, one is NULL or holds the character NUL */
function hasIntegerIds(database: SqliteDatabase, { text, table, id, isPrimary }: Column): boolean {
  const [name, from] = [quoted(id), quoted(table)];
  const typeOf = (rest: string): string | undefined => {
    const found = database.prepare(`SELECT typeof(${name}) AS type FROM ${from} ${rest} LIMIT 1`).get();
    return found && String(found['type']);
  };
  // NULL comes first, then numbers, text and blobs
  const first = typeOf(`ORDER BY ${name}`) ?? 'text';
  const refused = (found: string) =>
    new UserError(`${text}: the column ${id} holds ${found}, wanted text or whole numbers`, { hint: 'name another column in the URL: ?id=…' }); // biome-ignore format: short
  if (first !== 'text' && first !== 'integer') throw refused(first);
  const last = typeOf(`ORDER BY ${name} DESC`) ?? first;
  const others = last !== first ? last : first === 'integer' && !(isPrimary && isRowid(database, table)) ? typeOf(`WHERE typeof(${name}) <> 'integer'`) : undefined; // biome-ignore format: short
  if (others !== undefined) throw refused(`both ${first} and ${others}`);
  if (first === 'integer') return true;
  // read as a key, such an id ends before the character, and is that of no row
  const cut = database.prepare(`SELECT CAST(${name} AS TEXT) AS key FROM ${from} WHERE instr(${name}, char(0)) > 0 LIMIT 1`).get(); // biome-ignore format: short
  if (cut) throw new UserError(`${text}: the column ${id} holds the character NUL, after ${String(cut['key'])}`, { hint: 'give this row another id, or name another column in the URL: ?id=…' }); // biome-ignore format: short
  return false;
}

/** Whether the primary key of a table has no index because it is SQLite's own number of each row, which is whole. */
const isRowid = (database: SqliteDatabase, table: string): boolean =>
  database.prepare(`PRAGMA index_list(${quoted(table)})`).all().every(({ origin }) => origin !== 'pk'); // biome-ignore format: short
