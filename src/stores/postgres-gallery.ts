import { digestOf } from '../artifacts/digest.ts';
import { UserError } from '../base/errors.ts';
import { type Query, quotedName } from './postgres-driver.ts';
import { galleryColumns, type StoreUrl } from './store-url.ts';

/** A table with a gallery, and the names of what is made for it in its schema. */
export type PostgresGallery = {
  /** What tells it from others in the schema. */
  readonly name: string;
  readonly oid: string;
  readonly table: string;
  readonly id: string;
  readonly vector: string;
  readonly columns: readonly string[];
  /** As SQL has them, with schema and quotes. */
  readonly sql: {
    readonly table: string;
    readonly id: string;
    readonly vector: string;
    /** Type of the ids. */
    readonly idType: string;
    /** The second vector of each row. */
    readonly beside: string;
    /** The triggers, and their function. */
    readonly triggers: Readonly<Record<'changed' | 'deleted' | 'truncated', string>>;
    readonly unmove: string;
    readonly galleries: string;
    readonly journal: string;
  };
};

/** Names in PostgreSQL have at most 63 bytes; longer ones would be cut. */
const LONGEST_NAME = 63;

const ownName = (what: string, name: string): string => {
  const whole = `mixbct_${what}_${name}`;
  return Buffer.byteLength(whole) <= LONGEST_NAME ? whole : `mixbct_${what}_${digestOf(name)}`;
};

/** Finds the table and the columns of a gallery. @throws UserError if pgvector or one of them is missing, or ids are not unique. */
export async function findPostgresGallery(query: Query, url: StoreUrl): Promise<PostgresGallery> {
  if ((await query("SELECT 1 FROM pg_extension WHERE extname = 'vector'")).length === 0)
    throw new UserError(`${url.text}: pgvector is not installed in this database`, { hint: 'as its owner: CREATE EXTENSION vector' }); // biome-ignore format: short
  const { schema, table, oid } = await findTable(query, url);
  const attributes = await query(
    `SELECT attname AS name, attnum AS position, attnotnull AS filled, format_type(atttypid, -1) AS type FROM pg_attribute
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    oid,
  );
  const columns = attributes.map(({ name }) => String(name));
  const { id, vector } = galleryColumns(url, columns);
  const at = (name: string) => attributes.find((one) => one['name'] === name)!;
  const type = String(at(vector)['type']).replace(/^.*\./, '');
  if (type !== 'vector')
    throw new UserError(`${url.text}: the column ${vector} is of type ${type}, wanted vector`, { hint: 'ALTER TABLE … ALTER COLUMN … TYPE vector(D), or name another column in the URL: ?vector=…' }); // biome-ignore format: short
  const unique = await query(
    `SELECT 1 FROM pg_index WHERE indrelid = $1 AND indisunique AND indisvalid AND indpred IS NULL
    AND indnkeyatts = 1 AND indkey[0] = $2`,
    oid,
    at(id)['position'],
  );
  if (unique.length === 0)
    throw new UserError(`${url.text}: the column ${id} is not declared unique, so a row cannot be told from another`, { hint: `CREATE UNIQUE INDEX ON ${table} (${id}), or name another column in the URL: ?id=…` }); // biome-ignore format: short
  const name = `${table}.${vector}`;
  const within = (own: string): string => `${quotedName(schema)}.${quotedName(own)}`;
  const empty = at(id)['filled'] === true ? [] : await query(`SELECT 1 FROM ${within(table)} WHERE ${quotedName(id)} IS NULL LIMIT 1`); // biome-ignore format: short
  if (empty.length > 0)
    throw new UserError(`${url.text}: the column ${id} holds NULL, so a row cannot be told from another`, { hint: 'give each row an id, or name another column in the URL: ?id=…' }); // biome-ignore format: short
  const trigger = (event: string): string => quotedName(ownName(event, name));
  const sql = {
    ...{ table: within(table), id: quotedName(id), vector: quotedName(vector), idType: String(at(id)['type']) },
    ...{ beside: within(ownName('beside', name)), unmove: within(ownName('unmove', name)) },
    triggers: { changed: trigger('changed'), deleted: trigger('deleted'), truncated: trigger('truncated') },
    ...{ galleries: within('mixbct_galleries'), journal: within('mixbct_journal') },
  };
  return { name, oid, table, id, vector, columns, sql };
}

/** @throws UserError that lists the tables with vectors, if the URL names none of the database's tables. */
async function findTable(query: Query, { table, text }: StoreUrl) {
  const tables = await query(
    `SELECT DISTINCT n.nspname AS schema, c.relname AS table, c.oid::text AS oid FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relkind IN ('r', 'p') AND t.typname = 'vector' AND c.relname NOT LIKE 'mixbct\\_%' ORDER BY 1, 2`,
  );
  if (table === undefined && tables.length === 1) return tables[0] as FoundTable;
  const known = tables.map((one) => `${String(one['schema'])}.${String(one['table'])}`);
  const list = `tables with vectors: ${known.slice(0, 20).join(', ') || 'none'}`;
  if (table === undefined) throw new UserError(`${text}: the URL names no table; ${list}`, { hint: 'postgres://…/database#TABLE' }); // biome-ignore format: short
  const [found] = await query(
    `SELECT n.nspname AS schema, c.relname AS table, c.oid::text AS oid, c.relkind AS kind FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = coalesce(to_regclass($1), to_regclass($2))`,
    quotedName(table),
    table.split('.').map(quotedName).join('.'),
  );
  if (!found) throw new UserError(`${text}: there is no table ${table}; ${list}`);
  if (!['r', 'p'].includes(String(found['kind'])))
    throw new UserError(`${text}: ${table} is no table that rows can be written to; ${list}`);
  return found as FoundTable;
}
type FoundTable = { readonly schema: string; readonly table: string; readonly oid: string };
