import { progress } from '../base/progress.ts';
import type { Rng } from '../base/rng.ts';
import type { GalleryRow, GalleryStore } from './gallery-store.ts';
import type { MigrationRecord } from './migration-record.ts';
import { requireMigration } from './requirements.ts';
import { lengthened, type VectorSource } from './run-migration.ts';

/** What `verifyMigration` counted. */
export type MigrationCheck = {
  readonly rows: number;
  /** Rows without a new vector. */
  readonly unmoved: number;
  /** Rows that were met twice. */
  readonly twice: number;
  /** Rows whose new vector has another dimension, is not finite or zeros, or is not as long as the gallery's. */
  readonly wrongDimension: number;
  readonly wrongNumbers: number;
  readonly wrongLength: number;
  /** Rows whose new vectors were made again, and how many of them came out otherwise. */
  readonly sampled: number;
  readonly otherwise: number;
  /** Smallest cosine of a vector that was made again with the one that is there; 1 without a sample. */
  readonly smallestCosine: number;
  readonly ok: boolean;
};

/** Rows read at a time. */
const PAGE = 1024;
/** Single precision, of vectors of any dimension that we have seen. */
const LENGTH_TOLERANCE = 1e-3;
/** Models embed an image a little differently in another batch, or with other threads. */
const LEAST_COSINE = 0.9999;

/**
 * Counts what is wrong with the new vectors of a gallery. Memory holds `sample` rows, whose vectors are made again by the source.
 * @throws UserError if there is no migration
 */
export async function verifyMigration(
  store: GalleryStore,
  source: VectorSource | null,
  { sample, rng }: { readonly sample: number; readonly rng: Rng },
): Promise<MigrationCheck> {
  const migration = requireMigration(store.url, await store.state());
  const { target } = migration;
  const chosen: GalleryRow[] = [];
  let [rows, moved, twice, unmoved, wrongDimension, wrongNumbers, wrongLength] = [0, 0, 0, 0, 0, 0, 0];
  let previous: string | null = null;
  const bar = progress('verify', (await store.counts()).rows);
  try {
    for (let after: string | null = null; ; ) {
      const page: readonly GalleryRow[] = await store.page(after, PAGE, { fields: source?.fields ?? [] });
      if (page.length === 0) break;
      after = page.at(-1)!.key;
      for (const row of page.map((one) => beforeCutOver(one, migration))) {
        rows++;
        if (row.key === previous) twice++; // in the order of keys they are neighbours
        previous = row.key;
        const { beside } = row;
        if (!beside) {
          unmoved++;
          continue;
        }
        const length = Math.hypot(...beside);
        if (beside.length !== target.dim) wrongDimension++;
        else if (!(Number.isFinite(length) && length > 0)) wrongNumbers++;
        else if (target.normalised && Math.abs(length - 1) > LENGTH_TOLERANCE) wrongLength++;
        if (!source || !row.moved) continue; // the application wrote it since the cut-over
        moved++;
        // each moved row is as likely to be among those chosen
        if (chosen.length < sample) chosen.push(row);
        else {
          const place = rng.integer(moved);
          if (place < sample) chosen[place] = row;
        }
      }
      bar.update(rows);
    }
  } finally {
    bar.stop();
  }
  const { otherwise, smallestCosine } = source ? await compared(source, chosen) : { otherwise: 0, smallestCosine: 1 };
  const wrong = { unmoved, twice, wrongDimension, wrongNumbers, wrongLength, otherwise };
  const ok = Object.values(wrong).every((count) => count === 0);
  return { rows, ...wrong, sampled: chosen.length, smallestCosine, ok };
}

/** A row as it is before the cut-over: the old vector in the application's column, the new one beside. */
const beforeCutOver = (row: GalleryRow, { phase }: MigrationRecord): GalleryRow =>
  phase === 'moving' ? row : { ...row, vector: row.beside, beside: row.vector };

/** Makes the vectors of rows again. */
async function compared(
  source: VectorSource,
  rows: readonly GalleryRow[],
): Promise<Pick<MigrationCheck, 'otherwise' | 'smallestCosine'>> {
  let [otherwise, smallestCosine] = [0, 1];
  for (let from = 0; from < rows.length; from += PAGE) {
    const part = rows.slice(from, from + PAGE);
    for (const [i, vector] of (await source.vectors(part)).entries()) {
      const there = part[i]!.beside!;
      const cosine = typeof vector === 'string' || vector.length !== there.length ? -1 : cosineOf(lengthened(vector, source.target), there); // biome-ignore format: short
      if (!(cosine >= LEAST_COSINE)) otherwise++;
      smallestCosine = Math.min(smallestCosine, cosine);
    }
  }
  return { otherwise, smallestCosine };
}

function cosineOf(a: Float32Array, b: Float32Array): number {
  const dot = a.reduce((sum, x, d) => sum + x * b[d]!, 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b));
}
