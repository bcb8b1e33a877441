import { holderState, type LockHolder, thisProcess } from '../artifacts/output-lock.ts';
import { UserError } from '../base/errors.ts';
import { PostgresSession, type Query } from './postgres-driver.ts';
import type { PostgresGallery } from './postgres-gallery.ts';
import type { StoreUrl } from './store-url.ts';

/**
 * The right to run the migration of a gallery: a lock of a session, which ends with its process, and the name of the holder in the
 * gallery's row. Where several processes share a session, as behind a pooler, they have such locks together, and the name counts.
 * @throws UserError that names the holder
 */
export async function claimGallery(url: StoreUrl, { name, sql }: PostgresGallery): Promise<AsyncDisposable> {
  const session = await PostgresSession.open(url);
  const text = JSON.stringify(thisProcess());
  const key = `${sql.galleries} ${name}`;
  const unlock = (query: Query) => query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', key);
  try {
    await session.transaction('write', async (query) => {
      const [row] = await query(`SELECT claim FROM ${sql.galleries} WHERE gallery = $1 FOR UPDATE`, name);
      const holder = row?.['claim'] ? (JSON.parse(String(row['claim'])) as LockHolder) : null;
      const [lock] = await query('SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS free', key);
      const free = lock!['free'] === true;
      if (!free || (holder !== null && holderState(holder) === 'alive')) {
        if (free) await unlock(query);
        throw refusal(url, holder);
      }
      await query(`UPDATE ${sql.galleries} SET claim = $2 WHERE gallery = $1`, name, text);
    });
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
  const release = async (): Promise<void> => {
    try {
      await session.transaction('write', async (query) => {
        await query(`UPDATE ${sql.galleries} SET claim = NULL WHERE gallery = $1 AND claim = $2`, name, text);
        await unlock(query);
      });
    } finally {
      await session[Symbol.asyncDispose]();
    }
  };
  return { [Symbol.asyncDispose]: release };
}

function refusal({ text }: StoreUrl, holder: LockHolder | null): UserError {
  const who = holder
    ? `process ${holder.pid} on ${holder.host} since ${holder.since} (${holder.command})`
    : 'another process';
  return new UserError(`${text}: ${who} runs its migration`, {
    hint: `wait until it has ended, or ask it to stop with: mixbct migrate pause '${text}'`,
  });
}
