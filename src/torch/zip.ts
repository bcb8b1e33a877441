import { constants } from 'node:buffer';
import { closeSync, fstatSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { FileError, messageOf } from '../base/errors.ts';
import { openRegularFile, readFully } from '../base/regular-file.ts';

/** A ZIP archive that is open for reading, an entry at a time. */
export type Zip = Disposable & {
  /** Bytes of the file. */
  readonly size: number;
  readonly names: readonly string[];
  has(name: string): boolean;
  /** The bytes of an entry. @throws FileError if it is compressed, its checksum differs or it is longer than a buffer may be */
  read(name: string): Promise<Uint8Array>;
};

/**
 * Reads an archive of torch.save. Entries must not overlap and must be uncompressed, so that reading costs no more than the
 * archive's size. `hint` says what to do about another kind of file.
 * @throws FileError if it cannot be opened, is no archive or is cut short.
 */
export async function openZip(path: string, hint: string): Promise<Zip> {
  const fd = openRegularFile(path);
  const close = (): void => closeSync(fd);
  try {
    const file = await open(path, fd, hint);
    const entries = await entriesOf(path, file, hint);
    return {
      size: fstatSync(fd).size,
      names: [...entries.keys()],
      has: (name) => entries.has(name),
      read: async (name) => await readEntry(path, fd, { file, entry: entries.get(name)! }, hint),
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function open(path: string, fd: number, hint: string): Promise<ZipFile> {
  try {
    const { fromFdPromise } = await import('yauzl');
    return await fromFdPromise(fd, { autoClose: false });
  } catch (error) {
    throw new FileError(
      path,
      `is no checkpoint of PyTorch 1.6 or newer, which is a ZIP archive, or it is cut short (${messageOf(error)})`,
      `copy it again if it should be one; an older one can be saved anew, ${hint}`,
    );
  }
}

async function entriesOf(path: string, file: ZipFile, hint: string): Promise<ReadonlyMap<string, Entry>> {
  const entries = new Map<string, Entry>();
  let total = 0;
  try {
    for await (const entry of file.eachEntry()) {
      total += entry.compressedSize;
      if (total > file.fileSize || entries.has(entry.fileName))
        throw new FileError(path, `its parts overlap (${entry.fileName})`, hint);
      entries.set(entry.fileName, entry);
    }
  } catch (error) {
    throw error instanceof FileError ? error : damaged(path, messageOf(error));
  }
  return entries;
}

type Place = { readonly file: ZipFile; readonly entry: Entry };

/** Bytes whose checksum is computed at a time: zlib counts in 32 bits. */
const PIECE = 1 << 30;

function checksumOf(bytes: Uint8Array): number {
  let checksum = 0;
  for (let from = 0; from < bytes.length; from += PIECE) checksum = crc32(bytes.subarray(from, from + PIECE), checksum);
  return checksum;
}

async function readEntry(path: string, fd: number, { file, entry }: Place, hint: string): Promise<Uint8Array> {
  if (entry.compressionMethod !== 0 || entry.isEncrypted())
    throw new FileError(path, `${entry.fileName} is compressed, which torch.save never does`, hint);
  let start: number;
  try {
    start = (await file.readLocalFileHeaderPromise(entry, { minimal: true })).fileDataStart;
  } catch (error) {
    throw damaged(path, `${entry.fileName}: ${messageOf(error)}`);
  }
  const { uncompressedSize: size } = entry;
  if (start + size > file.fileSize) throw damaged(path, `${entry.fileName} ends beyond the file`);
  if (size > constants.MAX_LENGTH)
    throw new FileError(
      path,
      `${entry.fileName} has ${size} bytes, ${constants.MAX_LENGTH} are the most`,
      'save it in parts',
    );
  const bytes = readFully(fd, path, Buffer.allocUnsafe(size), start);
  if (checksumOf(bytes) !== entry.crc32)
    throw damaged(path, `${entry.fileName} does not have the checksum that was written with it`);
  return bytes;
}

const damaged = (path: string, what: string): FileError =>
  new FileError(
    path,
    `is damaged: ${what}`,
    'copy it again; if it was saved after torch.serialization.set_crc32_options(False), save it with checksums',
  );
