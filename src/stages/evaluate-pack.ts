import { basename } from 'node:path';
import { canonicalJson, digestOf, fileDigest } from '../artifacts/digest.ts';
import { writeJson } from '../artifacts/json-file.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { packDataset, readPack } from '../data/index.ts';
import type { Space } from '../encoders/index.ts';
import {
  foldedAccuracy,
  packEmbeddings,
  pairDistances,
  requireDistinctNames,
  requireFewZeros,
  requireFoldablePairs,
  zeroRows,
} from '../eval/index.ts';
import { type PackResult, packAccuracyArtifact, packAccuracyFile } from '../eval/pack-accuracy-artifact.ts';
import { EmbeddingCache, embedFaces } from '../features/index.ts';
import { readRunManifest } from '../runs/load-model.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import type { IjbOptions } from './evaluate-ijb.ts';
import { type ModelSource, modelSource } from './model-features.ts';

export type PackOptions = Pick<
  IjbOptions,
  'model' | 'old' | 'pixels' | 'batchSize' | 'workers' | 'threads' | 'maxZeroShare' | 'force'
> & { readonly pack: readonly string[]; readonly out?: string };

/**
 * Judges the models, and writes accuracy.json if a folder is given for it: then an attempt that was cut short goes on behind
 * the last pack that a model had embedded.
 */
export async function evaluatePacks(options: PackOptions): Promise<PackResult[]> {
  const { out, force } = options;
  if (options.pack.length === 0 || options.model.length === 0)
    throw new UserError('nothing to judge', { hint: optionHint('--pack file and --model run, each once or more') });
  if (out === undefined) return await judgePacks(options);
  const runs = [options.old, ...options.model].flatMap((text) => (text === undefined ? [] : modelSource(text)));
  const models = runs.map(({ path, kind }) => (kind === 'run' ? readRunManifest(path).model : path));
  const key = digestOf(canonicalJson([options.pack.map(fileDigest), models, options.pixels, options.batchSize]));
  const inputs = [...options.pack, ...runs.map(({ path }) => path)];
  let results: PackResult[] = [];
  const resume = { key, isWorthKeeping: EmbeddingCache.isIn };
  await packAccuracyArtifact.write(out, { force, inputs, resume }, async (folder) => {
    const cache = new EmbeddingCache(folder);
    results = await judgePacks(options, cache);
    cache.clear();
    writeJson(packAccuracyFile(folder), results);
    return {};
  });
  return results;
}

/** Each model on itself, and each new one on the old one's gallery. Source: methods.md 2.11. */
async function judgePacks(options: PackOptions, cache: EmbeddingCache | null = null): Promise<PackResult[]> {
  const old = options.old === undefined ? null : modelSource(options.old);
  const sources = [...(old ? [old] : []), ...options.model.map(modelSource)];
  requireDistinctNames(sources.map(({ name }) => name));
  const stray = sources.find(({ kind }) => kind !== 'run');
  if (stray) throw new UserError(`${stray.path}: holds features, wanted the folder of a run`);
  const results: PackResult[] = [];
  for (const path of options.pack) {
    const pack = readPack(path);
    requireFoldablePairs(path, pack.same);
    const rows = new Map<string, Awaited<ReturnType<typeof unitRows>>>();
    for (const source of sources)
      rows.set(source.name, await unitRows(source, pack, old !== null, { ...options, cache }));
    const oldRows = old && rows.get(old.name)!;
    for (const { name } of sources) {
      const of = rows.get(name)!;
      const about = { pack: basename(path), query: name, meanNorm: of.meanNorm, zeros: of.zeros };
      results.push({ ...about, gallery: name, ...foldedAccuracy(pairDistances(of.own, of.own, of.dim), pack.same) });
      if (!oldRows || name === old.name) continue;
      if (of.meeting.length !== oldRows.own.length)
        throw new UserError(`${name} and ${old.name} make other dimensions: they cannot be compared`);
      const distances = pairDistances(oldRows.own, of.meeting, oldRows.dim);
      results.push({ ...about, gallery: old.name, ...foldedAccuracy(distances, pack.same) });
    }
  }
  return results;
}

/** Rows of length 1 of both pictures of each pair, in a model's own space and where it meets the old gallery. */
async function unitRows(
  { name, path, projected }: ModelSource,
  pack: ReturnType<typeof readPack>,
  meetsOld: boolean,
  { cache, ...options }: PackOptions & { readonly cache: EmbeddingCache | null },
) {
  using images = packDataset(pack);
  const embed = async (space: Space) => {
    using encoder = await openEncoder(path, { space, pixels: options.pixels });
    const make = () => embedFaces(images, encoder, options);
    return packEmbeddings(await (cache ? cache.get(digestOf(encoder.digest, pack.digest), make) : make()));
  };
  const { rows: own, meanNorm } = await embed('own');
  const meeting = projected && meetsOld ? (await embed('old')).rows : own;
  const dim = own.length / pack.images.length;
  const zero = new Set([...zeroRows(own, dim), ...zeroRows(meeting, meeting.length / pack.images.length)]);
  const zeros = requireFewZeros(name, zero, { of: pack.images.length, most: options.maxZeroShare });
  return { own, meeting, meanNorm, dim, zeros };
}
