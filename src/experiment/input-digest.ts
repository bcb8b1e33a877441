import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import type { Dataset } from '../data/dataset.ts';
import { openDataset } from '../data/open-dataset.ts';
import { recordFiles } from '../data/recordio.ts';

/** Fields of manifests that differ between two makings of the same. */
const INCIDENTAL = new Set(['path', 'seconds', 'dataWaitShare']);
const essential = (key: string, value: unknown): unknown => (INCIDENTAL.has(key) ? undefined : value);

/** Which values of a manifest count; the others become undefined. */
type Kept = (key: string, value: unknown) => unknown;

/**
 * What a stage's inputs are told apart by: the manifest of an artefact, the bytes of a file, the content of a data set.
 * @throws FileError if nothing of that stands at `place`
 */
export function digestAt(place: string, kept: Kept = essential): string {
  const found = artifactDigest(place, kept) ?? (existsSync(recordFiles(place).idx) ? undefined : bytesDigest(place));
  if (found !== undefined) return found;
  using dataset = openDataset(place);
  return datasetDigest(dataset);
}

/** Of a file or an artefact that a setting names; undefined if neither stands there. */
export const digestOfNamedFile = (path: string): string | undefined =>
  artifactDigest(path, essential) ?? bytesDigest(path);

function artifactDigest(place: string, kept: Kept): string | undefined {
  const manifest = join(place, MANIFEST);
  if (!existsSync(manifest)) return undefined;
  return digestOf(canonicalJson(JSON.parse(JSON.stringify(readJson(manifest), kept))));
}

const bytesDigest = (place: string): string | undefined =>
  statSync(place, { throwIfNoEntry: false })?.isFile() ? cachedFileDigest(place) : undefined;

/** Between the digest of a record set's images and that of its names and ids. */
const AND = '+';

/** Of images, and in a record set of the names of classes and families and of ids, which artefacts record as well. */
const datasetDigest = ({ digest, descriptionDigest }: Dataset): string =>
  descriptionDigest === undefined ? digest : `${digest}${AND}${descriptionDigest ?? 'none'}`;

/** An input's digest as it was recorded before names and ids of record sets counted. */
export const withoutDescription = (digest: string): string => digest.split(AND)[0]!;
