import { randomBytes } from 'node:crypto';
import { type Dirent, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fsyncTree, requireDiskSpace, toDiskFullError } from './durable-write.ts';
import { writeJson } from './json-file.ts';
import { kindAt, MANIFEST, manifestAt } from './manifest.ts';
import {
  claimOutput,
  type OutputKind,
  type OverwriteOptions,
  removePartialOutputs,
  replaceFolder,
} from './output-claim.ts';
import type { OutputLock } from './output-lock.ts';

/** Keeps the folder of a failed or killed attempt for the next one with the same key. */
export type Resume = {
  /** Digest of all that decides what is made. Folders of other keys are removed. */
  readonly key: string;
  /** Whether what a failed attempt left in its folder is worth keeping. */
  readonly isWorthKeeping: (directory: string) => boolean;
};

export type ArtifactOptions = OverwriteOptions & {
  /** `kind` of its manifest: `force` replaces an artefact of this kind only. */
  readonly kind: string;
  readonly resume?: Resume;
  /** Bytes it will take, if that is known: checked before anything is made. */
  readonly bytes?: number;
  /** The output's lock, if the caller holds it already. */
  readonly lock?: OutputLock;
};

/** How `--force` recognises artefacts of a kind: by their manifest. */
export const outputKindOf = (kind: string): OutputKind => ({
  description: `a finished artefact of the kind "${kind}" (its ${MANIFEST} tells)`,
  matches: (path) => kindAt(path) === kind,
  foreignEntry: (path) => {
    const contents = manifestAt(path)?.['contents'];
    const isOurs = Array.isArray(contents)
      ? (entry: Dirent) => (entry.isFile() && entry.name === MANIFEST) || contents.includes(contentName(entry))
      : (entry: Dirent) => entry.isFile() && OURS.test(entry.name);
    return readdirSync(path, { withFileTypes: true }).find((entry) => !isOurs(entry))?.name;
  },
});

/** How a manifest lists a file or a folder of an artefact; null: what no artefact holds, such as a link. */
export const contentName = (entry: Dirent): string | null =>
  entry.isFile() ? entry.name : entry.isDirectory() ? `${entry.name}/` : null;

/** Endings of the files of artefacts whose manifest does not list them. They hold no folders. */
const OURS = /\.(npy|json|jsonl|html|md|svg|png|safetensors)$/;

/**
 * Makes one artefact directory: `make` fills a temporary folder beside `path`. The manifest is written last, the folder is synced
 * and renamed to `path`. One process at a time does that. If `make` throws, nothing remains (except what `resume` keeps) and
 * the previous output is untouched.
 *
 * @throws UserError if another process writes `path`, what stands there may not be replaced (`requireReplaceable`) or the
 * disk is full.
 */
export async function writeArtifact<M extends object>(
  path: string,
  { kind, resume, bytes = 0, lock, ...replacing }: ArtifactOptions,
  make: (directory: string) => Promise<M> | M,
): Promise<M> {
  const target = resolve(path);
  using _ = lock ? null : claimOutput(path, outputKindOf(kind), replacing);
  const name = `.${basename(target)}.${resume?.key ?? randomBytes(4).toString('hex')}.part`;
  const temporary = join(dirname(target), name);
  removePartialOutputs(path, name);
  try {
    if (!existsSync(temporary)) requireDiskSpace(path, bytes);
    mkdirSync(temporary, { recursive: true });
    const manifest = await make(temporary);
    writeJson(join(temporary, MANIFEST), manifest);
    fsyncTree(temporary);
    replaceFolder(temporary, target);
    return manifest;
  } catch (error) {
    if (!resume?.isWorthKeeping(temporary)) rmSync(temporary, { recursive: true, force: true });
    throw toDiskFullError(path, error);
  }
}
