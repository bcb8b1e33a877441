import { realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { headObject, listObjects, readObject } from '../artifacts/object-store.ts';
import { isObjectUrl, objectPlace, objectUrl } from '../artifacts/object-url.ts';
import { FileError, type Hint, messageOf, UserError } from '../base/errors.ts';
import { repeatedIn } from '../base/large-map.ts';
import { formatCount } from '../base/progress.ts';
import { decodeLines, readTextLines } from '../base/text-file.ts';
import { byCodeUnit, entriesOf, foldersAbove, isHidden, isImage } from './class-folders.ts';
import type { FileState, ImageSet } from './dataset.ts';
import { SkippedFilesCounter } from './skipped-files.ts';

/** An image without a label: what it is called, and where it is. */
export type ListedImage = {
  readonly id: string;
  readonly path: string;
  /** Of an object in a listing. */
  readonly state?: FileState;
};

/** The path that means standard input. */
export const STANDARD_INPUT = '-';

/** Ids that a message names. */
const NAMED = 3;

/**
 * The images that `paths` name: files, folders (all images at any depth, sorted by code unit), `-` for a list on standard
 * input, and objects and prefixes of object storage (`s3://`); then those of the list in the file `list`. An image without an id of its own is called by its path as it was given.
 * @throws FileError if a path is not there, a folder holds no images or a line names none; UserError if two have one id
 */
export async function listImages(
  paths: readonly string[],
  {
    list,
    stdin = process.stdin,
  }: { readonly list?: string | undefined; readonly stdin?: AsyncIterable<Uint8Array> } = {},
): Promise<readonly ListedImage[]> {
  const images: ListedImage[] = [];
  const add = (more: readonly ListedImage[]): void => {
    for (const image of more) images.push(image);
  };
  for (const path of paths)
    add(path === STANDARD_INPUT ? parseList('standard input', await readStandardInput(stdin)) : isObjectUrl(path) ? await objectsAt(path) : imagesAt(path)); // biome-ignore format: short
  if (list !== undefined) add(parseList(list, isObjectUrl(list) ? await readObjectLines(list) : readTextLines(list)));
  requireOwnIds(images);
  return images;
}

/** A file itself, or the images of a folder. */
function imagesAt(path: string): readonly ListedImage[] {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new FileError(path, 'no such file or folder', 'wanted images, folders of images, or - for a list');
  if (!found.isDirectory()) return [{ id: path, path }];
  const ids: string[] = [];
  const seen = new Set(foldersAbove(path).slice(1));
  const walk = (folder: string): void => {
    const real = realpathSync(join(path, folder));
    if (seen.has(real)) return;
    seen.add(real);
    for (const { id, kind } of entriesOf(path, folder, new SkippedFilesCounter()))
      if (kind === 'folder') walk(id);
      else if (isImage(id)) ids.push(id);
  };
  walk('');
  if (ids.length === 0) throw new FileError(path, 'holds no images', 'wanted .jpg, .png, .webp, … at any depth');
  return ids.sort(byCodeUnit).map((id) => {
    const inside = join(path, id);
    return { id: inside, path: inside };
  });
}

/** An object itself, or the images below a prefix. */
async function objectsAt(url: string): Promise<readonly ListedImage[]> {
  const { bucket, key } = objectPlace(url);
  if (key !== '' && !key.endsWith('/')) {
    const found = await headObject(url);
    if (found) return [{ id: url, path: url, state: [found.size, found.changedMs] }];
  }
  const prefix = objectUrl({ bucket, key: key === '' || key.endsWith('/') ? key : `${key}/` });
  const images: ListedImage[] = [];
  for await (const { url: path, size, changedMs } of listObjects(prefix)) {
    const names = path.slice(prefix.length).split('/');
    if (isImage(path) && !names.some(isHidden)) images.push({ id: path, path, state: [size, changedMs] });
  }
  if (images.length === 0)
    throw new FileError(url, 'is no object, and there are no images below it', 'wanted .jpg, .png, .webp, … at any depth'); // biome-ignore format: short
  return images.sort((a, b) => byCodeUnit(a.path, b.path));
}

const LINES: Hint = 'wanted a path, or {"id": "…", "path": "…"}, on each line';

/** One path a line, or one JSON object with `id` and `path`. */
function parseList(name: string, lines: readonly string[]): readonly ListedImage[] {
  if (lines.length === 0) throw new FileError(name, 'lists no images', LINES);
  return lines.map((line, i) => {
    const path = line.replace(/\r$/, '');
    if (path.startsWith('{')) return parseObject(name, path, i);
    if (path.trim() === '' || path.includes('\0')) throw new FileError(name, `line ${i + 1} names no image`, LINES);
    return { id: path, path };
  });
}

function parseObject(name: string, line: string, i: number): ListedImage {
  let problem: string;
  try {
    const { id, path } = JSON.parse(line) as Readonly<Record<string, unknown>>;
    const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
    if (isText(id) && isText(path) && !path.includes('\0')) return { id, path };
    problem = 'has no "id" and "path" of text';
  } catch (error) {
    problem = `is no JSON object (${messageOf(error)})`;
  }
  throw new FileError(name, `line ${i + 1} ${problem}`, LINES);
}

async function readStandardInput(stdin: AsyncIterable<Uint8Array>): Promise<string[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stdin) chunks.push(chunk);
  return linesOf('standard input', Buffer.concat(chunks));
}

const readObjectLines = async (url: string): Promise<string[]> => linesOf(url, await readObject(url));

function linesOf(name: string, bytes: Uint8Array): string[] {
  try {
    return decodeLines(bytes);
  } catch {
    throw new FileError(name, 'is not in UTF-8', LINES);
  }
}

function requireOwnIds(images: readonly ListedImage[]): void {
  if (images.length === 0)
    throw new UserError('no images were named', { hint: 'give files, folders, or - for a list' });
  const doubled = repeatedIn(images.map(({ id }) => id));
  if (doubled.length === 0) return;
  const first = doubled.slice(0, NAMED);
  throw new UserError(
    `${formatCount(doubled.length, 'image is', 'images are')} named twice: ${first.join(', ')}${doubled.length > NAMED ? ', …' : ''}`,
    { hint: 'an id belongs to one row: name each image once, or give ids of their own as JSON lines' },
  );
}

/** Images without labels as what is decoded and embedded. `path`: what messages call all of them. */
export const unlabelledImages = (images: readonly ListedImage[], path: string): ImageSet => ({
  path,
  size: images.length,
  source: { kind: 'files', files: images.map((image) => image.path) },
  labels: () => new Int32Array(images.length),
  id: (i) => images[i]!.id,
  name: (i) => images[i]!.path,
  fileState: (i) => images[i]!.state,
});
