import type { ImageRecord } from './recordio.ts';
import type { Sidecar } from './sidecar.ts';
import type { SkippedFiles } from './skipped-files.ts';

/** Where the records of a record set are; plain data, for worker threads. */
export type RecordSource = {
  readonly kind: 'records';
  readonly rec: string;
  readonly keys: Int32Array;
  readonly offsets: Float64Array;
};

/** Files with one image each, on disk or in object storage (`s3://`); plain data, for worker threads. */
export type FileSource = { readonly kind: 'files'; readonly files: readonly string[] };

/** Loose crops with the landmarks of the face in each; plain data, for worker threads. */
export type CropSource = {
  readonly kind: 'crops';
  readonly folder: string;
  readonly names: readonly string[];
  readonly landmarks: Float32Array;
};

/** Encoded pictures, for worker threads: those in shared memory are not copied. */
export type PackSource = { readonly kind: 'pack'; readonly images: readonly Uint8Array[] };

/** Where encoded images are; plain data, for worker threads. */
export type Source = RecordSource | FileSource | CropSource | PackSource;

/** A labelled set of images: a record set, or a folder of `class/instance.jpg|png|webp`. Position i is the same everywhere. */
export interface Dataset extends Disposable {
  readonly path: string;
  /** Names the content: images and labels. Artefacts made from a dataset record it. */
  readonly digest: string;
  /** Whether the digest holds sizes and samples of large files, and not all their bytes. */
  readonly digestIsSampled?: boolean;
  /** Names what a record set keeps beside its records: names of classes and families, ids; null: nothing. Artefacts record it. */
  readonly descriptionDigest?: string | null;
  /** Names the state of image files that `digest` does not read: name, size and time of each. Artefacts record it. */
  readonly filesDigest?: string;
  /** N */
  readonly size: number;
  /** C */
  readonly classes: number;
  readonly sidecar: Sidecar;
  /** How pictures are aligned before they enter a network; undefined: no alignment. */
  readonly alignment?: 'five-points';
  /** Class ids [N], and family ids [N] or `NO_FAMILY`. */
  labels(): Int32Array;
  families(): Int32Array;
  /** Labels, id and encoded bytes of image `i`. @throws FileError naming what is wrong with it. */
  record(i: number): ImageRecord;
  /**
   * The id of image `i`, the same in every set: its path inside the image folder (with `/`), or the id that the import of a
   * record set kept. Without either: its key in the record set, its number in the pack.
   */
  id(i: number): string;
  /** Whether ids came with the images (true), or are keys and numbers of this set only. */
  readonly hasOwnIds: boolean;
  /** What a message calls image `i`. */
  name(i: number): string;
  /** What the folder holds beside the images of its classes; absent where nothing can be skipped. */
  readonly skippedFiles?: SkippedFiles;
  readonly source: Source;
  close(): void;
}

/** What of a dataset is decoded and embedded. */
export type ImageSet = Pick<Dataset, 'path' | 'size' | 'source' | 'labels' | 'id' | 'name'> & {
  /** Size and time of change (ms since 1970) of the file of image `i`, where the listing has told them. */
  readonly fileState?: (i: number) => FileState | undefined;
};

/** Bytes, and milliseconds since 1970. */
export type FileState = readonly [size: number, changedMs: number];

/** The ids of the images at `positions`: an image keeps its id in every set that is made of it. */
export function* idsOf(dataset: Pick<Dataset, 'id'>, positions: Iterable<number>): Iterable<string> {
  for (const i of positions) yield dataset.id(i);
}

/** What to do about images of a dataset that cannot be read, if it can be done without skipping them. */
export const repairAdvice = ({ source, path }: Pick<Dataset, 'source' | 'path'>): string =>
  ({
    files: 'repair or remove them',
    records: `make a set without them: mixbct data import ${path} --out NEW --skip-bad-images`,
    crops: 'unpack the benchmark again: its lists name each of its crops',
    pack: 'get the pack again: each of its pairs has two images',
  })[source.kind];

/** Reads the encoded image at a position: the part of a dataset that workers have. */
export interface ImageFile {
  /** Fetches the images at some positions, so that `encoded` has them. @throws FileError if they cannot be fetched */
  prepare?(positions: Int32Array): Promise<void>;
  encoded(i: number): Uint8Array;
  /**
   * The matrix [6] that maps each pixel of the picture [side, side] to its place in the decoded one. If this is absent
   * or returns null, the whole picture is resized. @throws UserError if landmarks do not fit the picture.
   */
  place?(i: number, size: { readonly height: number; readonly width: number }, side: number): Float64Array | null;
  close(): void;
}
