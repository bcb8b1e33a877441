import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { FileError, messageOf } from '../base/errors.ts';

/** A ZIP archive in memory. */
export type Zip = {
  /** Bytes of the file. */
  readonly size: number;
  readonly names: readonly string[];
  has(name: string): boolean;
  /**
   * The bytes of an entry, a view of the archive's memory.
   * @throws FileError if it is compressed or its checksum differs.
   */
  read(name: string): Promise<Uint8Array>;
};

/**
 * Reads an archive of torch.save. Entries must not overlap and must be uncompressed, so that reading costs no more than the
 * archive's size. `hint` says what to do about another kind of file.
 * @throws FileError if it is no archive or is cut short.
 */
export async function openZip(path: string, hint: string): Promise<Zip> {
  let data: Buffer;
  try {
    data = readFileSync(path);
  } catch (error) {
    throw new FileError(path, `cannot be read (${messageOf(error)})`);
  }
  const file = await open(path, data, hint);
  const entries = await entriesOf(path, file, hint);
  return {
    size: data.length,
    names: [...entries.keys()],
    has: (name) => entries.has(name),
    read: async (name) => await readEntry(path, data, { file, entry: entries.get(name)! }, hint),
  };
}

async function open(path: string, data: Buffer, hint: string): Promise<ZipFile> {
  try {
    const { fromBufferPromise } = await import('yauzl');
    return await fromBufferPromise(data);
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

async function readEntry(path: string, data: Buffer, { file, entry }: Place, hint: string): Promise<Uint8Array> {
  if (entry.compressionMethod !== 0 || entry.isEncrypted())
    throw new FileError(path, `${entry.fileName} is compressed, which torch.save never does`, hint);
  let start: number;
  try {
    start = (await file.readLocalFileHeaderPromise(entry, { minimal: true })).fileDataStart;
  } catch (error) {
    throw damaged(path, `${entry.fileName}: ${messageOf(error)}`);
  }
  const bytes = data.subarray(start, start + entry.uncompressedSize);
  if (bytes.length !== entry.uncompressedSize || crc32(bytes) !== entry.crc32)
    throw damaged(path, `${entry.fileName} does not have the checksum that was written with it`);
  return bytes;
}

const damaged = (path: string, what: string): FileError =>
  new FileError(
    path,
    `is damaged: ${what}`,
    'copy it again; if it was saved after torch.serialization.set_crc32_options(False), save it with checksums',
  );
