import { rmSync } from 'node:fs';
import { canonicalJson, RunningDigest } from '../artifacts/digest.ts';
import { requireDiskSpace, StagedFiles } from '../artifacts/durable-write.ts';
import { idLines } from '../artifacts/id-list.ts';
import { jsonText } from '../artifacts/json-file.ts';
import { UserError } from '../base/errors.ts';
import { formatCount, logLine } from '../base/progress.ts';
import { version as mixbct } from '../base/version.ts';
import { type EmbeddingBlock, encodings } from './embedding-encodings.ts';
import { EMBEDDINGS, embeddingFiles, formatOf } from './embedding-files.ts';
import type { EmbeddingShard } from './embedding-shard.ts';
import { type EmbeddingPlan, planOf } from './embedding-shard-artifact.ts';
import { type AppliedAdapter, rowBytes } from './feature-set-artifact.ts';
import type { MissingRow } from './missing-rows.ts';

/** Numbers of a block of rows, and of a row group of a Parquet file. */
const BLOCK_NUMBERS = 1 << 21;

/** What the embeddings of a list are, as the description beside them tells. */
export type EmbeddingsInfo = Omit<EmbeddingPlan, 'shards' | 'total' | 'paths'> & {
  readonly kind: typeof EMBEDDINGS;
  readonly version: 1;
  readonly mixbct: string;
  /** Images with an embedding, and without. */
  readonly count: number;
  readonly skipped: number;
  /** Absent: the embeddings are as the model made them. */
  readonly adapter?: AppliedAdapter | undefined;
  /** Of the file, and of a .npy's ids, so that files of several attempts are not taken for one. Absent: an older file. */
  readonly digests?: { readonly embeddings: string; readonly ids?: string | undefined } | undefined;
};

/**
 * Writes the embeddings of all shards of a list as one file, in the format of its ending, with what stands beside it. The
 * bytes do not depend on how many shards there were. The caller holds the lock of `out`.
 * @throws UserError if no image has an embedding; DiskFullError
 */
export function writeEmbeddings(out: string, shards: readonly EmbeddingShard[]): EmbeddingsInfo {
  const { shards: _, paths: __, total, ...plan } = planOf(shards[0]!.info);
  const skipped = shards.flatMap(({ info }) => info.missing);
  const count = total - skipped.length;
  if (count === 0)
    throw new UserError(`${out}: none of ${formatCount(total, 'image')} has an embedding`, {
      hint: `the first: ${skipped[0]!.id} (${skipped[0]!.problem})`,
    });
  const info: EmbeddingsInfo = { kind: EMBEDDINGS, version: 1, mixbct, count, skipped: skipped.length, ...plan };
  const written = writeEmbeddingFiles(out, info, { ids: idsOf(shards), blocks: blocksOf(shards, plan), skipped });
  if (skipped.length > 0)
    logLine(
      `${out}: ${formatCount(skipped.length, 'image is', 'images are')} skipped, listed in ${embeddingFiles(out).skipped}`,
    );
  return written;
}

/** An image without an embedding, and why. */
export type SkippedImage = Pick<MissingRow, 'id' | 'problem'>;

type EmbeddingContent = {
  readonly ids: Iterable<string>;
  readonly blocks: Iterable<EmbeddingBlock>;
  /** Images without an embedding. */
  readonly skipped: readonly SkippedImage[];
};

/**
 * Writes a file of embeddings, in the format of its ending, with what stands beside it: all of them are replaced together, when
 * all are written. The caller holds the lock of `out`. → the description, with the digests of what was written
 * @throws UserError if the disk has too little space; DiskFullError
 */
export function writeEmbeddingFiles(
  out: string,
  { digests: _, ...info }: EmbeddingsInfo,
  { ids, blocks, skipped }: EmbeddingContent,
): EmbeddingsInfo {
  const format = formatOf(out);
  const at = embeddingFiles(out);
  requireDiskSpace(out, rowBytes(info) * info.count);
  using files = new StagedFiles();
  const write = (path: string, chunks: Iterable<Uint8Array>): string => {
    const digest = new RunningDigest();
    files.write(path, digesting(chunks, digest));
    return digest.end();
  };
  const embeddings = write(out, encodings[format]({ ...info, description: canonicalJson(info) }, blocks));
  const digests = { embeddings, ...(format === '.npy' && { ids: write(at.ids, idLines(ids)) }) };
  if (skipped.length > 0)
    files.write(at.skipped, skipped.map(({ id, problem }) => `${JSON.stringify({ id, problem })}\n`).join(''));
  files.write(at.description, jsonText({ ...info, digests })); // the first to be replaced: a mixture has none of its digests
  files.replace();
  if (skipped.length === 0) rmSync(at.skipped, { force: true });
  return { ...info, digests };
}

/** Chunks as they are, while a digest takes them in. */
function* digesting(chunks: Iterable<Uint8Array>, digest: RunningDigest): Iterable<Uint8Array> {
  for (const chunk of chunks) {
    digest.update(chunk);
    yield chunk;
  }
}

/** Numbers of rows in a block, whatever they come from. */
export const rowsOfBlock = (dim: number): number => Math.max(1, Math.floor(BLOCK_NUMBERS / dim));

/** Blocks of a fixed size, whatever shards the rows come from. */
function* blocksOf(
  shards: readonly EmbeddingShard[],
  { dim, dtype }: Pick<EmbeddingPlan, 'dim' | 'dtype'>,
): Iterable<EmbeddingBlock> {
  const most = rowsOfBlock(dim);
  const Numbers = dtype === 'float16' ? Uint16Array : Float32Array;
  let [ids, rows]: [string[], Float32Array | Uint16Array] = [[], new Numbers(0)];
  for (const shard of shards)
    for (let from = 0; from < shard.info.count; from += most) {
      const read = shard.rows(from, Math.min(most, shard.info.count - from));
      for (let row = 0; row < read.length / dim; row++) {
        if (shard.missing.has(from + row)) continue;
        if (ids.length === 0) rows = new Numbers(most * dim);
        rows.set(read.subarray(row * dim, (row + 1) * dim), ids.length * dim);
        if (ids.push(shard.ids.at(from + row)) < most) continue;
        yield { ids, rows };
        ids = [];
      }
    }
  if (ids.length > 0) yield { ids, rows: rows.subarray(0, ids.length * dim) };
}

function* idsOf(shards: readonly EmbeddingShard[]): Iterable<string> {
  for (const { info, ids, missing } of shards)
    for (let row = 0; row < info.count; row++) if (!missing.has(row)) yield ids.at(row);
}
