import { extname } from 'node:path';
import { Adapter } from '../adapt/index.ts';
import { toHalf } from '../base/half.ts';
import { progressIfLong } from '../base/progress.ts';
import { version as mixbct } from '../base/version.ts';
import { unitEmbeddings } from '../eval/index.ts';
import {
  claimEmbeddingFiles,
  EmbeddingsFile,
  type EmbeddingsInfo,
  embeddingFormats,
  type FeaturesInfo,
  formatOf,
  rowsOfBlock,
  writeEmbeddingFiles,
} from '../features/index.ts';
import { type ApplyAdapterOptions, applyAdapter } from './adapt.ts';

/**
 * Maps a feature set, or a file of `mixbct embed`, by an adapter.
 * @throws UserError if it is not of the model that the adapter maps; FileError if it is damaged or of another kind.
 */
export async function applyAdapterTo(options: ApplyAdapterOptions): Promise<FeaturesInfo | EmbeddingsInfo> {
  const ending = extname(options.features);
  const isFile = embeddingFormats.some((format) => format === ending);
  return isFile ? applyAdapterToEmbeddings(options) : await applyAdapter(options);
}

/**
 * Writes a file of embeddings with those of a .npy file of `mixbct embed` mapped by an adapter, in the format of its ending.
 * @throws FileError if `features` is no such file; UserError if it is not of the model that the adapter maps.
 */
export function applyAdapterToEmbeddings({
  adapter: path,
  features,
  out,
  force = false,
}: ApplyAdapterOptions): EmbeddingsInfo {
  formatOf(out);
  using adapter = Adapter.open(path);
  using file = new EmbeddingsFile(features);
  adapter.requireSource(file);
  requireFinite(file);
  using _ = claimEmbeddingFiles(out, { force, inputs: [features, path] });
  const { model, ...before } = file.info;
  const info = {
    ...before,
    mixbct,
    dim: adapter.sides.to.dim,
    model: adapter.modelThrough(model),
    adapter: adapter.applied(),
  };
  return writeEmbeddingFiles(out, info, {
    ids: idsOf(file),
    blocks: blocksOf(file, adapter),
    skipped: file.skipped(),
  });
}

/** Before anything is written. @throws NonFiniteError naming the first embedding that is not finite. */
function requireFinite(file: EmbeddingsFile): void {
  const { count, dim } = file.info;
  const most = rowsOfBlock(dim);
  for (let from = 0; from < count; from += most) {
    const rows = file.block(from, Math.min(most, count - from));
    unitEmbeddings(rows, dim, file.path, rows);
  }
}

function* idsOf({ ids }: EmbeddingsFile): Iterable<string> {
  for (let row = 0; row < ids.size; row++) yield ids.at(row);
}

function* blocksOf(file: EmbeddingsFile, adapter: Adapter) {
  const { count, dim, dtype } = file.info;
  const most = rowsOfBlock(Math.max(dim, adapter.sides.to.dim));
  const bar = progressIfLong('adapt', count);
  for (let from = 0; from < count; from += most) {
    bar.update(from);
    const rows = adapter.map(file.block(from, Math.min(most, count - from)), file.path);
    const ids = Array.from({ length: rows.length / adapter.sides.to.dim }, (_, row) => file.ids.at(from + row));
    yield { ids, rows: dtype === 'float16' ? toHalf(rows) : rows };
  }
  bar.stop();
}
