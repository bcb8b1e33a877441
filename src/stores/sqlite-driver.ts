import { DiskFullError } from '../artifacts/durable-write.ts';
import { codeOf, FileError, UserError } from '../base/errors.ts';

/** What we use of `node:sqlite` and of packages with its interface. */
export interface SqliteStatement {
  run(...values: readonly SqliteValue[]): { readonly changes: number | bigint };
  get(...values: readonly SqliteValue[]): SqliteRow | undefined;
  all(...values: readonly SqliteValue[]): SqliteRow[];
  iterate(...values: readonly SqliteValue[]): IterableIterator<SqliteRow>;
  setReadBigInts(enabled: boolean): void;
}
export interface SqliteDatabase {
  exec(sql: string): void;
  prepare(sql: string): SqliteStatement;
  enableLoadExtension(enable: boolean): void;
  loadExtension(path: string): void;
  close(): void;
}
export type SqliteValue = string | number | Uint8Array | null;
export type SqliteRow = Record<string, unknown>;
type SqliteModule = { readonly DatabaseSync: new (path: string, options: object) => SqliteDatabase };

/** The package first: it is newer than what an older Node has inside. */
const MODULES = ['@photostructure/sqlite', 'node:sqlite'];
const NOT_THERE = ['ERR_MODULE_NOT_FOUND', 'ERR_UNKNOWN_BUILTIN_MODULE'];

async function loadSqlite(): Promise<SqliteModule> {
  for (const name of MODULES)
    try {
      return (await import(name)) as SqliteModule;
    } catch (error) {
      if (!NOT_THERE.includes(codeOf(error) ?? '')) throw error;
    }
  throw new UserError('a gallery in SQLite needs the package @photostructure/sqlite on this Node, which is not installed', { hint: 'npm install @photostructure/sqlite sqlite-vec' }); // biome-ignore format: short
}

export type SqliteOptions = {
  /** Whether to load sqlite-vec if it is installed. */
  readonly extension?: boolean;
  /** How long to wait for another process that holds the database. */
  readonly busyMs?: number;
};

/** Opens a database file that exists. `vec`: whether sqlite-vec, which is optional, could be loaded. */
export async function openSqlite(
  path: string,
  { extension = true, busyMs = 15_000 }: SqliteOptions = {},
): Promise<{ readonly database: SqliteDatabase; readonly vec: boolean }> {
  const { DatabaseSync } = await loadSqlite();
  const database = new DatabaseSync(path, { allowExtension: true, enableForeignKeyConstraints: false });
  try {
    database.exec(`PRAGMA busy_timeout = ${busyMs}`);
    return { database, vec: extension && (await loadVec(database)) };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Runs `body` in a transaction that begins by `begin`, or in none of its effects. */
export function sqliteTransaction<T>(database: SqliteDatabase, begin: string, body: () => T): T {
  database.exec(begin);
  try {
    const result = body();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    try {
      database.exec('ROLLBACK'); // closing waits for statements that are not collected yet, and would hold the lock
    } catch {
      // SQLite has rolled back already
    }
    throw error;
  }
}

/** Loads sqlite-vec. → false if it is not installed */
async function loadVec(database: SqliteDatabase): Promise<boolean> {
  let path: string;
  try {
    path = (await import('sqlite-vec')).getLoadablePath();
  } catch {
    return false; // not installed, or not for this machine: vectors are compared here instead
  }
  database.enableLoadExtension(true);
  database.loadExtension(path);
  database.enableLoadExtension(false);
  return true;
}

/** SQLite's result codes, and what they mean to whom they happen. */
const MEANINGS: Readonly<Record<number, readonly [problem: string, hint: string]>> = {
  5: ['is locked by another process', 'try again when that has ended'],
  8: ['is read-only', 'change the permissions of it and of its folder'],
  10: ['the disk failed to read or write it', 'check the disk (dmesg)'],
  11: ['is damaged', 'restore it, or try: sqlite3 gallery.db .recover'],
  14: ['cannot be opened', 'check that it and its folder may be read and written'],
  23: ['does not permit this', 'change the permissions of it and of its folder'],
  26: ['is no SQLite database', 'check the path'],
};
const FULL = 13;

/** SQLite's own words for these codes, which some drivers give without the code. */
const WORDS: readonly (readonly [RegExp, number])[] = [
  [/database (table )?is locked/, 5],
  [/readonly database/, 8],
  [/disk I\/O error/, 10],
  [/malformed/, 11],
  [/disk is full/, FULL],
  [/unable to open/, 14],
  [/not a database/, 26],
];

/** An error of SQLite about a database as one that says what to do; any other as it is. */
export function asSqliteError(error: unknown, url: string, path: string): unknown {
  if (error instanceof UserError || !(error instanceof Error)) return error;
  const { message } = error;
  const code =
    'errcode' in error
      ? Number(error.errcode) & 0xff // the rest tells more of the same
      : WORDS.find(([words]) => words.test(message))?.[1];
  if (code === undefined) return error;
  if (code === FULL) return new DiskFullError(path, 'ENOSPC', error);
  const [problem, hint] = MEANINGS[code] ?? [message, ''];
  return new FileError(url, problem, hint);
}

/** A name in SQL. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
