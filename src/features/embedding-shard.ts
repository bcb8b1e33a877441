import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { canonicalJson, digestOf, RunningDigest } from '../artifacts/digest.ts';
import { type IdList, readIds, writeIds } from '../artifacts/id-list.ts';
import { kindAt } from '../artifacts/manifest.ts';
import { headObject } from '../artifacts/object-store.ts';
import { isObjectUrl } from '../artifacts/object-url.ts';
import type { OverwriteOptions } from '../artifacts/output-claim.ts';
import { bytesOf } from '../base/bytes-of.ts';
import { mapConcurrently } from '../base/concurrent.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { formatCount, logLine } from '../base/progress.ts';
import type { FileState, ImageSet } from '../data/dataset.ts';
import type { Encoder } from '../encoders/index.ts';
import { type AppendOptions, appendEmbeddings, type RowRange } from './append-embeddings.ts';
import {
  type EmbeddingPlan,
  type EmbeddingShardInfo,
  embeddingShardArtifact,
  planOf,
} from './embedding-shard-artifact.ts';
import { npyTypes } from './feature-set.ts';
import { featureFiles, modelOf, preprocessingOf, rowBytes } from './feature-set-artifact.ts';
import { missingPositions, readSavedMissingRows, removeSavedMissingRows } from './missing-rows.ts';
import { NpyFile, readNpy, writeNpy } from './npy.ts';
import { resumeOf, writeRows } from './rows-writer.ts';
import type { Shard } from './shard.ts';

export type ShardOptions = Pick<AppendOptions, 'batchSize' | 'workers' | 'skipBadImages' | 'signal'> & {
  /** `mean`: of each image and its mirror. */
  readonly flip?: 'none' | 'mean';
  /** Store float16. */
  readonly half?: boolean;
};

/** What decides the embeddings of a list, for all of its shards. */
export function embeddingPlan(
  images: ImageSet,
  encoder: Encoder,
  { batchSize = 256, flip = 'none', half = false }: ShardOptions,
  shards: number,
): EmbeddingPlan {
  const [ids, paths] = [new RunningDigest(), new RunningDigest()];
  let named = true; // by their paths
  for (let i = 0; i < images.size; i++) {
    ids.update(images.id(i)).endPart();
    paths.update(images.name(i)).endPart();
    named &&= images.id(i) === images.name(i);
  }
  return {
    dim: encoder.dim,
    total: images.size,
    list: ids.end(),
    ...(!named && { paths: paths.end() }),
    ...{ shards, batchSize, flip },
    model: modelOf(encoder),
    preprocessing: preprocessingOf({}, encoder),
    dtype: half ? 'float16' : 'float32',
    precision: encoder.precision,
  };
}

/** The images of a shard: whole batches of the list. */
function rangeOf({ total, batchSize, shards }: EmbeddingPlan, shard: number): RowRange {
  const batches = Math.ceil(total / batchSize);
  const edge = (s: number): number => Math.min(total, Math.floor((batches * s) / shards) * batchSize);
  return { from: edge(shard - 1), to: edge(shard) };
}

/** Where a shard stands beside the output that all of them are for. */
export const shardPath = (out: string, { shard, shards }: Shard): string => `${out}.shard-${shard}-of-${shards}`;

type WriteShardOptions = Pick<Required<OverwriteOptions>, 'force' | 'inputs'> & {
  readonly shard: number;
  /** When a finished shard of the same plan is left as it is: if no file of its images has changed since, or always. */
  readonly keepFinished: 'unchanged' | 'always' | 'never';
  /** How often its rows will stand on this disk: 2 where a file is made of them. */
  readonly copies: 1 | 2;
};

/**
 * Embeds the images of one shard into a folder. An attempt that was killed or failed goes on where it stopped, before the first image whose file has changed since.
 * @throws FileError if files of the shard are not there or unreadable, unless `skipBadImages`; Interrupted if `signal` fires.
 */
export async function writeShard(
  path: string,
  images: ImageSet,
  encoder: Encoder,
  plan: EmbeddingPlan,
  { shard, force, keepFinished, inputs, copies, ...options }: ShardOptions & WriteShardOptions,
): Promise<EmbeddingShardInfo> {
  const { skipBadImages = false } = options;
  const range = rangeOf(plan, shard);
  const finished = finishedShard(path, plan, shard);
  const isWhole = finished !== null && (skipBadImages || finished.missing.length === 0);
  if (isWhole && keepFinished === 'always') return keptShard(path, finished);
  const states = await fileStates(images, range);
  const statesDigest = digestOf(bytesOf(states));
  if (isWhole && keepFinished === 'unchanged' && finished.states === statesDigest) return keptShard(path, finished);
  const { batchSize, dim, dtype, flip } = plan;
  const count = range.to - range.from;
  if (!skipBadImages) requireFiles(images, range, states);
  const id = (row: number): string => images.id(range.from + row);
  const valid = (directory: string): number =>
    Math.min(
      firstChanged(directory, states),
      // unless images may be skipped, unreadable ones of an earlier attempt are read again
      skipBadImages ? count : (readSavedMissingRows(directory)[0]?.row ?? count),
    );
  const identity = canonicalJson({ ...plan, shard });
  const target = { path, count, dim, dtype, id, resume: { identity, step: batchSize, valid } };
  const bytes = copies * count * rowBytes(plan);
  const how = { force, inputs, bytes, ...resumeOf(target) };
  return await embeddingShardArtifact.write(path, how, async (directory) => {
    const { missing } = await writeRows(target, directory, async (builder) => {
      writeNpy(statesPath(directory), '<f8', states);
      const task = { ...options, title: 'embed', flip, batchSize, range };
      builder.markMissing(await appendEmbeddings(images, encoder, builder, task));
    });
    removeSavedMissingRows(directory);
    rmSync(statesPath(directory));
    const at = featureFiles(directory);
    writeIds(
      at.ids,
      Array.from({ length: count }, (_, row) => id(row)),
    );
    const files = { [basename(at.ids)]: cachedFileDigest(at.ids) };
    const digests = { digest: cachedFileDigest(at.features), files, states: statesDigest };
    return { ...plan, shard, count, missing: [...missing], ...digests };
  });
}

function keptShard(path: string, finished: EmbeddingShardInfo): EmbeddingShardInfo {
  logLine(`${path}: is finished already`);
  return finished;
}

/** The shard that stands at `path`, if it is finished and of this plan. @throws FileError if it is damaged */
function finishedShard(path: string, plan: EmbeddingPlan, shard: number): EmbeddingShardInfo | null {
  if (kindAt(path) !== embeddingShardArtifact.kind) return null;
  const info = embeddingShardArtifact.open(path);
  if (!isShardOf(info, plan, shard)) return null;
  embeddingShardArtifact.verify(path, info);
  return info;
}

/** Whether a shard is this one of a plan. */
export const isShardOf = (info: EmbeddingShardInfo, plan: EmbeddingPlan, shard: number): boolean =>
  canonicalJson([planOf(info), info.shard]) === canonicalJson([plan, shard]);

/** Where an unfinished shard keeps the states of its images' files. */
const statesPath = (directory: string): string => join(directory, 'file-states.npy');

/** Size and time of change of each image's file, flat [2 · rows]; NaN where there is none. */
async function fileStates(images: ImageSet, { from, to }: RowRange): Promise<Float64Array> {
  const states = new Float64Array(2 * (to - from)).fill(Number.NaN);
  const objects: number[] = [];
  const set = (i: number, state: FileState): void => states.set(state, 2 * (i - from));
  for (let i = from; i < to; i++) {
    const listed = images.fileState?.(i);
    const path = images.name(i);
    if (listed) set(i, listed);
    else if (isObjectUrl(path)) objects.push(i);
    else {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found) set(i, [found.size, found.mtimeMs]);
    }
  }
  await mapConcurrently(objects, REQUESTS, async (i) => {
    const found = await headObject(images.name(i));
    if (found) set(i, [found.size, found.changedMs]);
  });
  return states;
}

/** Requests to object storage at a time. */
const REQUESTS = 32;

/** The first row whose file is not as it was in an earlier attempt. */
function firstChanged(directory: string, states: Float64Array): number {
  if (!existsSync(statesPath(directory))) return 0;
  const { data: before } = readNpy(statesPath(directory), ['<f8']);
  const at = states.findIndex((state, i) => !Object.is(state, before[i]));
  return at < 0 ? states.length / 2 : Math.floor(at / 2);
}

/** Images that a message names. */
const NAMED = 10;

/** @throws FileError naming files that are not there. */
function requireFiles(images: ImageSet, { from }: RowRange, states: Float64Array): void {
  const lost: number[] = [];
  for (let row = 0; row < states.length / 2; row++) if (Number.isNaN(states[2 * row])) lost.push(from + row);
  if (lost.length === 0) return;
  const names = lost.slice(0, NAMED).map((i) => `\n  ${images.name(i)}`);
  throw new FileError(
    images.path,
    `${formatCount(lost.length, 'image is', 'images are')} not there:${names.join('')}${lost.length > NAMED ? '\n  …' : ''}`,
    ['correct the paths', optionHint('pass --skip-bad-images to go on without them')],
  );
}

/** A finished shard, for reading. */
export class EmbeddingShard implements Disposable {
  readonly path: string;
  readonly info: EmbeddingShardInfo;
  readonly ids: IdList;
  readonly missing: ReadonlySet<number>;
  readonly #file: NpyFile<'<f2' | '<f4'>;

  /** @throws FileError if there is no finished shard at `path`, or its files are not those that its manifest describes. */
  constructor(path: string) {
    this.path = path;
    this.info = openShard(path);
    const { count, dim, dtype, missing } = this.info;
    embeddingShardArtifact.verify(path, this.info);
    this.missing = missingPositions(path, missing, count);
    this.ids = readIds(featureFiles(path).ids, count);
    this.#file = new NpyFile<'<f2' | '<f4'>(featureFiles(path).features, [npyTypes[dtype]]);
    if (String(this.#file.shape) === String([count, dim])) return;
    this.close();
    throw new FileError(
      featureFiles(path).features,
      `has shape [${this.#file.shape.join(', ')}], the manifest says [${count}, ${dim}]`,
      embeddingShardArtifact.again,
    );
  }

  /** Rows as they are stored, flat. */
  rows(from: number, count: number): Float32Array | Uint16Array {
    return this.#file.read(from, count);
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function openShard(path: string): EmbeddingShardInfo {
  if (!existsSync(path) && isUnfinished(path))
    throw new UserError(`${path}: this shard is unfinished`, {
      hint: 'give its command again: it goes on where it stopped',
    });
  return embeddingShardArtifact.open(path);
}

/** Whether an unfinished attempt at `path` stands beside it. */
export function isUnfinished(path: string): boolean {
  const [folder, name] = [dirname(resolve(path)), basename(resolve(path))];
  if (!existsSync(folder)) return false;
  return readdirSync(folder).some((entry) => entry.startsWith(`.${name}.`) && entry.endsWith('.part'));
}
