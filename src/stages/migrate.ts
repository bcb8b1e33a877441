import { randomUUID } from 'node:crypto';
import { UserError } from '../base/errors.ts';
import { formatCount, formatDuration } from '../base/progress.ts';
import { Rng } from '../base/rng.ts';
import type { GalleryCounts, GalleryStore, JournalEntry } from '../stores/gallery-store.ts';
import type { MigrationRecord } from '../stores/migration-record.ts';
import { openStore } from '../stores/open-store.ts';
import { requireColumns, requireMigration, requireNoMigration, requireStamp } from '../stores/requirements.ts';
import { type MigrationRun, type RunMigrationOptions, runMigration } from '../stores/run-migration.ts';
import type { Stamp } from '../stores/stamp.ts';
import { stampText } from '../stores/stamp-text.ts';
import { type MigrationCheck, verifyMigration } from '../stores/verify-migration.ts';
import { type OrderFile, openOrder, orderOfMigration } from './migration-order.ts';
import { isSameSource, type MigrationSourceOptions, type OpenedSource, openSource, reopenSource, sourceText } from './migration-sources.ts'; // biome-ignore format: short

/** Opens the gallery at a URL for one step. */
async function withStore<T>(url: string, step: (store: GalleryStore) => Promise<T>): Promise<T> {
  await using store = await openStore(url);
  return await step(store);
}

export type MigrateOptions = MigrationSourceOptions &
  Pick<RunMigrationOptions, 'batchSize' | 'rate' | 'limit' | 'signal'> & {
    readonly url: string;
    /** A file of ids, or `FOLDER:NAME`: an order of a simulation. */
    readonly order?: string | undefined;
  };

const hasSource = ({ features, adapter, model }: MigrationSourceOptions): boolean =>
  features !== undefined || adapter !== undefined || model !== undefined;

export type MigrationPlan = {
  readonly url: string;
  readonly from: Stamp;
  readonly to: Stamp;
  readonly rows: number;
  /** Rows of a sample, and how many of them have a new vector. */
  readonly sampled: number;
  readonly available: number;
  /** Of the new vectors. */
  readonly bytes: number;
  /** What the sample took, with the limit that was asked for. */
  readonly rowsPerSecond: number;
  readonly seconds: number;
};

/** @throws UserError if a gallery has not the columns that a source reads. */
const requireFields = async (store: GalleryStore, { fields }: OpenedSource): Promise<void> =>
  requireColumns(store.url, (await store.describe()).columns, fields);

/** Rows of which a plan makes the new vectors, to tell how long all take. */
const PLAN_SAMPLE = 512;

/** Says what a migration would do, and how long it takes by a sample of its first rows. Nothing is written. */
export const planMigration = ({
  url,
  batchSize,
  rate = Number.POSITIVE_INFINITY,
  order,
  ...options
}: MigrateOptions): Promise<MigrationPlan> =>
  // biome-ignore format: short
  withStore(url, async (store) => {
    const state = requireStamp(store.url, await store.state());
    requireNoMigration(store.url, state);
    using source = await openSource(options, { url: store.url, stamp: state.stamp });
    await requireFields(store, source);
    openOrder(order, { from: state.stamp, to: source.target });
    const { rows } = await store.counts();
    const sample = await store.page(null, Math.min(PLAN_SAMPLE, batchSize ?? PLAN_SAMPLE), { fields: source.fields });
    const begun = performance.now();
    const vectors = await source.vectors(sample);
    const measured = (1000 * sample.length) / Math.max(performance.now() - begun, 1);
    const rowsPerSecond = Math.min(measured, rate);
    return {
      ...{ url: store.url, from: state.stamp, to: source.target, rows, sampled: sample.length },
      available: vectors.filter((vector) => typeof vector !== 'string').length,
      ...{ bytes: 4 * rows * source.target.dim, rowsPerSecond, seconds: rows / Math.max(rowsPerSecond, 1e-9) },
    };
  });

/** Rows that a message names. */
const NAMED = 3;

/**
 * Moves a gallery to the new model, or goes on with the migration that has begun there: then the options name its source again, or
 * none. The old vectors stay beside the new ones until `finishMigration`.
 * @throws UserError if the gallery is in another migration, or rows have no new vector; Interrupted if `signal` fires.
 */
export const migrate = (options: MigrateOptions & { readonly resume?: boolean }): Promise<MigrationRun> =>
  withStore(options.url, async (store) => {
    await using _ = await store.claim();
    const { stamp, migration } = requireStamp(store.url, await store.state());
    using source = migration
      ? await sourceOf(options, migration, { url: store.url, stamp })
      : await openSource(options, { url: store.url, stamp });
    await requireFields(store, source);
    const models = { from: stamp, to: source.target };
    const order = migration
      ? orderOfMigration(options.order, migration.order, { ...models, url: store.url })
      : openOrder(options.order, models);
    if (migration?.phase === 'cut-over') requireMigration(store.url, { stamp, migration }, 'moving');
    if (!migration) await store.beginMigration(recordOf(stamp, source, order));
    if (migration?.paused) {
      if (!options.resume)
        throw new UserError(`${store.url}: its migration is paused`, { hint: `mixbct migrate resume '${store.url}'` });
      await store.setPaused(false);
    }
    const run = await runMigration(store, source, { ...options, order: order?.keys ?? [] });
    if (run.failed.length > 0)
      throw new UserError(`${store.url}: ${formatCount(run.failed.length, 'row has', 'rows have')} no new vector, the others are moved:${run.failed.slice(0, NAMED).map(({ key, problem }) => `\n  ${key}: ${problem}`).join('')}${run.failed.length > NAMED ? '\n  …' : ''}`, { hint: 'mend what is named or delete these rows, then give the command again' }); // biome-ignore format: short
    return run;
  });

/** The source of a migration that has begun. @throws UserError if the options name another one */
async function sourceOf(
  options: MigrateOptions,
  { source: began, target }: MigrationRecord,
  gallery: { readonly url: string; readonly stamp: Stamp },
): Promise<OpenedSource> {
  if (!hasSource(options)) return await reopenSource(began, target, gallery);
  const folder = options.folder ?? (began.kind === 'images' ? began.folder : null) ?? undefined;
  const source = await openSource({ ...options, folder }, gallery);
  // what an earlier version recorded without --folder tells no folder
  const record = source.record.kind === 'images' && folder === undefined ? { ...source.record, folder: null } : source.record; // biome-ignore format: short
  if (isSameSource({ record, target: source.target }, { source: began, target })) return source;
  source[Symbol.dispose]();
  const [wanted, given] = [sourceText(began, target), sourceText(record, source.target)];
  if (wanted === given) return await reopenSource(began, target, gallery); // it is not what it was
  throw new UserError(`${gallery.url}: its migration takes new vectors from ${wanted}, not from ${given}`, {
    // biome-ignore format: short
    hint: `go on with that: mixbct migrate resume '${gallery.url}', or end it: mixbct migrate rollback '${gallery.url}'`,
  });
}

const recordOf = (from: Stamp, { target, record }: OpenedSource, order: OrderFile | null): MigrationRecord => ({
  ...{ id: randomUUID(), from, target, source: record, phase: 'moving', paused: false },
  order: order && { path: order.path, digest: order.digest },
  startedAt: new Date().toISOString(),
});

export type MigrationStatus = GalleryCounts & {
  readonly url: string;
  readonly stamp: Stamp | null;
  readonly migration: MigrationRecord | null;
  readonly batches: number;
  /** Rows a second of the latest batches, and how long the rest takes at this rate; null: not known. */
  readonly rowsPerSecond: number | null;
  readonly secondsLeft: number | null;
};

/** Batches that the rate is taken of. */
const LATEST = 20;

export const migrationStatus = (url: string): Promise<MigrationStatus> =>
  withStore(url, async (store) => {
    const [state, counts, journal] = [await store.state(), await store.counts(), await store.journal()];
    const rowsPerSecond = rateOf(journal.slice(-LATEST));
    const left = state.migration?.phase === 'moving' ? counts.rows - counts.moved : 0;
    return {
      ...{ url: store.url, ...state, ...counts, batches: journal.length, rowsPerSecond },
      secondsLeft: rowsPerSecond === null || !state.migration ? null : left / rowsPerSecond,
    };
  });

/** A status for a person. */
export function statusText({
  url,
  stamp,
  migration,
  rows,
  moved,
  rowsPerSecond,
  secondsLeft,
}: MigrationStatus): string {
  const lines = [`${url}: ${formatCount(rows, 'row')}`, `vectors of ${stamp ? stampText(stamp) : 'a model that is not known'}`]; // biome-ignore format: short
  if (!migration) return [...lines, 'no migration'].join('\n  ');
  const { phase, paused, target, from } = migration;
  if (phase === 'cut-over') return [...lines, `cut over from ${stampText(from)}, whose vectors are kept`].join('\n  ');
  const speed = rowsPerSecond === null || secondsLeft === null ? '' : `, ${rowsPerSecond.toFixed(1)} rows/s, ${formatDuration(1000 * secondsLeft)} left`; // biome-ignore format: short
  return [...lines, `${moved} of ${rows} moved to ${stampText(target)}${paused ? ', paused' : speed}`].join('\n  ');
}

/** Rows a second from the first of some batches to the last, pauses between them included. */
function rateOf(entries: readonly JournalEntry[]): number | null {
  if (entries.length < 2) return null;
  const ms = Date.parse(entries.at(-1)!.at) - Date.parse(entries[0]!.at);
  const rows = entries.slice(1).reduce((sum, entry) => sum + entry.rows, 0);
  return ms > 0 && rows > 0 ? (1000 * rows) / ms : null;
}

/** Asks the process that runs a migration to stop after its batch. */
export const pauseMigration = (url: string): Promise<void> => withStore(url, (store) => store.setPaused(true));

/** Counts what is wrong with the new vectors; `sample` of them are made again. */
export const verifyGallery = (url: string, { sample = 0, seed = 0 } = {}): Promise<MigrationCheck> =>
  withStore(url, async (store) => {
    const state = await store.state();
    const { source, from, target } = requireMigration(store.url, state);
    const rng = new Rng(seed).split('verify');
    if (sample === 0) return await verifyMigration(store, null, { sample, rng });
    using opened = await reopenSource(source, target, { url: store.url, stamp: from });
    return await verifyMigration(store, opened, { sample, rng });
  });

/**
 * Makes the new vectors those that the application reads.
 * @throws UserError if rows have no new vector or a wrong one; then nothing is changed
 */
export const cutOver = (url: string): Promise<void> =>
  withStore(url, async (store) => {
    await using _ = await store.claim();
    // a cut-over that was killed is the store's to settle
    if (requireMigration(store.url, await store.state()).phase === 'cut-over') return await store.cutOver();
    const { ok, unmoved, ...check } = await verifyMigration(store, null, { sample: 0, rng: new Rng(0) });
    if (!ok && unmoved === 0)
      throw new UserError(`${store.url}: some new vectors are wrong: ${checkText({ ...check, ok, unmoved })}`, { hint: `mixbct migrate rollback '${store.url}'` }); // biome-ignore format: short
    await store.cutOver();
  });

/** What is wrong by a check, in words; nothing if all is right. */
export function checkText(check: MigrationCheck): string {
  const { unmoved, twice, wrongDimension, wrongNumbers, wrongLength, otherwise } = check;
  const found = [
    [unmoved, 'without new vector'],
    [twice, 'twice'],
    [wrongDimension, 'of another dimension'],
    [wrongNumbers, 'zeros or not finite'],
    [wrongLength, 'of another length'],
    [otherwise, 'that come out otherwise'],
  ] as const;
  return found.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : [])).join(', ');
}

/** Gives back the very bytes that were there before the migration, and ends it. @throws UserError as `GalleryStore.rollback` */
export const rollBack = (url: string): Promise<void> =>
  withStore(url, async (store) => {
    await using _ = await store.claim();
    await store.rollback();
  });

/** Drops the old vectors after the cut-over. */
export const finishMigration = (url: string): Promise<void> =>
  withStore(url, async (store) => {
    await using _ = await store.claim();
    await store.finish();
  });
