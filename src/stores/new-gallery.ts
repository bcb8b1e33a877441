import { UserError } from '../base/errors.ts';
import type { StoreUrl } from './store-url.ts';

/** A row of a new gallery. */
export type NewRow = {
  readonly id: string;
  readonly vector: Float32Array;
  readonly label: number;
  /** The encoded image; null: the gallery has no column of images. */
  readonly image: Uint8Array | null;
};

/** The rows of a new gallery, in blocks: of one dimension, with ids that occur once. */
export type NewGallery = {
  readonly dim: number;
  readonly images: boolean;
  readonly blocks: () => Iterable<readonly NewRow[]>;
};

/** The columns of ids and vectors have the names of the URL, else `id` and `vector`. The others are `label` and, if there are images, `image`. */
export type NewTable = { readonly url: StoreUrl; readonly table: string; readonly id: string; readonly vector: string };

/** What every store says of a table that exists. */
export class TableExistsError extends UserError {
  constructor({ url, table }: NewTable) {
    super(`${url.text}: there is a table ${table} already`, { hint: 'name another one, or drop it first' });
  }
}
