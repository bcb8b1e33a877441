import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'; // biome-ignore format: short
import { basename, dirname, join, resolve } from 'node:path';
import { fsyncPath, fsyncTree, requireDiskSpace, toDiskFullError } from '../artifacts/durable-write.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { kindAt } from '../artifacts/manifest.ts';
import { type OverwriteOptions, realPath, requireOwnPlace, requireReplaceable } from '../artifacts/output-claim.ts';
import { lockOutputs } from '../artifacts/output-lock.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { entryAt, withRegularFile } from '../base/regular-file.ts';
import type { Dataset } from './dataset.ts';
import { MOST_EXACT, packImage, RECORD_MAGIC, type RecordWriter, recordFiles, writeRecords } from './recordio.ts';
import { idsPath, type Sidecar, sidecarPath, writeSidecar } from './sidecar.ts';

/** A record set to be written. */
export type RecordSetContent = {
  /** Prefix of its files. */
  readonly prefix: string;
  readonly images: number;
  readonly classes: number;
  /** Writes the images, with the keys 1 … `images`. */
  readonly fill: (writer: RecordWriter) => void | Promise<void>;
  /** Its description and what its images are called; asked for after `fill`. */
  readonly about: () => { readonly sidecar: Sidecar; readonly ids?: Iterable<string> };
  /** Bytes it will take, if that is known. */
  readonly bytes?: number;
};

/** Folder in which a set is written, and the file that marks it complete: it lists the sets that are moved together. */
const stagingOf = (prefix: string): string => join(dirname(resolve(prefix)), `.${basename(prefix)}.set.part`);
const COMPLETE = 'complete';
/** Whether an attempt at a set was interrupted: the next one finishes or removes it. */
export const isStaged = (prefix: string): boolean => existsSync(stagingOf(prefix));

/**
 * The prefix that an output names: `sets/a`, `sets/a/`, `sets/a.rec`. @throws UserError if it is no name of a file, or that of a
 * device, pipe or socket: files beside it would not go where the words go that are written to it.
 */
export function outputPrefix(path: string): string {
  const { prefix } = recordFiles(path.replace(/\/+$/, ''));
  if (['', '.', '..'].includes(basename(prefix)))
    throw new UserError(`${path}: wanted the prefix of a data set's files, such as ${join(path || '.', 'train')}`);
  const found = entryAt(realPath(prefix));
  if (found && !found.isFile() && !found.isDirectory() && !found.isSymbolicLink())
    throw new UserError(`${path} is a device, pipe or socket: a data set is files, which would be made beside it`, {
      hint: 'name a folder that takes files, such as data/set',
    });
  return prefix;
}

/**
 * Writes record sets with their descriptions: all of them appear, each with all of its files, or none. One process at a time
 * writes a set. The next attempt finishes one that was killed when all were complete, and removes any other.
 * A set that such an attempt left is accepted if it has the same bytes, so that the same command can be repeated.
 * @throws UserError if another process writes one of them, something that may not be replaced stands there, the disk is full,
 * two sets have one name, or a record cannot hold a class count
 */
export async function writeRecordSets(asked: readonly RecordSetContent[], replacing: OverwriteOptions): Promise<void> {
  const sets = asked.map((set) => ({ ...set, prefix: outputPrefix(set.prefix) }));
  const prefixes = sets.map(({ prefix }) => prefix);
  requireDistinct(prefixes);
  sets.forEach(requireExactClasses);
  prefixes.forEach(requireSetPlace);
  const check = (some: readonly string[]): void => {
    for (const prefix of some) requireReplaceableSet(prefix, replacing);
  };
  // Before anything is written beside them. Some of several sets may be what the same command left.
  if (replacing.force || prefixes.every(isWhole)) check(prefixes.filter((prefix) => !isStaged(prefix)));
  using _ = lockOutputs(prefixes);
  const recovered = prefixes.filter(recover);
  if (replacing.force || (recovered.length === 0 && prefixes.every(isWhole))) check(prefixes);
  requireDiskSpace(
    prefixes[0]!,
    sets.reduce((sum, { bytes = 0 }) => sum + bytes, 0),
  );
  try {
    for (const { prefix, images, classes, fill, about } of sets) {
      const staged = join(stagingOf(prefix), basename(prefix));
      mkdirSync(stagingOf(prefix), { recursive: true });
      await writeRecords(staged, (writer) => {
        writer.write(0, packImage({ labels: [images + 1, classes], id: 0, image: new Uint8Array() }));
        return fill(writer);
      });
      const { sidecar, ids } = about();
      writeSidecar(staged, sidecar, ids);
      fsyncTree(stagingOf(prefix));
    }
    if (!replacing.force) check(prefixes.filter((prefix) => !standsAsStaged(prefix)));
    for (const prefix of prefixes) writeJson(join(stagingOf(prefix), COMPLETE), prefixes.map((one) => basename(one))); // biome-ignore format: short
  } catch (error) {
    for (const prefix of prefixes) rmSync(stagingOf(prefix), { recursive: true, force: true });
    throw toDiskFullError(prefixes[0]!, error);
  }
  prefixes.forEach(appear);
  const absent = prefixes.find((prefix) => !isWhole(prefix));
  if (absent !== undefined) throw new Error(`${absent}: the set has not appeared, it is in ${stagingOf(absent)}`);
  for (const prefix of prefixes) rmSync(stagingOf(prefix), { recursive: true });
}

function requireDistinct(prefixes: readonly string[]): void {
  const seen = new Set<string>();
  for (const prefix of prefixes) {
    if (seen.has(resolve(prefix))) throw new UserError(`${prefix}: two record sets would be written to this name`);
    seen.add(resolve(prefix));
  }
}

function requireExactClasses({ prefix, classes }: RecordSetContent): void {
  if (classes >= 1 && classes < MOST_EXACT) return;
  throw new UserError(`${prefix}: ${classes} classes, but a record set holds 1 to ${MOST_EXACT - 1}`, {
    hint: 'labels are float32 in RecordIO, which does not tell larger whole numbers apart',
  });
}

/** All files of a record set; the index is last, because it appears last. */
function filesOf(prefix: string): readonly string[] {
  const { rec, idx } = recordFiles(prefix);
  return [idsPath(prefix), sidecarPath(prefix), rec, idx];
}

const isWhole = (prefix: string): boolean => existsSync(recordFiles(prefix).idx);

/** Whether each file that stands at a prefix, if any, has the bytes of the finished one. */
const standsAsStaged = (prefix: string): boolean =>
  filesOf(prefix)
    .filter(entryAt)
    .every((file) => sameBytes(file, join(stagingOf(prefix), basename(file))));

function sameBytes(a: string, b: string): boolean {
  if (![a, b].every((path) => statSync(path, { throwIfNoEntry: false })?.isFile())) return false;
  if (statSync(a).size !== statSync(b).size) return false;
  const [fdA, fdB] = [openSync(a, 'r'), openSync(b, 'r')];
  try {
    const [first, second] = [Buffer.allocUnsafe(1 << 20), Buffer.allocUnsafe(1 << 20)];
    for (;;) {
      const read = readSync(fdA, first);
      if (readSync(fdB, second) !== read || first.compare(second, 0, read, 0, read) !== 0) return false;
      if (read === 0) return true;
    }
  } finally {
    closeSync(fdA);
    closeSync(fdB);
  }
}

/** Finishes or removes what a killed attempt left. → whether it was complete */
function recover(prefix: string): boolean {
  const staging = stagingOf(prefix);
  if (!existsSync(staging)) return false;
  const note = join(staging, COMPLETE);
  if (!existsSync(note)) {
    rmSync(staging, { recursive: true });
    logLine(`${prefix}: removed the files of an interrupted attempt`);
    return false;
  }
  const all = (readJson(note) as readonly string[]).map((name) => join(dirname(prefix), name));
  for (const one of all.filter((name) => existsSync(stagingOf(name)))) appear(one);
  for (const one of all) rmSync(stagingOf(one), { recursive: true, force: true });
  logLine(`${all.join(', ')}: finished an attempt that was killed after all was written`);
  return true;
}

/**
 * Moves what stands at a prefix aside, then the finished files to their names. Both can be done again from any point: the
 * folder of what was replaced has its name when all of it is in there.
 */
function appear(prefix: string): void {
  const staging = stagingOf(prefix);
  const [moving, replaced] = [join(staging, 'moving'), join(staging, 'replaced')];
  const files = filesOf(prefix);
  if (!existsSync(join(staging, basename(files.at(-1)!)))) return; // all have appeared
  if (!existsSync(replaced)) {
    mkdirSync(moving, { recursive: true });
    for (const file of files.toReversed().filter(entryAt)) renameSync(file, join(moving, basename(file)));
    renameSync(moving, replaced);
  }
  for (const file of files) {
    const finished = join(staging, basename(file));
    if (existsSync(finished)) renameSync(finished, file);
  }
  fsyncPath(dirname(resolve(prefix)));
}

/** @throws UserError if a record set would lie inside an artefact, or take the name of one. */
function requireSetPlace(prefix: string): void {
  requireOwnPlace(recordFiles(prefix).rec);
  const kind = kindAt(prefix);
  if (kind === null) return;
  throw new UserError(`${prefix}: a data set would have the name of a finished artefact of the kind "${kind}"`, {
    hint: optionHint('choose another --out'),
  });
}

/** `requireReplaceable` for each file of a record set. */
export function requireReplaceableSet(prefix: string, replacing: OverwriteOptions): void {
  requireSetPlace(prefix);
  for (const file of filesOf(prefix).toReversed())
    requireReplaceable(file, { description: 'a file of a record set', matches: isOfSet }, replacing);
}

function isOfSet(file: string): boolean {
  const head = Buffer.alloc(64);
  const text = head.toString(
    'latin1',
    0,
    withRegularFile(file, (fd) => readSync(fd, head)),
  );
  if (file.endsWith('.rec')) return head.readUInt32LE(0) === RECORD_MAGIC;
  if (file.endsWith('.idx')) return /^\d+\t\d+/.test(text);
  return /^("|\{\s*"format":\s*"mixbct-dataset")/.test(text);
}

/** About the bytes of a dataset's images on disk: the size of a copy. */
export function datasetBytes({ source }: Dataset): number {
  const files = source.kind === 'records' ? [source.rec] : source.kind === 'files' ? source.files : [];
  return files.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}
