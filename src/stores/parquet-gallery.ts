import { toJson } from 'hyparquet';
import { readIdColumn, readVectors } from '../features/parquet-columns.ts';
import { ParquetFile } from '../features/parquet-file.ts';
import { needsDouble, replaceVectors, sameOtherColumns, uncopiedColumns } from '../features/parquet-vectors.ts';
import { BLOCK, type FieldReader, GalleryFile, galleryState, type VectorsAt } from './gallery-file.ts';
import { numberOrText } from './number-or-text.ts';
import { galleryColumns, type StoreUrl } from './store-url.ts';

type Content = Pick<GalleryFile, 'state' | 'dim' | 'keys' | 'columns'> & {
  readonly vectors: Float32Array | Float64Array;
};

/** A gallery in a Parquet file. Ids, vectors, and columns that were asked for are in memory. */
export class ParquetGallery extends GalleryFile {
  readonly columns: GalleryFile['columns'];
  readonly uncopied: readonly string[];
  override readonly versions: readonly string[];
  readonly #file: ParquetFile;
  readonly #vectors: Float32Array | Float64Array;
  /** Values of the columns that were read, by position. */
  readonly #values = new Map<string, readonly unknown[]>();

  /** @throws FileError if the file is damaged, an id occurs twice or a vector is none; UserError if it has not the columns */
  static async open(path: string, url: StoreUrl): Promise<ParquetGallery> {
    const state = galleryState(path);
    const file = await ParquetFile.open(path);
    try {
      const named = galleryColumns(url, file.columns);
      const keys = await readIdColumn(file, named.id);
      const { vectors, dim } = await readVectorColumn(file, named.vector);
      return new ParquetGallery(file, { state, dim, keys, vectors, columns: { ...named, all: file.columns } });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  private constructor(file: ParquetFile, content: Content) {
    super(file.path, `${file.path}, column ${content.columns.id}`, content);
    this.#file = file;
    this.#vectors = content.vectors;
    this.columns = content.columns;
    this.uncopied = uncopiedColumns(file);
    this.versions = this.readVersions();
  }

  get double(): boolean {
    return this.#vectors instanceof Float64Array;
  }

  row(position: number): Float32Array {
    return Float32Array.from(this.numbers(position));
  }

  numbers(position: number): Float32Array | Float64Array {
    return this.#vectors.subarray(position * this.dim, (position + 1) * this.dim);
  }

  *blocks(): Iterable<Float32Array> {
    for (let from = 0; from < this.#vectors.length; from += BLOCK * this.dim)
      yield Float32Array.from(this.#vectors.subarray(from, from + BLOCK * this.dim));
  }

  async fields(names: readonly string[]): Promise<FieldReader> {
    for (const name of names)
      if (name !== this.columns.id && !this.#values.has(name))
        this.#values.set(name, await readColumn(this.#file, name));
    const { keys, columns } = this;
    const at = (name: string, position: number): unknown =>
      name === columns.id ? keys[position] : this.#values.get(name)![position];
    return (position) => Object.fromEntries(names.map((name) => [name, at(name, position)]));
  }

  hasRowsOf(other: GalleryFile): boolean {
    return other instanceof ParquetGallery && sameOtherColumns(this.#file, other.#file, this.columns.vector);
  }

  withVectors(vectors: VectorsAt): Iterable<Uint8Array> {
    return replaceVectors(this.#file, this.columns.vector, vectors, { sameDim: vectors.dim === this.dim });
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** All vectors, flat, of one dimension. */
async function readVectorColumn(
  file: ParquetFile,
  column: string,
): Promise<{ readonly vectors: Float32Array | Float64Array; readonly dim: number }> {
  const double = needsDouble(file, column);
  const NumberArray = double ? Float64Array : Float32Array;
  let [vectors, dim] = [new NumberArray(0), 0];
  for (const group of file.groups.filter(({ count }) => count > 0)) {
    const how = { column, double, hint: 'wanted a vector in each row', ...(dim > 0 && { dim }) };
    const read = await readVectors(file, group, how);
    if (dim === 0) [vectors, dim] = [new NumberArray(file.count * read.dim), read.dim];
    vectors.set(read.numbers, group.from * dim);
  }
  return { vectors, dim };
}

/** The values of a column, one for each row, as JSON has them; bytes as they are. */
async function readColumn(file: ParquetFile, name: string): Promise<unknown[]> {
  const values: unknown[] = [];
  for (const group of file.groups)
    for (const value of await file.column(name, group, { bytes: true }))
      values.push(value instanceof Uint8Array ? value : toJson(numberOrText(value)));
  return values;
}
