import { existsSync } from 'node:fs';
import { readIds } from '../artifacts/id-list.ts';
import { FileError } from '../base/errors.ts';
import { NpyFile, npyHeader } from '../features/npy.ts';
import { BLOCK, type FieldReader, GalleryFile, galleryFiles, galleryState, type VectorsAt } from './gallery-file.ts';
import { vectorBytes } from './vectors.ts';

/** A gallery in a `.npy` with the ids beside it, as `mixbct embed` writes them. */
export class NpyGallery extends GalleryFile {
  readonly columns = { id: 'id', vector: 'vector', all: ['id', 'vector'] };
  readonly double = false;
  readonly uncopied = [];
  override readonly versions: readonly string[];
  readonly #file: NpyFile<'<f4'>;

  /** @throws FileError if one of the files is missing or damaged, they do not agree, or an id occurs twice */
  static open(path: string): NpyGallery {
    const state = galleryState(path);
    const file = new NpyFile<'<f4'>(path, ['<f4']);
    try {
      const [count = 0, dim = 0, ...more] = file.shape;
      if (file.shape.length !== 2 || dim === 0 || more.length > 0)
        throw new FileError(path, `has shape [${file.shape.join(', ')}], wanted rows of vectors, [N, D]`);
      const ids = galleryFiles(path)[1]!;
      if (!existsSync(ids)) throw new FileError(ids, 'is not there, wanted the id of each row, one JSON string a line');
      const list = readIds(ids, count);
      const keys = Array.from({ length: count }, (_, row) => list.at(row));
      return new NpyGallery(path, ids, { state, dim, keys }, file);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  private constructor(
    path: string,
    ids: string,
    content: Pick<GalleryFile, 'state' | 'dim' | 'keys'>,
    file: NpyFile<'<f4'>,
  ) {
    super(path, ids, content);
    this.#file = file;
    this.versions = this.readVersions();
  }

  row(position: number): Float32Array {
    return this.#file.read(position, 1);
  }

  numbers(position: number): Float32Array {
    return this.row(position);
  }

  *blocks(): Iterable<Float32Array> {
    for (let from = 0; from < this.keys.length; from += BLOCK)
      yield this.#file.read(from, Math.min(BLOCK, this.keys.length - from));
  }

  async fields(names: readonly string[]): Promise<FieldReader> {
    return (position) => (names.includes('id') ? { id: this.keys[position]! } : {});
  }

  hasRowsOf({ keys }: GalleryFile): boolean {
    return keys.length === this.keys.length && keys.every((key, position) => key === this.keys[position]);
  }

  *withVectors({ dim, vectorAt }: VectorsAt): Iterable<Uint8Array> {
    yield npyHeader('<f4', [this.keys.length, dim]);
    for (let position = 0; position < this.keys.length; position++)
      yield vectorBytes(Float32Array.from(vectorAt(position)));
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}
