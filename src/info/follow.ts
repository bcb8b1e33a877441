import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { contentDigestIn } from '../artifacts/define-artifact.ts';
import type { Reference } from '../artifacts/description.ts';
import { manifestAt } from '../artifacts/manifest.ts';
import { realPath } from '../artifacts/output-claim.ts';
import { UserError } from '../base/errors.ts';
import { openDataset } from '../data/open-dataset.ts';
import { recordFiles } from '../data/recordio.ts';
import { describePath, isContent } from './describe.ts';
import { quickDigest } from './describe-dataset.ts';
import type { Description } from './description.ts';

/** A source of a thing, as far as it can be followed. */
export type Link = {
  readonly kind: string;
  readonly name: string | null;
  /** As it is recorded. */
  readonly digest: string | null;
  readonly note: string | null;
  /** Where it stands now; null if it was not found. */
  readonly path: string | null;
  /** Why it cannot be followed, or what makes it doubtful; null if nothing does. */
  readonly problem: string | null;
  /** Its own sources. */
  readonly sources: readonly Link[];
  /** They are told where it was met before. */
  readonly isRepeated?: boolean;
};

/** Folders that are looked through for something of a known digest. */
const MOST_FOLDERS = 500;

/** The chain from a thing back to the datasets. Links that `seen` has, by real path, are not followed again. */
export async function followSources(
  { path, sources }: Pick<Description, 'path' | 'sources'>,
  seen: Set<string> = new Set([realPath(path)]),
): Promise<readonly Link[]> {
  const links: Link[] = [];
  for (const source of sources) links.push(await follow(source, path, seen));
  return links;
}

async function follow(source: Reference, from: string, seen: Set<string>): Promise<Link> {
  const { kind, name = null, digest = null, note = null } = source;
  const { path, problem } = find(source, from);
  const about = { kind, name, digest, note, path, problem };
  if (path === null || kind === 'file')
    return { ...about, sources: await followSources({ path: from, sources: source.sources ?? [] }, seen) };
  if (seen.has(realPath(path))) return { ...about, sources: [], isRepeated: true };
  seen.add(realPath(path));
  try {
    return { ...about, sources: await followSources(await describePath(path), seen) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { ...about, problem: error.problem, sources: [] };
  }
}

type Found = { readonly path: string | null; readonly problem: string | null };

/** Where a source stands: at its recorded place, or near what was made from it if something there has its digest. */
function find(source: Reference, from: string): Found {
  const { kind, digest, path } = source;
  const places = path === undefined ? [] : placesOf(path, from).filter((place) => stands(kind, place));
  if (kind === 'file') return places[0] ? { path: places[0], problem: null } : { path: null, problem: gone(source) };
  for (const place of places)
    if (digest === undefined || isContent(kind, digest, contentAt(kind, place))) return { path: place, problem: null };
  const near = digest === undefined ? undefined : nearby(from, kind, digest);
  if (near !== undefined) return { path: near, problem: null };
  const [place] = places;
  if (place === undefined) return { path: null, problem: gone(source) };
  const content = contentAt(kind, place);
  if (content === null) return { path: place, problem: 'whether it is the same is not known: its digest was not read' };
  return { path: null, problem: `what stands at ${place} now is another one (digest ${content})` };
}

const gone = ({ path, digest }: Reference): string =>
  path !== undefined
    ? `not found at ${path}`
    : digest !== undefined
      ? 'its place is not recorded, and nothing near has this digest'
      : 'its place is not recorded';

/** Paths are recorded as commands were given them: from the working folder then, which often holds what was made. */
function placesOf(path: string, from: string): string[] {
  const places = [resolve(path)];
  for (let folder = dirname(resolve(from)); places.at(-1) !== join(folder, path); folder = dirname(folder)) {
    places.push(join(folder, path));
    if (folder === dirname(folder)) break;
  }
  return places;
}

const stands = (kind: string, place: string): boolean =>
  kind === 'dataset' ? existsSync(place) || existsSync(recordFiles(place).idx) : existsSync(place);

/** What names the content of what stands at a place; null if nothing does, or it is too much to read. */
function contentAt(kind: string, place: string): string | null {
  if (kind !== 'dataset') {
    const manifest = manifestAt(place);
    return manifest?.['kind'] === kind ? contentDigestIn(manifest) : null;
  }
  try {
    using dataset = openDataset(place);
    return quickDigest(dataset);
  } catch (error) {
    if (error instanceof UserError) return null;
    throw error;
  }
}

/** Something of a kind and digest in the folder of what was made from it, or in a folder beside that one. */
function nearby(from: string, kind: string, digest: string): string | undefined {
  const home = dirname(resolve(from));
  const folders = [home, dirname(home)].flatMap((folder) => [folder, ...foldersIn(folder)]);
  const places = [...new Set(folders)].slice(0, MOST_FOLDERS);
  const candidates = kind === 'dataset' ? places.flatMap(recordSetsIn) : places;
  return candidates.find((place) => isContent(kind, digest, contentAt(kind, place)));
}

function entriesOf(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return []; // of another user, or gone
  }
}

const foldersIn = (folder: string): string[] =>
  entriesOf(folder).flatMap((entry) => (entry.isDirectory() ? [join(folder, entry.name)] : []));

const recordSetsIn = (folder: string): string[] =>
  entriesOf(folder).flatMap(({ name }) => (name.endsWith('.idx') ? [join(folder, name.slice(0, -4))] : []));
