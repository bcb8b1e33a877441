import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { Source } from '../artifacts/define-artifact.ts';
import type { Reference } from '../artifacts/description.ts';
import { digestOf } from '../artifacts/digest.ts';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { realPath } from '../artifacts/output-claim.ts';
import { FileError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { recordFiles } from '../data/recordio.ts';
import { describeDatasetAt } from './describe-dataset.ts';
import { describeExperiment } from './describe-experiment.ts';
import { describeUnfinishedRun } from './describe-unfinished-run.ts';
import type { Description } from './description.ts';
import { artifactOfKind } from './kinds.ts';

/** @throws FileError if nothing that mixbct makes or reads stands there, or it is damaged. */
export async function describePath(path: string): Promise<Description> {
  if (existsSync(join(path, MANIFEST))) return await describeArtifact(path);
  const { prefix, rec, idx } = recordFiles(path);
  if (existsSync(rec) || existsSync(idx)) return describeDatasetAt(prefix);
  if (!existsSync(path)) throw new FileError(path, `no such file or folder, ${WANTED}`);
  if (!statSync(path).isDirectory()) throw new FileError(path, `is a file, ${WANTED}`, HINTS[extname(path)]);
  const { hasCheckpoint } = await import('../runs/run-artifact.ts');
  if (hasCheckpoint(path)) return describeUnfinishedRun(path, sizeOf(path));
  const experiment = describeExperiment(path, sizeOf(path));
  if (experiment) return experiment;
  try {
    return describeDatasetAt(path);
  } catch (error) {
    const inside = describableIn(path);
    if (inside.length === 0) throw error;
    throw new FileError(
      path,
      `is a folder of ${formatCount(inside.length, 'thing')} to describe: ${inside.join(', ')}`,
      [`mixbct info ${join(path, inside[0]!)}`],
    );
  }
}

const WANTED = 'wanted a run, a feature set or what is derived from one, an evaluation, an experiment or a data set';

/** The artefacts and record sets in a folder, by name. */
const describableIn = (path: string): readonly string[] =>
  readdirSync(path)
    .filter((name) => name.endsWith('.rec') || existsSync(join(path, name, MANIFEST)))
    .map((name) => name.replace(/\.rec$/, ''))
    .sort();

/** What reads a file, by its extension. */
const HINTS: Readonly<Record<string, string>> = {
  '.yaml': 'what an experiment file would run: mixbct run FILE --out FOLDER --dry-run',
  '.pt': 'to use a model: mixbct import-model FILE --network NAME --out FOLDER',
  '.safetensors': 'to use a model: mixbct import-model FILE --network NAME --out FOLDER',
  '.npy': 'to use embeddings: mixbct import-features FILE --labels FILE --out FOLDER',
};

async function describeArtifact(path: string): Promise<Description> {
  const kind = (readJson(join(path, MANIFEST)) as { readonly kind?: unknown } | null)?.kind;
  const artifact = typeof kind === 'string' ? await artifactOfKind(kind) : null;
  if (!artifact) throw new FileError(join(path, MANIFEST), `is of no kind that this mixbct knows (${kind}), ${WANTED}`);
  const { mixbct, madeFrom = [], facts, sources, command = artifact.command } = artifact.describe(path);
  return {
    path,
    kind: artifact.kind,
    name: artifact.name.replace(/^an? /, ''),
    facts,
    sources: withPlaces(sources, madeFrom, path),
    madeBy: { command, mixbct },
    ...sizeOf(path),
  };
}

/** Sources with the places that were recorded of them, and those that only have a place. */
function withPlaces(sources: readonly Reference[], recorded: readonly Source[], path: string): Reference[] {
  const placed = recorded.map((source) => ({ ...source, path: join(realPath(path), source.path) }));
  const placeOf = ({ kind, digest }: Reference) =>
    placed.find((source) => source.kind === kind && isContent(kind, digest, source.digest ?? null));
  const known = new Set(sources.map(placeOf));
  return [
    ...placed.filter((source) => !known.has(source)),
    ...sources.map((source) => ({ ...source, ...placeOf(source) })),
  ];
}

/** Whether a digest names some content. Embeddings in the old space name a model by its digest and the space. */
export const isContent = (kind: string, digest: string | undefined, content: string | null): boolean =>
  content !== null && (digest === content || (kind === 'run' && digest === digestOf(content, 'old')));

/** Size of a folder, links not followed. */
function sizeOf(path: string): Pick<Description, 'bytes' | 'files'> {
  let [bytes, files] = [0, 0];
  for (const entry of readdirSync(path, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) {
      bytes += lstatSync(join(entry.parentPath, entry.name)).size;
      files++;
    }
  return { bytes, files };
}
