import { existsSync, statSync } from 'node:fs';
import { FileError } from '../base/errors.ts';
import { openCrops } from './crops.ts';
import type { Dataset, ImageFile, Source } from './dataset.ts';
import { ImageFolder, openFiles } from './image-folder.ts';
import { openPackImages } from './packs.ts';
import { openRecords, RecordSet } from './record-set.ts';
import { recordFiles } from './recordio.ts';

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

export function openSource(source: Source): ImageFile {
  if (source.kind === 'crops') return openCrops(source);
  if (source.kind === 'pack') return openPackImages(source);
  return source.kind === 'files' ? openFiles(source) : openRecords(source);
}
