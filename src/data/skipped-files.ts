import { extname } from 'node:path';
import { formatCount } from '../base/progress.ts';

/** Why something in an image folder is no image of the data set. */
export type SkipReason =
  | 'hidden files and folders'
  | 'images outside of class folders'
  | 'links that lead nowhere'
  | 'links to a folder that was read already'
  | 'pipes, sockets and devices'
  | 'names that are not UTF-8'
  | `${string} files`;

/** What an image folder holds beside the images of its classes: counts, and the first few paths inside the folder. */
export type SkippedFiles = {
  readonly skipped: readonly {
    readonly reason: SkipReason;
    readonly count: number;
    readonly first: readonly string[];
  }[];
  /** Folders at the top without an image: they are no classes. */
  readonly emptyClasses: readonly string[];
  /** Folders that a link brings into a second class, with that of the first: their images are in both. */
  readonly sharedFolders: { readonly count: number; readonly first: readonly string[] };
  /** Images that lie deeper than class/instance; they are in the data set. */
  readonly deeper: { readonly count: number; readonly first: readonly string[] };
};

/** The words for each reason, of one file. */
const oneOf = (reason: SkipReason): string =>
  ({
    'hidden files and folders': 'hidden file or folder',
    'images outside of class folders': 'image outside of class folders',
    'links that lead nowhere': 'link that leads nowhere',
    'links to a folder that was read already': 'link to a folder that was read already',
    'pipes, sockets and devices': 'pipe, socket or device',
    'names that are not UTF-8': 'name that is not UTF-8',
  })[reason as string] ?? reason.replace(/files$/, 'file');

/** Paths that are kept of each reason. */
const EXAMPLES = 3;

type Count = { count: number; first: string[] };

export class SkippedFilesCounter {
  readonly #reasons = new Map<SkipReason, Count>();
  readonly #deeper: Count = { count: 0, first: [] };
  readonly #sharedFolders: Count = { count: 0, first: [] };
  readonly #emptyClasses: string[] = [];

  add(reason: SkipReason, path: string): void {
    const count = this.#reasons.get(reason) ?? { count: 0, first: [] };
    this.#reasons.set(reason, count);
    countOne(count, path);
  }

  /** A file that is no image, by the end of its name. */
  addFile(path: string): void {
    this.add(`${extname(path).toLowerCase() || 'nameless'} files`, path);
  }

  addDeeper(path: string): void {
    countOne(this.#deeper, path);
  }

  addSharedFolder(path: string, other: string): void {
    countOne(this.#sharedFolders, `${path} = ${other}`);
  }

  addEmptyClass(name: string): void {
    this.#emptyClasses.push(name);
  }

  result(): SkippedFiles {
    const skipped = [...this.#reasons].map(([reason, count]) => ({ reason, ...count }));
    return {
      skipped: skipped.sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
      emptyClasses: this.#emptyClasses,
      sharedFolders: this.#sharedFolders,
      deeper: this.#deeper,
    };
  }
}

function countOne(count: Count, path: string): void {
  count.count++;
  if (count.first.length < EXAMPLES) count.first.push(path);
}

/** Kinds of files with a line of their own; all further kinds share one line. */
const MOST_LINES = 12;

/** The skipped files as text, one line for each reason. Nothing skipped: no line. */
export function describeSkippedFiles({ skipped, emptyClasses, sharedFolders, deeper }: SkippedFiles): string[] {
  const lines = skipped
    .slice(0, MOST_LINES)
    .map(
      ({ reason, count, first }) => `skipped: ${formatCount(count, oneOf(reason), reason)} (${listOf(first, count)})`,
    );
  const rest = skipped.slice(MOST_LINES);
  if (rest.length > 0) {
    const files = rest.reduce((sum, { count }) => sum + count, 0);
    lines.push(`skipped: ${files} more of ${rest.length} other kinds`);
  }
  if (emptyClasses.length > 0)
    lines.push(
      `${emptyClasses.length === 1 ? '1 folder holds no image and is no class' : `${emptyClasses.length} folders hold no image and are no classes`} (${listOf(emptyClasses.slice(0, EXAMPLES), emptyClasses.length)})`,
    );
  if (sharedFolders.count > 0)
    lines.push(
      `warning: ${formatCount(sharedFolders.count, 'folder is', 'folders are')} in two classes by links, with the same images in both (${listOf(sharedFolders.first, sharedFolders.count)})`,
    );
  if (deeper.count > 0)
    lines.push(
      `${formatCount(deeper.count, 'image lies', 'images lie')} deeper than class/instance; each belongs to the folder at the top (${listOf(deeper.first, deeper.count)})`,
    );
  return lines;
}

const listOf = (first: readonly string[], count: number): string =>
  [...first.map((path) => JSON.stringify(path).slice(1, -1)), ...(count > first.length ? ['…'] : [])].join(', ');
