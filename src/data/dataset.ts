import { existsSync, statSync } from 'node:fs';
import { FileError } from '../base/errors.ts';
import { type CropSource, openCrops } from './crops.ts';
import { type FileSource, ImageFolder, openFiles } from './image-folder.ts';
import { openPackImages, type PackSource } from './packs.ts';
import { openRecords, RecordSet, type RecordSource } from './record-set.ts';
import { type ImageRecord, recordFiles } from './recordio.ts';
import type { Sidecar } from './sidecar.ts';
import type { SkippedFiles } from './skipped-files.ts';

/** Where encoded images lie, as a worker thread is told it. */
export type Source = RecordSource | FileSource | CropSource | PackSource;

export { NO_FAMILY } from './sidecar.ts';

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
  /** How pictures are brought into place before a network sees them; absent: they are as they should be. */
  readonly alignment?: 'five-points';
  /** Class ids [N], and family ids [N] or `NO_FAMILY`. */
  labels(): Int32Array;
  families(): Int32Array;
  /** Labels, id and encoded bytes of image `i`. @throws FileError naming what is wrong with it. */
  record(i: number): ImageRecord;
  /**
   * What image `i` is called wherever it lies: its path inside the image folder (with `/`), or the id that the import of a
   * record set kept. Without either: its key in the record set, its number in the pack.
   */
  id(i: number): string;
  /** Whether ids came with the images (true), or are mere keys and numbers of this very set. */
  readonly hasOwnIds: boolean;
  /** What a message calls image `i`. */
  name(i: number): string;
  /** What the folder holds beside the images of its classes; absent where nothing can be skipped. */
  readonly skippedFiles?: SkippedFiles;
  readonly source: Source;
  close(): void;
}

/** Opens a dataset by the prefix of its `.rec` and `.idx`, or by its folder. @throws FileError if neither is there. */
export function openDataset(path: string): Dataset {
  const files = recordFiles(path);
  if (existsSync(files.rec) || existsSync(files.idx)) return new RecordSet(files.prefix);
  if (existsSync(path) && statSync(path).isDirectory()) return new ImageFolder(path);
  throw new FileError(
    path,
    `no such dataset: neither ${files.rec} nor a folder of classes`,
    'fetch one with: mixbct data get k12',
  );
}

/** The ids of the images at `positions`: an image keeps its id in every set that is made of it. */
export function* idsOf(dataset: Pick<Dataset, 'id'>, positions: Iterable<number>): Iterable<string> {
  for (const i of positions) yield dataset.id(i);
}

/** Reads the encoded image at a position: the part of a dataset that workers have. */
export interface ImageFile {
  encoded(i: number): Uint8Array;
  /**
   * The matrix [6] that tells where each pixel of the picture [side, side] lies in the decoded one. Where this is absent,
   * or null comes back, the whole picture is resized. @throws UserError if the picture is not what it should be.
   */
  place?(i: number, size: { readonly height: number; readonly width: number }, side: number): Float64Array | null;
  close(): void;
}

export function openSource(source: Source): ImageFile {
  if (source.kind === 'crops') return openCrops(source);
  if (source.kind === 'pack') return openPackImages(source);
  return source.kind === 'files' ? openFiles(source) : openRecords(source);
}
