import { existsSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { canonicalJson } from '../artifacts/digest.ts';
import type { OverwriteOptions } from '../artifacts/output-claim.ts';
import { UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import type { ImageSet } from '../data/dataset.ts';
import type { Encoder } from '../encoders/index.ts';
import { claimEmbeddingFiles, formatOf } from './embedding-files.ts';
import {
  EmbeddingShard,
  embeddingPlan,
  isUnfinished,
  type ShardOptions,
  shardPath,
  writeShard,
} from './embedding-shard.ts';
import { type EmbeddingShardInfo, planOf } from './embedding-shard-artifact.ts';
import type { Shard } from './shard.ts';
import { type EmbeddingsInfo, writeEmbeddings } from './write-embeddings.ts';

export type EmbedOptions = ShardOptions &
  OverwriteOptions & {
    /** A .npy, .jsonl or .parquet file. */
    readonly out: string;
  };

/** Where one process keeps its rows until all are there. */
const storePath = (out: string): string => join(dirname(resolve(out)), `.${basename(out)}.rows`);

/**
 * Embeds images without labels into one file, in the format of its ending. Memory holds one batch, and the ids. An attempt
 * that was killed or failed goes on where it stopped.
 * @throws FileError naming unreadable images, unless `skipBadImages`; UserError if an embedding is non-finite; Interrupted if
 * `signal` fires.
 */
export async function embedImages(images: ImageSet, encoder: Encoder, options: EmbedOptions): Promise<EmbeddingsInfo> {
  const { out, force = false, inputs = [], ...how } = options;
  formatOf(out);
  using _ = claimEmbeddingFiles(out, { force, inputs });
  const store = storePath(out);
  const plan = embeddingPlan(images, encoder, how, 1);
  const to = { ...how, shard: 1, force: true, keepFinished: 'unchanged', copies: 2, inputs: [] } as const;
  await writeShard(store, images, encoder, plan, to);
  let info: EmbeddingsInfo;
  {
    using shard = new EmbeddingShard(store);
    info = writeEmbeddings(out, [shard]);
  }
  rmSync(store, { recursive: true });
  return info;
}

/** Embeds one shard of the images into a folder beside `out`: `mergeShards` makes one file of all of them. */
export async function embedShard(
  images: ImageSet,
  encoder: Encoder,
  { shard, shards }: Shard,
  options: EmbedOptions,
): Promise<EmbeddingShardInfo> {
  const { out, force = false, inputs = [], ...how } = options;
  formatOf(out);
  const plan = embeddingPlan(images, encoder, how, shards);
  const given = inputs.filter((input) => input !== undefined);
  const to = { ...how, shard, force, keepFinished: force ? 'never' : 'always', copies: 1, inputs: given } as const;
  return await writeShard(shardPath(out, { shard, shards }), images, encoder, plan, to);
}

/**
 * Merges the shards of a list, in any order, into the bytes that one process would have written.
 * @throws UserError if one is missing, unfinished, given twice or of another list, model or options; FileError if one is damaged
 */
export function mergeShards(
  paths: readonly string[],
  out: string,
  { force = false }: OverwriteOptions = {},
): EmbeddingsInfo {
  formatOf(out);
  using _ = claimEmbeddingFiles(out, { force, inputs: paths });
  const opened: EmbeddingShard[] = [];
  try {
    for (const path of paths) opened.push(new EmbeddingShard(path));
    return writeEmbeddings(out, inOrder(opened));
  } finally {
    for (const shard of opened) shard.close();
  }
}

/** All shards, from the first to the last. */
function inOrder(opened: readonly EmbeddingShard[]): readonly EmbeddingShard[] {
  const [first] = opened as [EmbeddingShard];
  const { shards } = first.info;
  const found = new Map<number, EmbeddingShard>();
  for (const shard of opened) {
    requireSamePlan(first, shard);
    const { shard: place } = shard.info;
    const twin = found.get(place);
    if (twin) throw new UserError(`${twin.path} and ${shard.path} are both shard ${place} of ${shards}`);
    found.set(place, shard);
  }
  const places = Array.from({ length: shards }, (_, i) => i + 1);
  const absent = places.filter((place) => !found.has(place));
  if (absent.length > 0)
    throw new UserError(
      `${formatCount(absent.length, 'shard is', 'shards are')} missing: ${absentText(first, absent)}`,
      {
        hint: 'give the command of that part again: it goes on where it stopped',
      },
    );
  return places.map((place) => found.get(place)!);
}

/** Shards that a message names. */
const NAMED = 10;

function absentText({ path, info: { shards } }: EmbeddingShard, absent: readonly number[]): string {
  const named = absent.slice(0, NAMED).map((place) => {
    const beside = path.replace(/\.shard-\d+-of-\d+(?=\/*$)/, `.shard-${place}-of-${shards}`);
    const state =
      beside === path
        ? ''
        : isUnfinished(beside)
          ? ` (${beside} is unfinished)`
          : existsSync(beside)
            ? ` (${beside} was not given)`
            : '';
    return `${place} of ${shards}${state}`;
  });
  return `${named.join(', ')}${absent.length > NAMED ? ', …' : ''}`;
}

/** @throws UserError naming what differs, if two shards are not of one plan. */
function requireSamePlan(a: EmbeddingShard, b: EmbeddingShard): void {
  const [one, other] = [planOf(a.info), planOf(b.info)];
  const keys = Object.keys({ ...one, ...other }) as (keyof typeof one)[];
  const differing = keys.filter((key) => canonicalJson(one[key]) !== canonicalJson(other[key]));
  if (differing.length > 0)
    throw new UserError(`${a.path} and ${b.path} are no shards of one list: ${differing.join(', ')} differ`, {
      hint: 'embed all shards with the same model, list and options',
    });
}
