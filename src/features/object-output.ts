import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import {
  digestOfObject,
  downloadObject,
  headObject,
  listObjects,
  removeObject,
  requireReplaceableObject,
  uploadFile,
} from '../artifacts/object-store.ts';
import { isObjectUrl, objectPlace, objectUrl, requireObjectName } from '../artifacts/object-url.ts';
import type { OverwriteOptions } from '../artifacts/output-claim.ts';
import { lockOutput } from '../artifacts/output-lock.ts';
import { cacheFolder } from '../base/addon.ts';
import { mapConcurrently } from '../base/concurrent.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import type { ImageSet } from '../data/dataset.ts';
import type { Encoder } from '../encoders/index.ts';
import { type EmbedOptions, embedImages, embedShard, mergeShards } from './embed-images.ts';
import { embeddingFiles, formatOf } from './embedding-files.ts';
import { embeddingPlan, isShardOf, shardPath, writeShard } from './embedding-shard.ts';
import { type EmbeddingShardInfo, embeddingShardArtifact } from './embedding-shard-artifact.ts';
import type { Shard } from './shard.ts';
import type { EmbeddingsInfo } from './write-embeddings.ts';

/** Objects that are downloaded at a time. */
const REQUESTS = 4;

const cache = (): string => join(cacheFolder(), 's3');

/** Where an output is made before it is uploaded: the same for the same address, so that an interrupted attempt goes on. */
function stagedPath(url: string): string {
  requireObjectName(url);
  const { bucket, key } = objectPlace(url);
  return join(cache(), bucket, key);
}

/** `embedImages`, into a file or into object storage (`s3://`). */
export async function embedTo(images: ImageSet, encoder: Encoder, options: EmbedOptions): Promise<EmbeddingsInfo> {
  const { out, force: replace = false, inputs: _, ...how } = options;
  if (!isObjectUrl(out)) return await embedImages(images, encoder, options);
  formatOf(out);
  const staged = stagedPath(out);
  await requireReplaceableObject(out, { replace });
  using __ = lockOutput(`${staged}.upload`);
  const store = shardPath(staged, { shard: 1, shards: 1 });
  const plan = embeddingPlan(images, encoder, how, 1);
  // a finished one is of an attempt that could not upload it
  const to = { ...how, shard: 1, force: true, keepFinished: 'unchanged', copies: 2, inputs: [] } as const;
  await writeShard(store, images, encoder, plan, to);
  const info = mergeShards([store], staged, { force: true });
  await uploadEmbeddings(staged, out, replace);
  rmSync(store, { recursive: true });
  return info;
}

/** `embedShard`, into a folder or into object storage (`s3://`). */
export async function embedShardTo(
  images: ImageSet,
  encoder: Encoder,
  shard: Shard,
  options: EmbedOptions,
): Promise<EmbeddingShardInfo> {
  const { out, force = false, inputs: _, ...how } = options;
  if (!isObjectUrl(out)) return await embedShard(images, encoder, shard, options);
  formatOf(out);
  const url = shardPath(out, shard);
  const staged = stagedPath(url);
  const plan = embeddingPlan(images, encoder, how, shard.shards);
  const manifest = `${url}/${MANIFEST}`;
  if (!force && (await headObject(manifest))) {
    const found = await uploadedShard(url);
    const isWhole = (how.skipBadImages ?? false) || found.missing.length === 0;
    if (!isShardOf(found, plan, shard.shard) || !isWhole) await requireReplaceableObject(manifest); // says that it exists
    logLine(`${url}: is finished already`);
    return found;
  }
  using __ = lockOutput(`${staged}.upload`);
  const to = { ...how, shard: shard.shard, force: true, keepFinished: 'unchanged', copies: 1, inputs: [] } as const;
  const info = await writeShard(staged, images, encoder, plan, to);
  await removeObject(manifest); // until the last file is there, the shard is unfinished
  const names = readdirSync(staged).filter((name) => name !== MANIFEST);
  for (const name of [...names, MANIFEST]) await upload(join(staged, name), `${url}/${name}`, name !== MANIFEST);
  rmSync(staged, { recursive: true });
  return info;
}

/** `mergeShards`, from and into files or object storage. A `*` in the address of shards stands for any text without `/`. */
export async function mergeShardsTo(
  shards: readonly string[],
  out: string,
  { force = false }: OverwriteOptions = {},
): Promise<EmbeddingsInfo> {
  formatOf(out);
  const staged = isObjectUrl(out) ? stagedPath(out) : out;
  if (isObjectUrl(out)) await requireReplaceableObject(out, { replace: force });
  mkdirSync(cache(), { recursive: true });
  const folder = mkdtempSync(join(cache(), 'merge-'));
  try {
    const urls = (await Promise.all(shards.map((path) => (isObjectUrl(path) ? shardsAt(path) : [path])))).flat();
    const paths = await mapConcurrently(urls, REQUESTS, async (path) => isObjectUrl(path) ? await download(path, folder) : path); // biome-ignore format: short
    if (staged === out) return mergeShards(paths, out, { force });
    using _ = lockOutput(`${staged}.upload`);
    const info = mergeShards(paths, staged, { force: true });
    await uploadEmbeddings(staged, out, force);
    return info;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Uploads a file of embeddings with what stands beside it, and removes what was staged. The file appears last; what stands
 * beside it is replaced when the file's own bytes have arrived.
 */
async function uploadEmbeddings(staged: string, url: string, replace: boolean): Promise<void> {
  const [from, to] = [embeddingFiles(staged), embeddingFiles(url)];
  await upload(staged, url, replace, async () => {
    for (const name of ['description', 'ids', 'skipped'] as const)
      if (from[name] === from.embeddings) continue;
      else if (existsSync(from[name])) await upload(from[name], to[name], true);
      else await removeObject(to[name]);
  });
  for (const path of Object.values(from)) rmSync(path, { force: true });
}

async function upload(file: string, url: string, replace: boolean, beforeLast?: () => Promise<void>): Promise<void> {
  await uploadFile(file, url, { replace, digest: cachedFileDigest(file), beforeLast });
}

/** The addresses of shards that a pattern names; without `*` itself. */
async function shardsAt(pattern: string): Promise<readonly string[]> {
  const address = pattern.replace(/\/+$/, '');
  const star = address.indexOf('*');
  if (star < 0) return [address];
  const escaped = address.split('*').map((text) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const fits = new RegExp(`^${escaped.join('[^/]*')}/${MANIFEST.replace('.', '\\.')}$`, 's');
  const found: string[] = [];
  for await (const { url } of listObjects(address.slice(0, star))) if (fits.test(url)) found.push(url.slice(0, -MANIFEST.length - 1)); // biome-ignore format: short
  if (found.length > 0) return found;
  throw new FileError(pattern, 'no finished shard has this name', 'make one with: mixbct embed');
}

/** The manifest of a shard in object storage, whose files are there with the digests that it names. */
async function uploadedShard(url: string): Promise<EmbeddingShardInfo> {
  mkdirSync(cache(), { recursive: true });
  const folder = mkdtempSync(join(cache(), 'manifest-'));
  try {
    await downloadObject(`${url}/${MANIFEST}`, join(folder, MANIFEST));
    const info = embeddingShardArtifact.open(folder);
    for (const [name, digest] of Object.entries(embeddingShardArtifact.digests(info))) {
      const found = await headObject(`${url}/${basename(name)}`);
      if (!found || digestOfObject(found) !== digest)
        throw new FileError(`${url}/${name}`, found ? 'was changed since it was made' : 'no such object', optionHint('pass --force to make the shard again')); // biome-ignore format: short
    }
    return info;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Downloads a shard into a folder. → where it stands there */
async function download(url: string, folder: string): Promise<string> {
  const { bucket, key } = objectPlace(url);
  const path = join(folder, bucket, key);
  requireObjectName(url);
  mkdirSync(path, { recursive: true });
  if (!(await headObject(`${url}/${MANIFEST}`)))
    throw new UserError(`${url}: no finished shard is there`, { hint: 'make one with: mixbct embed' });
  await downloadObject(`${url}/${MANIFEST}`, join(path, MANIFEST));
  for (const name of Object.keys(embeddingShardArtifact.digests(embeddingShardArtifact.open(path))))
    await downloadObject(objectUrl({ bucket, key: `${key}/${basename(name)}` }), join(path, basename(name)));
  return path;
}
