import { type Dirent, readdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { codeOf, FileError } from '../base/errors.ts';
import { entryAt } from '../base/regular-file.ts';
import { type SkippedFiles, SkippedFilesCounter } from './skipped-files.ts';

/** Extensions of the images that the decoders read, in lower case. */
export const IMAGE_EXTENSIONS: ReadonlySet<string> = new Set([
  ...['.jpg', '.jpeg', '.jpe', '.jfif'],
  ...['.png', '.webp', '.gif', '.tif', '.tiff', '.avif'],
  ...['.pgm', '.ppm', '.pnm'],
]);

/** What operating systems and tools leave in folders of images, beside all names that start with a dot. */
const LEFT_BY_SYSTEMS = new Set(['__macosx', 'thumbs.db', 'ehthumbs.db', 'desktop.ini', '@eadir', '$recycle.bin', 'system volume information', 'lost+found']); // biome-ignore format: a list

export const isHidden = (name: string): boolean => name.startsWith('.') || LEFT_BY_SYSTEMS.has(name.toLowerCase());

export type ClassFolders = {
  /** Names of the classes that have an image, by code unit: a label is a position in it. */
  readonly classes: readonly string[];
  /** Path of each image inside the folder, with `/`, class by class. */
  readonly ids: readonly string[];
  /** Class of each image. */
  readonly labels: Int32Array;
  readonly skipped: SkippedFiles;
};

/**
 * Walks a folder of class folders. A class is a folder at the top; the images at any depth below it belong to it. Links are
 * followed; a folder is read once for each class, so that links cannot lead round in circles. Only regular files count.
 * @throws FileError naming a folder that cannot be read
 */
export function walkClassFolders(root: string): ClassFolders {
  const counter = new SkippedFilesCounter();
  const above = foldersAbove(root);
  const owners = new Map<string, string>();
  const classes: string[] = [];
  const ids: string[] = [];
  const labels: number[] = [];
  for (const entry of entriesOf(root, '', counter)) {
    if (entry.kind === 'file') {
      if (isImage(entry.id)) counter.add('images outside of class folders', entry.id);
      else counter.addFile(entry.id);
      continue;
    }
    const files: string[] = [];
    walk({ root, seen: new Set(above), owners, counter, files }, entry.id);
    if (files.length === 0) {
      counter.addEmptyClass(entry.id);
      continue;
    }
    for (const id of files.sort(byCodeUnit)) {
      ids.push(id);
      labels.push(classes.length);
    }
    classes.push(entry.id);
  }
  return { classes, ids, labels: Int32Array.from(labels), skipped: counter.result() };
}

type Walk = {
  readonly root: string;
  /** Real paths of the folders read for this class, and of those above them. */
  readonly seen: Set<string>;
  /** Path inside the root of each folder that was read, by its real path: the first by which it was. */
  readonly owners: Map<string, string>;
  readonly counter: SkippedFilesCounter;
  readonly files: string[];
};

function walk(state: Walk, id: string): void {
  const { root, seen, owners, counter, files } = state;
  const real = realpathSync(join(root, id));
  if (seen.has(real)) {
    counter.add('links to a folder that was read already', id);
    return;
  }
  seen.add(real);
  const owner = owners.get(real);
  if (owner === undefined) owners.set(real, id);
  else counter.addSharedFolder(id, owner);
  for (const entry of entriesOf(root, id, counter)) {
    if (entry.kind === 'folder') walk(state, entry.id);
    else if (!isImage(entry.id)) counter.addFile(entry.id);
    else {
      files.push(entry.id);
      if (id.includes('/')) counter.addDeeper(entry.id);
    }
  }
}

type Entry = { readonly id: string; readonly kind: 'file' | 'folder' };

/** The entries of a folder, sorted by code unit, without those that systems and tools leave there. */
export function* entriesOf(root: string, folder: string, counter: SkippedFilesCounter): Iterable<Entry> {
  const entries = readFolder(join(root, folder)).sort((a, b) => byCodeUnit(a.name, b.name));
  for (const entry of entries) {
    const id = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (isHidden(entry.name)) counter.add('hidden files and folders', id);
    else if (entry.isFile()) {
      if (isSpelled(entry.name, join(root, id))) yield { id, kind: 'file' };
      else counter.add('names that are not UTF-8', id);
    } else {
      const kind = kindOf(entry, join(root, id));
      if (kind === 'file' || kind === 'folder') yield { id, kind };
      else counter.add(kind, id);
    }
  }
}

/** The kind of an entry that is no regular file itself. */
function kindOf(entry: Dirent, path: string) {
  if (!isSpelled(entry.name, path)) return 'names that are not UTF-8';
  let stats: Stats | Dirent = entry;
  if (entry.isSymbolicLink()) {
    try {
      stats = statSync(path);
    } catch (error) {
      if (codeOf(error) === 'EACCES') throw unreadable(path, error);
      return 'links that lead nowhere';
    }
  }
  if (stats.isDirectory()) return 'folder';
  return stats.isFile() ? 'file' : 'pipes, sockets and devices';
}

const REPLACEMENT = '\ufffd';

/** Whether a name is what the file system has: bytes that are not UTF-8 come as U+FFFD. */
const isSpelled = (name: string, path: string): boolean => !name.includes(REPLACEMENT) || entryAt(path) !== undefined;

function readFolder(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch (error) {
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): FileError =>
  new FileError(path, `the folder cannot be read (${codeOf(error)})`, 'make it readable, or move it away');

export function foldersAbove(root: string): readonly string[] {
  const folders = [realpathSync(root)];
  for (let at = folders[0]!; dirname(at) !== at; ) {
    at = dirname(at);
    folders.push(at);
  }
  return folders;
}

export const isImage = (name: string): boolean => IMAGE_EXTENSIONS.has(extname(name).toLowerCase());

/** Compares by code unit, so that positions do not depend on the machine's language. */
export const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
