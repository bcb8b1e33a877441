import type { MigrationRecord } from './migration-record.ts';
import type { Stamp } from './stamp.ts';

/**
 * A gallery in a vector store: a table with a column of unique ids, a column of vectors, and others. During a migration each row may
 * have a second vector *beside* the one in the application's column, in a place of the store's own. A row with one is *moved*.
 * Before the cut-over the application's column holds the old model's vectors and the new model's are beside; after it, the other way
 * round. A vector beside counts only for the version of the row that it was made of: a row that is deleted, inserted or has another
 * vector in the application's column is not moved, whoever wrote it.
 *
 * A store is one file that passes `test/helpers/store-conformance.ts`.
 */
export interface GalleryStore extends AsyncDisposable {
  /** Without password. */
  readonly url: string;
  describe(): Promise<GalleryDescription>;
  /** What the vectors are of, and the migration if there is one. */
  state(): Promise<GalleryState>;
  counts(): Promise<GalleryCounts>;
  /** Writes what the vectors are of. @throws UserError during a migration */
  stamp(stamp: Stamp): Promise<void>;
  /** The rows of these keys that exist, in any order, with the columns `fields`. */
  rows(keys: readonly string[], fields?: readonly string[]): Promise<GalleryRow[]>;
  /** At most `limit` rows after a key (null: from the first on), in the store's order of keys. */
  page(after: string | null, limit: number, options?: PageOptions): Promise<GalleryRow[]>;
  /**
   * The nearest rows by cosine, best first, in each space that the gallery has now: one, or during a migration those of the rows that
   * are not moved and of those that are. All of it is one consistent look. `queries` are vectors by the digest of the model whose
   * gallery vectors they may be compared with. Rows of zeros and without vector are never found.
   * @throws UserError if the gallery has no stamp, or a query is of another dimension.
   */
  search(queries: ReadonlyMap<string, Float32Array>, options: SearchOptions): Promise<SearchedSpace[]>;

  /** Records a migration and makes the place beside. @throws UserError if there is one already, or the gallery has no stamp. */
  beginMigration(record: MigrationRecord): Promise<void>;
  /** Asks the process that runs the migration to stop after its batch, or lets it go on. */
  setPaused(paused: boolean): Promise<void>;
  /**
   * Puts new vectors beside and the entry into the journal: both, or neither. Rows that are gone, moved already or have another version
   * than they were read with are skipped. → the number of rows that were taken
   */
  commit(batch: MovedBatch): Promise<number>;
  /** The committed batches, the first one first. */
  journal(): Promise<JournalEntry[]>;
  /** Makes the new vectors the application's, and keeps the old ones beside. @throws UserError unless every row is moved */
  cutOver(): Promise<void>;
  /**
   * Ends the migration with the very bytes in the application's column that were there before it.
   * @throws UserError if the cut-over has been, and rows that were written since have no old vector
   */
  rollback(): Promise<void>;
  /** Ends the migration after the cut-over: the old vectors are dropped. */
  finish(): Promise<void>;
  /** The right to run the migration, which ends with the process that has it. @throws UserError that names the holder */
  claim(): Promise<AsyncDisposable>;
}

export type GalleryDescription = {
  /** `sqlite` */
  readonly kind: string;
  readonly table: string;
  /** Names of the columns with ids and vectors. */
  readonly id: string;
  readonly vector: string;
  readonly columns: readonly string[];
  /** Dimensions of the vectors; null if there are none. */
  readonly dim: number | null;
};

export type GalleryState = { readonly stamp: Stamp | null; readonly migration: MigrationRecord | null };
export type GalleryCounts = { readonly rows: number; readonly moved: number };

export type GalleryRow = {
  /** The id as text. */
  readonly key: string;
  /** Changes whenever the application's vector does. */
  readonly version: string;
  /** The application's vector; null if the row has none. */
  readonly vector: Float32Array | null;
  readonly moved: boolean;
  readonly beside: Float32Array | null;
  readonly fields: Readonly<Record<string, unknown>>;
};

export type PageOptions = { readonly fields?: readonly string[]; readonly only?: 'unmoved' };
export type SearchOptions = { readonly k: number; readonly fields?: readonly string[] };
/** `hits` is null if no query for the space was given. */
export type SearchedSpace = { readonly stamp: Stamp; readonly hits: readonly Hit[] | null };
export type Hit = {
  readonly key: string;
  /** Cosine. */
  readonly score: number;
  readonly fields: Readonly<Record<string, unknown>>;
};

export type MovedRow = { readonly key: string; readonly version: string; readonly vector: Float32Array };
export type MovedBatch = { readonly rows: readonly MovedRow[]; readonly entry: Omit<JournalEntry, 'rows'> };
/** A committed batch of a migration. */
export type JournalEntry = {
  readonly batch: number;
  /** ISO 8601 */
  readonly at: string;
  /** Rows that were taken. */
  readonly rows: number;
  /** Milliseconds that it took. */
  readonly ms: number;
};
