import { UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import type { GalleryState } from './gallery-store.ts';
import type { MigrationRecord } from './migration-record.ts';
import type { Stamp } from './stamp.ts';
import { stampText } from './stamp-text.ts';

// What every store asks for in the same words.

/** @throws UserError if nothing says what the vectors of a gallery are of. */
export function requireStamp<S extends GalleryState>(url: string, state: S): S & { readonly stamp: Stamp } {
  const { stamp } = state;
  if (stamp) return { ...state, stamp };
  throw new UserError(`${url}: nothing says which model its vectors are of`, {
    hint: `say it once with: mixbct store stamp '${url}' --model RUN`,
  });
}

/** @throws UserError if there is a migration. */
export function requireNoMigration(url: string, { migration }: GalleryState): void {
  if (!migration) return;
  throw new UserError(`${url}: is in a migration to ${stampText(migration.target)}`, {
    hint: `end it with: mixbct migrate finish '${url}', or mixbct migrate rollback '${url}'`,
  });
}

/** The migration of a gallery. @throws UserError if there is none, or it is in another phase */
export function requireMigration(
  url: string,
  { migration }: GalleryState,
  phase?: MigrationRecord['phase'],
): MigrationRecord {
  if (!migration)
    throw new UserError(`${url}: no migration has begun there`, {
      hint: `begin one with: mixbct migrate run '${url}'`,
    });
  if (phase === undefined || migration.phase === phase) return migration;
  throw phase === 'moving'
    ? new UserError(`${url}: the cut-over has been`, { hint: `mixbct migrate finish '${url}', or mixbct migrate rollback '${url}'` }) // biome-ignore format: short
    : new UserError(`${url}: the cut-over has not been`, { hint: `mixbct migrate cut-over '${url}'` });
}

/** What a cut-over says if there are rows without new vector. */
export const unmovedError = (url: string, rows: number): UserError =>
  new UserError(`${url}: ${formatCount(rows, 'row has', 'rows have')} no new vector`, {
    hint: `move them with: mixbct migrate run '${url}'`,
  });

/** As `unmovedError`, if the rows came during a cut-over that was killed and is taken back. `former`: what the vectors are of again */
export const takenBackError = (url: string, rows: number, former: Stamp): UserError =>
  new UserError(
    `${url}: the cut-over was killed and is taken back: its vectors are of ${stampText(former)} again, and ${formatCount(rows, 'row has', 'rows have')} no new vector`,
    { hint: `move them with: mixbct migrate run '${url}'` },
  );

/** What a rollback after the cut-over says if there are rows that only the new model has embedded. */
export const newerRowsError = (url: string, rows: number): UserError =>
  new UserError(
    `${url}: ${formatCount(rows, 'row was', 'rows were')} written since the cut-over and ${rows === 1 ? 'has' : 'have'} no old vector`,
    { hint: 'delete them, roll back, and insert them again with vectors of the old model' },
  );

/** Keys that a message names. */
const NAMED = 3;

/**
 * What is said of a swap that can be neither kept nor taken back. `stamp`: of the vectors that it gave; `settling`: whether its process
 * was killed
 */
export function overtakenSwapError(
  url: string,
  { late, since, stamp, settling }: { late: readonly string[]; since: number; stamp: Stamp; settling: boolean },
): UserError {
  const keys = `${late.slice(0, NAMED).join(', ')}${late.length > NAMED ? ', …' : ''}`;
  return new UserError(
    `${url}: the exchange of the vectors was ${settling ? 'killed' : 'overtaken'}, ${formatCount(late.length, 'row that was', 'rows that were')} written during it ${late.length === 1 ? 'has' : 'have'} no vector of ${stampText(stamp)} (${keys}), and it cannot be taken back, because ${formatCount(since, 'row was', 'rows were')} written since`,
    { hint: 'write vectors of that model into these rows, then give the command again' },
  );
}

/** @throws UserError if a query has not as many dimensions as the vectors that it is compared with. */
export function requireQueryDimension(url: string, stamp: Stamp, query: Float32Array): void {
  if (query.length !== stamp.dim)
    throw new UserError(`${url}: a query of ${query.length} dimensions for the vectors of ${stampText(stamp)}`);
}

/** @throws UserError naming a column that a gallery has not. */
export function requireColumns(url: string, columns: readonly string[], wanted: readonly string[]): void {
  const missing = wanted.find((name) => !columns.includes(name));
  if (missing !== undefined)
    throw new UserError(`${url}: has no column ${missing}; its columns: ${columns.slice(0, 20).join(', ')}`);
}
