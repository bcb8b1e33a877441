import { existsSync, mkdirSync, readdirSync, readlinkSync, realpathSync, renameSync, rmSync } from 'node:fs'; // biome-ignore format: short
import { basename, dirname, join, resolve, sep } from 'node:path';
import { codeOf, messageOf, optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { entryAt, isFolder } from '../base/regular-file.ts';
import { fsyncPath, isDiskFull } from './durable-write.ts';
import { manifestAt } from './manifest.ts';
import { isObjectUrl } from './object-url.ts';
import { lockOutput, type OutputLock } from './output-lock.ts';

/** What a command may overwrite. */
export type OverwriteOptions = {
  /** Replace what stands there, if it is of the kind that the command writes. */
  readonly force?: boolean;
  /** What the command reads (paths, or prefixes of record sets): nothing that is or holds one of them is replaced. */
  readonly inputs?: readonly (string | undefined)[];
};

/** A kind of output: its name for messages, how it is recognised, and the first foreign file or folder in one, if any. */
export type OutputKind = {
  readonly description: string;
  readonly matches: (path: string) => boolean;
  readonly foreignEntry?: (path: string) => string | undefined;
  /** Kind of the artefacts in which it may lie; without it, an output lies in none. */
  readonly host?: string;
};

const ELSEWHERE = optionHint('choose another --out');

/** The path without links, as far as it exists. */
export function realPath(path: string): string {
  const full = resolve(path);
  if (entryAt(full)) {
    try {
      return realpathSync(full);
    } catch {
      return full; // a link to nothing
    }
  }
  const parent = dirname(full);
  return parent === full ? full : join(realPath(parent), basename(full));
}

const holds = (folder: string, path: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);

/** The files that an input may consist of: itself, or a record set's. */
const filesOf = (input: string): string[] => [input, `${input}.rec`, `${input}.idx`].filter((path) => entryAt(path));

/** The file of a record set of this prefix, if there is one. */
const recordFileOf = (prefix: string): string | undefined =>
  [`${prefix}.rec`, `${prefix}.idx`].find((file) => entryAt(file));

/**
 * An output never lies inside a finished artefact of another kind than `host`, nor does a folder of it take the name of a record set.
 * @throws UserError
 */
export function requireOwnPlace(path: string, host?: string): void {
  if (isObjectUrl(path))
    throw new UserError(`${path}: this command writes no object storage`, {
      hint: 'name a local path; mixbct embed and mixbct features merge write s3:// paths',
    });
  let folder = realPath(path);
  let file = recordFileOf(folder);
  for (; file === undefined && dirname(folder) !== folder; ) {
    folder = dirname(folder);
    if (!entryAt(folder)) file = recordFileOf(folder);
    const manifest = manifestAt(folder);
    const kind = manifest?.['mixbct'] === undefined ? undefined : manifest['kind'];
    if (kind !== undefined && kind !== host)
      throw new UserError(`${path} lies inside ${folder}, a finished artefact of the kind "${kind}"`, {
        hint: ELSEWHERE,
      });
  }
  if (file !== undefined)
    throw new UserError(`${path}: a folder ${folder} would have the name of a data set (${file})`, { hint: ELSEWHERE });
}

/** @throws UserError if an output would lie inside a folder that the command reads, such as one of images. */
function requireOutside(path: string, inputs: OverwriteOptions['inputs'] = []): void {
  for (const input of inputs) {
    // what may lie in a finished artefact is its kind's own affair
    if (input === undefined || isObjectUrl(input) || !isFolder(input) || manifestAt(input) !== null) continue;
    const [target, folder] = [realPath(path), realPath(input)];
    if (target !== folder && holds(folder, target))
      throw new UserError(`${path} lies inside ${input}, which this command reads`, { hint: ELSEWHERE });
  }
}

/**
 * @throws UserError if `requireOwnPlace` does, if it would lie inside a folder that the command reads, if something stands at `path`
 * without `force`, or if it is never replaced: another kind, an input of the command or a folder that holds one, the current folder
 * or one above it, a link.
 */
export function requireReplaceable(
  path: string,
  { description, matches, foreignEntry, host }: OutputKind,
  { force = false, inputs = [] }: OverwriteOptions,
): void {
  requireOwnPlace(path, host);
  requireOutside(path, inputs);
  const full = resolve(path); // a path that ends in / would look through a link, and an empty one at nothing
  const found = entryAt(full);
  if (!found) return;
  if (!force)
    throw new UserError(`${path} exists already`, { hint: [ELSEWHERE, optionHint('pass --force to replace it')] });
  if (found.isSymbolicLink())
    throw new UserError(`${path} is a link to ${readlinkSync(full)}, which is not followed`, {
      hint: `name the place itself (${realPath(path)}), or remove the link`,
    });
  const target = realPath(path);
  if (found.isDirectory() && holds(target, realPath(process.cwd())))
    throw new UserError(`${path} is the current folder or holds it: it is never replaced`, { hint: ELSEWHERE });
  for (const input of inputs)
    if (input !== undefined && filesOf(input).some((file) => holds(target, realPath(file))))
      throw new UserError(`${path} is or holds ${input}, which this command reads: it is never replaced`, {
        hint: ELSEWHERE,
      });
  if (!matches(full) && !(found.isDirectory() && readdirSync(full).length === 0))
    throw new UserError(`${path} is not ${description}: nothing else is replaced`, {
      hint: ['move it away yourself', ELSEWHERE],
    });
  const other = foreignEntry?.(full);
  if (other !== undefined)
    throw new UserError(`${path} holds ${other}, which is not part of it: nothing is replaced`, {
      hint: ['move that away', ELSEWHERE],
    });
}

/** Where the previous output is kept until the new one is complete. */
export const replacedPath = (path: string): string =>
  join(dirname(resolve(path)), `.${basename(resolve(path))}.replaced`);

/**
 * Locks the output at `path` for writing, if what stands there may be replaced. An output that a killed attempt had moved aside
 * is restored first.
 * @throws UserError if another process writes it, or `requireReplaceable` refuses.
 */
export function claimOutput(path: string, kind: OutputKind, replacing: OverwriteOptions): OutputLock {
  requireReplaceable(path, kind, replacing); // before anything is written beside it
  const lock = lockOutput(path);
  try {
    restoreReplaced(path);
    requireReplaceable(path, kind, replacing);
    return lock;
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

/** Moves back the output that an interrupted attempt had moved aside, if its place is empty. */
export function restoreReplaced(path: string): void {
  const aside = replacedPath(path);
  if (!existsSync(aside) || entryAt(path)) return;
  renameSync(aside, path);
  logLine(`${path}: put back the output that a killed attempt had moved aside`);
}

/** Moves an output aside, where `restoreReplaced` finds it. @throws UserError if its file system refuses: it stays as it is */
export function moveAside(path: string): void {
  try {
    renameSync(path, replacedPath(path));
  } catch (cause) {
    if (isDiskFull(cause)) throw cause;
    throw new UserError(
      `${path} cannot be moved aside to be replaced (${codeOf(cause) ?? messageOf(cause)}): it stays`,
      {
        hint: ['move it away yourself', ELSEWHERE],
        cause,
      },
    );
  }
}

/** Renames a finished folder to `path`. A previous output is moved aside first, and removed when the new one is in place. */
export function replaceFolder(finished: string, path: string): void {
  const aside = replacedPath(path);
  const replaces = entryAt(path) !== undefined;
  if (replaces) {
    rmSync(aside, { recursive: true, force: true });
    moveAside(path);
  }
  try {
    renameSync(finished, path);
  } catch (error) {
    if (replaces) renameSync(aside, path);
    throw error;
  }
  fsyncPath(dirname(resolve(path)));
  rmSync(aside, { recursive: true, force: true });
}

/** Removes partial outputs of killed attempts beside `path`, except `keep`, and logs it. The caller holds the lock. */
export function removePartialOutputs(path: string, keep?: string): void {
  const [folder, name] = [dirname(resolve(path)), basename(resolve(path))];
  mkdirSync(folder, { recursive: true });
  let removed = 0;
  for (const entry of readdirSync(folder)) {
    const rest = entry.startsWith(`.${name}.`) ? entry.slice(name.length + 2) : '';
    if (!/^[0-9a-f]{8}([0-9a-f]{8})?\.part$/.test(rest) || entry === keep) continue;
    rmSync(join(folder, entry), { recursive: true, force: true });
    removed++;
  }
  if (removed > 0) logLine(`${path}: removed the files of an interrupted attempt`);
}
