import { UserError } from '../base/errors.ts';
import { type NewGallery, type NewTable, TableExistsError } from './new-gallery.ts';
import { PostgresSession, quotedName } from './postgres-driver.ts';
import { vectorText } from './postgres-vectors.ts';

/** Creates a table in one transaction, and pgvector in the database if it can. @throws UserError if there is such a table */
export async function createPostgresGallery(table: NewTable, { dim, images, blocks }: NewGallery): Promise<void> {
  await using session = await PostgresSession.open(table.url);
  const name = table.table.split('.').map(quotedName).join('.');
  const [id, vector] = [quotedName(table.id), quotedName(table.vector)];
  await session.transaction('write', async (query) => {
    const [found] = await query('SELECT to_regclass($1) IS NOT NULL AS has', name);
    if (found!['has'] === true) throw new TableExistsError(table);
    const [there] = await query("SELECT count(*)::int AS n FROM pg_available_extensions WHERE name = 'vector'");
    if (there!['n'] === 0) throw new UserError(`${table.url.text}: this server has no pgvector`, { hint: 'install the extension on the server' }); // biome-ignore format: short
    await query('CREATE EXTENSION IF NOT EXISTS vector');
    await query(`CREATE TABLE ${name} (${id} text PRIMARY KEY, ${vector} vector(${dim}), label int${images ? ', image bytea' : ''})`); // biome-ignore format: short
    for (const rows of blocks())
      await query(
        `INSERT INTO ${name} SELECT * FROM unnest($1::text[], $2::vector[], $3::int[]${images ? ', $4::bytea[]' : ''})`,
        rows.map((row) => row.id),
        rows.map((row) => vectorText(row.vector)),
        rows.map(({ label }) => label),
        ...(images ? [rows.map(({ image }) => image && Buffer.from(image))] : []),
      );
  });
}
