import type { Client } from 'pg';
import { codeOf, FileError, messageOf, UserError } from '../base/errors.ts';
import type { StoreUrl } from './store-url.ts';

export type PostgresRow = Readonly<Record<string, unknown>>;

/** Transactions that the server ended because of others are begun again so many times. */
const ATTEMPTS = 5;
/** Seconds that a server may take to answer, unless the URL or the environment says otherwise; 0: any time. */
const CONNECT_SECONDS = 30;
const OTHERS_FAULT = ['40001', '40P01']; // serialisation failure, deadlock

/** A session with a server. Its transactions wait for each other, whoever begins them. */
export class PostgresSession implements AsyncDisposable {
  readonly #client: Client;
  readonly #url: string;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(client: Client, url: string) {
    this.#client = client;
    this.#url = url;
  }

  /** @throws UserError if `pg` is not installed, or no server answers */
  static async open({ location, text }: StoreUrl): Promise<PostgresSession> {
    let client: Client | undefined;
    try {
      const { Client } = await loadPg();
      client = new Client({ connectionString: location, application_name: 'mixbct', ...limitsFor(location) });
      client.on('error', () => {}); // a lost connection: the next query tells
      await client.connect();
      return new PostgresSession(client, text);
    } catch (error) {
      await client?.end().catch(() => {});
      throw asPostgresError(error, text);
    }
  }

  /** Runs `body` in a transaction, or in none of its effects. `look`: what is read was there at one moment. */
  async transaction<T>(kind: 'look' | 'write', body: (query: Query) => Promise<T>): Promise<T> {
    const run = this.#last.then(async () => {
      for (let attempt = 1; ; attempt++)
        try {
          return await this.#attempt(kind, body);
        } catch (error) {
          if (attempt === ATTEMPTS || !OTHERS_FAULT.includes(codeOf(error) ?? ''))
            throw asPostgresError(error, this.#url);
        }
    });
    this.#last = run.catch(() => {});
    return await run;
  }

  async #attempt<T>(kind: 'look' | 'write', body: (query: Query) => Promise<T>): Promise<T> {
    const query: Query = async (sql, ...values) => (await this.#client.query<PostgresRow>(sql, [...values])).rows;
    await query(kind === 'look' ? 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' : 'BEGIN');
    try {
      const result = await body(query);
      await query('COMMIT');
      return result;
    } catch (error) {
      await query('ROLLBACK').catch(() => {}); // the connection is lost: the server rolls back
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last;
    await this.#client.end().catch(() => {});
  }
}

/** A server may vanish without a word: then the system notices that a connection is dead. */
function limitsFor(location: string) {
  const wished = URL.canParse(location) ? new URL(location).searchParams.get('connect_timeout') : null;
  const seconds = Number(wished ?? process.env['PGCONNECT_TIMEOUT'] ?? CONNECT_SECONDS);
  const connectionTimeoutMillis = 1000 * (seconds >= 0 ? seconds : CONNECT_SECONDS);
  return { connectionTimeoutMillis, keepAlive: true, keepAliveInitialDelayMillis: 30_000 };
}

/** Runs one statement with the values of $1, $2, … */
export type Query = (sql: string, ...values: readonly unknown[]) => Promise<PostgresRow[]>;

async function loadPg(): Promise<typeof import('pg')> {
  try {
    return (await import('pg')).default as unknown as typeof import('pg');
  } catch (error) {
    const missing = codeOf(error) === 'ERR_MODULE_NOT_FOUND';
    const how = missing ? 'is not installed' : `does not load (${messageOf(error).split('\n', 1)[0]})`;
    throw new UserError(`a gallery in PostgreSQL needs the package pg, which ${how}`, { hint: 'npm install pg' });
  }
}

const LOST = 'the connection to the server was lost; what was not committed is rolled back';
const AGAIN = 'give the command again when the server runs: it goes on where it stopped';
const RIGHTS =
  "the role must own the table, and mixbct keeps tables of its own in the table's schema: GRANT CREATE ON SCHEMA";

/** Codes of the system, of PostgreSQL (five characters) or their class (two), and what they mean to whom they happen. */
const MEANINGS: Readonly<Record<string, readonly [problem: string | null, hint: string]>> = {
  ECONNREFUSED: ['no server answers there', 'check host and port, and that the server runs'],
  ENOTFOUND: ['there is no such host', 'check the host'],
  EAI_AGAIN: ['the host was not found', 'check the host and the network'],
  ETIMEDOUT: ['no server answers there', 'check host and port'],
  EHOSTUNREACH: ['the host cannot be reached', 'check the host and the network'],
  ENOENT: ['there is no socket of a server', 'check the path, and that the server runs'],
  ECONNRESET: [LOST, AGAIN],
  EPIPE: [LOST, AGAIN],
  ERR_INVALID_URL: ['is no URL of a server', 'such as postgres://user@host:5432/database#faces'],
  '28': [null, 'check user and password: in the URL, in PGPASSWORD or in ~/.pgpass'],
  '3D000': [null, 'check the name of the database in the URL'],
  '42501': [null, RIGHTS],
  '25006': [null, 'this server only reads: name the primary one'],
  '53': [null, 'make room on the server, then give the command again: it goes on where it stopped'],
  '57': [LOST, AGAIN],
  '08': [LOST, AGAIN],
  '55P03': [null, 'another session holds the table: try again when it has ended'],
  '0A000': [null, 'what depends on the column of vectors must be dropped first, and made again afterwards'],
  '22': [null, 'check the ids and vectors of the table'],
};

/** An error of `pg` or the server as one that says what to do; any other as it is. None has a password. */
export function asPostgresError(error: unknown, url: string): unknown {
  if (error instanceof UserError || !(error instanceof Error)) return error;
  const message = error.message.split('\n', 1)[0]!;
  const inner = (error as { readonly errors?: readonly unknown[] }).errors?.[0];
  const code = codeOf(error) ?? codeOf(inner) ?? (message === 'timeout expired' ? 'ETIMEDOUT' : '');
  if (/^SASL|password must be a string/.test(message))
    return new FileError(url, 'the server wants a password', MEANINGS['28']![1]);
  if (
    /^Connection terminated|^Client has encountered a connection error|is not queryable|^read ETIMEDOUT/.test(message)
  )
    return new FileError(url, LOST, AGAIN);
  const meaning = MEANINGS[code] ?? (/^[0-9A-Z]{5}$/.test(code) ? MEANINGS[code.slice(0, 2)] : undefined);
  return meaning ? new FileError(url, meaning[0] ?? message, meaning[1]) : error;
}

/** A name in SQL. */
export const quotedName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
