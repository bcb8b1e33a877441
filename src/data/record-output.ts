import { closeSync, existsSync, lstatSync, mkdirSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'; // biome-ignore format: short
import { basename, dirname, join, resolve } from 'node:path';
import { readJson, writeJson } from '../base/artifact.ts';
import { asDiskFull, requireRoom, sync, syncTree } from '../base/durable-write.ts';
import { type Replacing, requireReplaceable } from '../base/output-claim.ts';
import { lockOutputs } from '../base/output-lock.ts';
import { say } from '../base/progress.ts';
import type { Dataset } from './dataset.ts';
import { RECORD_MAGIC, type RecordWriter, recordFiles, writeRecords } from './recordio.ts';
import { idsPath, type Sidecar, sidecarPath, writeSidecar } from './sidecar.ts';

/** A record set to be written. */
export type RecordSetContent = {
  /** Prefix of its files. */
  readonly prefix: string;
  readonly fill: (writer: RecordWriter) => void | Promise<void>;
  /** Its description and what its images are called; asked for after `fill`. */
  readonly about: () => { readonly sidecar: Sidecar; readonly ids?: Iterable<string> };
  /** Bytes it will take, if that is known. */
  readonly bytes?: number;
};

/** Where a set is written until it is complete, and the note in there that says so: the sets that appear together. */
const stagingOf = (prefix: string): string => join(dirname(resolve(prefix)), `.${basename(prefix)}.set.part`);
const COMPLETE = 'complete';

/**
 * Writes record sets with their descriptions: all of them appear, each with all of its files, or none. One process at a time
 * writes a set. An attempt that was killed when all were complete is brought to its end by the next one, any other is removed.
 * @throws UserError if another process writes one of them, something stands there that may not be replaced, or the disk is full.
 */
export async function writeRecordSets(sets: readonly RecordSetContent[], replacing: Replacing): Promise<void> {
  const prefixes = sets.map(({ prefix }) => recordFiles(prefix).prefix);
  const check = (): void => {
    for (const prefix of prefixes) requireReplaceableSet(prefix, replacing);
  };
  if (!prefixes.some((prefix) => existsSync(stagingOf(prefix)))) check(); // before anything is written beside them
  using _ = lockOutputs(prefixes);
  prefixes.forEach(recover);
  check();
  requireRoom(
    prefixes[0]!,
    sets.reduce((sum, { bytes = 0 }) => sum + bytes, 0),
  );
  try {
    for (const { prefix, fill, about } of sets) {
      const staged = join(stagingOf(prefix), basename(recordFiles(prefix).prefix));
      mkdirSync(stagingOf(prefix), { recursive: true });
      await writeRecords(staged, fill);
      const { sidecar, ids } = about();
      writeSidecar(staged, sidecar, ids);
      syncTree(stagingOf(prefix));
    }
    for (const prefix of prefixes) writeJson(join(stagingOf(prefix), COMPLETE), prefixes.map((one) => basename(one))); // biome-ignore format: short
  } catch (error) {
    for (const prefix of prefixes) rmSync(stagingOf(prefix), { recursive: true, force: true });
    throw asDiskFull(prefixes[0]!, error);
  }
  prefixes.forEach(appear);
  for (const prefix of prefixes) rmSync(stagingOf(prefix), { recursive: true });
}

/** Brings to its end, or removes, what a killed attempt left. */
function recover(prefix: string): void {
  const staging = stagingOf(prefix);
  if (!existsSync(staging)) return;
  const note = join(staging, COMPLETE);
  if (!existsSync(note)) {
    rmSync(staging, { recursive: true });
    say(`${prefix}: removed what an attempt that came to no end had left`);
    return;
  }
  const all = (readJson(note) as readonly string[]).map((name) => join(dirname(prefix), name));
  for (const one of all.filter((name) => existsSync(stagingOf(name)))) appear(one);
  for (const one of all) rmSync(stagingOf(one), { recursive: true, force: true });
  say(`${all.join(', ')}: brought an attempt to its end that was killed when all was written`);
}

/**
 * Moves what stands at a prefix aside, then the finished files to their names. Both can be done again from any point: the
 * folder of what was replaced has its name when all of it is in there.
 */
function appear(prefix: string): void {
  const staging = stagingOf(prefix);
  const [moving, replaced] = [join(staging, 'moving'), join(staging, 'replaced')];
  const { rec, idx } = recordFiles(prefix);
  const [ids, sidecar] = [idsPath(prefix), sidecarPath(prefix)];
  if (!existsSync(replaced)) {
    mkdirSync(moving, { recursive: true });
    for (const file of [idx, rec, sidecar, ids].filter(isThere)) renameSync(file, join(moving, basename(file)));
    renameSync(moving, replaced);
  }
  for (const file of [ids, sidecar, rec, idx]) {
    const finished = join(staging, basename(file));
    if (existsSync(finished)) renameSync(finished, file);
  }
  sync(dirname(resolve(prefix)));
}

const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

/** `requireReplaceable` for each file of a record set. */
export function requireReplaceableSet(prefix: string, replacing: Replacing): void {
  const { rec, idx } = recordFiles(prefix);
  for (const file of [rec, idx, sidecarPath(prefix), idsPath(prefix)])
    requireReplaceable(file, { what: 'a file of a record set', is: isOfSet }, replacing);
}

function isOfSet(file: string): boolean {
  const fd = openSync(file, 'r');
  try {
    const head = Buffer.alloc(64);
    const text = head.toString('latin1', 0, readSync(fd, head));
    if (file.endsWith('.rec')) return head.readUInt32LE(0) === RECORD_MAGIC;
    if (file.endsWith('.idx')) return /^\d+\t\d+/.test(text);
    return /^("|\{\s*"format":\s*"mixbct-dataset")/.test(text);
  } finally {
    closeSync(fd);
  }
}

/** Bytes of a dataset's images on disk, about: what a copy of them takes. */
export function bytesOf({ source }: Dataset): number {
  const files = source.kind === 'records' ? [source.rec] : source.kind === 'files' ? source.files : [];
  return files.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}
