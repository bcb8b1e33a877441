import { crc32 } from 'node:zlib';
import { type Entry, openPromise, type ZipFile } from 'yauzl';
import { codeOf, FileError, messageOf } from '../base/errors.ts';

/** An open ZIP archive. Close it after use (`await using`). */
export type Zip = AsyncDisposable & {
  /** Bytes of the file. */
  readonly size: number;
  readonly names: readonly string[];
  has(name: string): boolean;
  /** The bytes of an entry. @throws FileError if it is compressed, or they are not those that were written. */
  read(name: string): Promise<Buffer>;
};

/**
 * Opens an archive as torch.save writes them. Its entries do not overlap and only those can be read that are stored as they
 * are, so that reading all costs no more than the file's size. `hint` is what to do about another kind of file.
 * @throws FileError if it is no archive or is cut short.
 */
export async function openZip(path: string, hint: string): Promise<Zip> {
  const file = await open(path, hint);
  try {
    const entries = await entriesOf(path, file, hint);
    return {
      size: file.fileSize,
      names: [...entries.keys()],
      has: (name) => entries.has(name),
      read: async (name) => await readEntry(path, file, entries.get(name)!, hint),
      [Symbol.asyncDispose]: async () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

async function open(path: string, hint: string): Promise<ZipFile> {
  try {
    return await openPromise(path, { autoClose: false });
  } catch (error) {
    if (codeOf(error) !== undefined) throw new FileError(path, `cannot be read (${messageOf(error)})`);
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

async function readEntry(path: string, file: ZipFile, entry: Entry, hint: string): Promise<Buffer> {
  if (entry.compressionMethod !== 0 || entry.isEncrypted())
    throw new FileError(path, `${entry.fileName} is compressed, which torch.save never does`, hint);
  const bytes = Buffer.alloc(entry.uncompressedSize);
  let at = 0;
  try {
    for await (const chunk of await file.openReadStreamPromise(entry)) at += (chunk as Buffer).copy(bytes, at);
  } catch (error) {
    throw damaged(path, `${entry.fileName}: ${messageOf(error)}`);
  }
  if (at !== bytes.length || crc32(bytes) !== entry.crc32)
    throw damaged(path, `${entry.fileName} does not have the checksum that was written with it`);
  return bytes;
}

const damaged = (path: string, what: string): FileError =>
  new FileError(
    path,
    `is damaged: ${what}`,
    'copy it again; if it was saved after torch.serialization.set_crc32_options(False), save it with checksums',
  );
