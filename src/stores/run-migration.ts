import { setImmediate, setTimeout } from 'node:timers/promises';
import { Interrupted, UserError } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import type { GalleryRow, GalleryStore, MovedRow } from './gallery-store.ts';
import type { MigrationRecord } from './migration-record.ts';
import { requireMigration } from './requirements.ts';
import type { Stamp } from './stamp.ts';

/** Makes the new vectors of rows. */
export interface VectorSource {
  /** What the vectors are of. */
  readonly target: Stamp;
  /** Columns of the gallery that it reads. */
  readonly fields: readonly string[];
  /** The new vector of each row, as the model makes it, or why there is none. */
  vectors(rows: readonly GalleryRow[]): Promise<readonly (Float32Array | string)[]>;
}

/** A row that has no new vector, and why. */
export type FailedRow = { readonly key: string; readonly problem: string };

export type RunMigrationOptions = {
  /** Keys in the order to move; rows that it does not name follow. */
  readonly order?: Iterable<string>;
  readonly batchSize?: number;
  /** Rows that this process moves at most, in whole batches. */
  readonly limit?: number | undefined;
  /** Rows a second, at most. */
  readonly rate?: number;
  /** When it fires, the migration stops after its batch. */
  readonly signal?: AbortSignal;
};

export type MigrationRun = {
  /** `paused`: another process asked for it. */
  readonly ended: 'moved' | 'paused' | 'limit';
  /** Rows that this process moved. */
  readonly moved: number;
  readonly failed: readonly FailedRow[];
};

/** Milliseconds between two looks for a pause while the rate limit is waited for. */
const LOOK_MS = 500;

/**
 * Moves the rows of a gallery that are not moved, a batch at a time, until there are none: rows that are written meanwhile, too. The
 * caller has begun the migration and claimed it. What ended at any moment goes on by calling it again.
 * @throws Interrupted if `signal` fires; UserError if the migration was ended or cut over meanwhile.
 */
export async function runMigration(
  store: GalleryStore,
  source: VectorSource,
  {
    order = [],
    batchSize = 256,
    rate = Number.POSITIVE_INFINITY,
    limit = Number.POSITIVE_INFINITY,
    signal,
  }: RunMigrationOptions = {},
): Promise<MigrationRun> {
  const { id } = requireMigration(store.url, await store.state(), 'moving');
  let batch = (await store.journal()).at(-1)?.batch ?? 0;
  const counts = await store.counts();
  const bar = progress('migrate', counts.rows);
  const failed = new Map<string, string>();
  const started = performance.now();
  let moved = 0;
  /** Waits until the rate allows the next batch. → whether a pause was asked for */
  const isPaused = async (): Promise<boolean> => {
    for (;;) {
      await setImmediate(); // a store in this process would let no signal through
      const wait = started + (1000 * moved) / rate - performance.now();
      if (signal?.aborted) throw new Interrupted(`stopped with ${counts.moved + moved} rows moved`);
      if (requireSame(store.url, id, requireMigration(store.url, await store.state(), 'moving')).paused) return true;
      if (!(wait > 0)) return false;
      await setTimeout(Math.min(wait, LOOK_MS));
    }
  };
  try {
    for await (const rows of batches(store, source.fields, order, batchSize, failed, () => moved)) {
      if (moved >= limit) return { ended: 'limit', moved, failed: listOf(failed) };
      if (await isPaused()) return { ended: 'paused', moved, failed: listOf(failed) };
      const begun = performance.now();
      const taken = await vectorsOf(source, rows, failed);
      if (taken.length === 0) continue;
      const entry = { batch: ++batch, at: new Date().toISOString(), ms: performance.now() - begun };
      moved += await store.commit({ rows: taken, entry });
      const perSecond = (1000 * moved) / (performance.now() - started);
      bar.update(Math.min(counts.moved + moved, counts.rows), `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} rows/s`);
    }
  } finally {
    bar.stop();
  }
  return { ended: 'moved', moved, failed: listOf(failed) };
}

const listOf = (failed: ReadonlyMap<string, string>): FailedRow[] =>
  Array.from(failed, ([key, problem]) => ({ key, problem }));

/** @throws UserError if another migration was begun meanwhile. */
function requireSame(url: string, id: string, migration: MigrationRecord): MigrationRecord {
  if (migration.id === id) return migration;
  throw new UserError(`${url}: another migration was begun there while this one ran`);
}

/** Passes over the gallery that find rows of which none is moved, until these count as failed: the application may be changing them. */
const VAIN_PASSES = 3;
const NOT_TAKEN = 'is not taken: its id is not unique, or it is changed all the time';

/**
 * Rows that are not moved, those in `order` first, then pages over the gallery until a pass finds only rows that failed. Those that no
 * pass gets moved are added to `failed`. `countMoved`: the rows that the caller has moved.
 */
async function* batches(
  store: GalleryStore,
  fields: readonly string[],
  order: Iterable<string>,
  size: number,
  failed: Map<string, string>,
  countMoved: () => number,
): AsyncGenerator<readonly GalleryRow[]> {
  const isOpen = ({ key, moved }: GalleryRow): boolean => !moved && !failed.has(key);
  let keys: string[] = [];
  for (const key of order) {
    if (keys.push(key) < size) continue;
    yield (await store.rows(keys, fields)).filter(isOpen);
    keys = [];
  }
  yield (await store.rows(keys, fields)).filter(isOpen);
  for (let [found, vain] = [true, 0]; found; ) {
    found = false;
    const before = countMoved();
    let after: string | null = null;
    for (;;) {
      const page: readonly GalleryRow[] = await store.page(after, size, { fields, only: 'unmoved' });
      if (page.length === 0) break;
      after = page.at(-1)!.key;
      const open = page.filter(isOpen);
      if (open.length > 0) found = true;
      yield open;
      if (vain === VAIN_PASSES - 1 && countMoved() === before) for (const { key } of open.filter(isOpen)) failed.set(key, NOT_TAKEN); // biome-ignore format: short
    }
    vain = countMoved() === before ? vain + 1 : 0;
  }
}

/** The new vectors of rows, of length 1 if those of the gallery are; rows without one are added to `failed`. */
async function vectorsOf(
  source: VectorSource,
  rows: readonly GalleryRow[],
  failed: Map<string, string>,
): Promise<MovedRow[]> {
  if (rows.length === 0) return [];
  const taken: MovedRow[] = [];
  for (const [i, vector] of (await source.vectors(rows)).entries()) {
    const { key, version } = rows[i]!;
    const problem = typeof vector === 'string' ? vector : problemOf(vector);
    if (problem !== null) failed.set(key, problem);
    else taken.push({ key, version, vector: lengthened(vector as Float32Array, source.target) });
  }
  return taken;
}

function problemOf(vector: Float32Array): string | null {
  const length = Math.hypot(...vector);
  return Number.isFinite(length) ? (length > 0 ? null : 'its new vector is zeros') : 'its new vector is not finite';
}

/** A vector in the length that its gallery has. */
export function lengthened(vector: Float32Array, { normalised }: Stamp): Float32Array {
  if (!normalised) return vector;
  const length = Math.hypot(...vector);
  return vector.map((x) => x / length);
}
