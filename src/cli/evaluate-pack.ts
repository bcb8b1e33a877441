import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { writeArtifact, writeJson } from '../base/artifact.ts';
import { UserError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { PIXEL_DIVISOR } from '../data/collate.ts';
import { packDataset, readPack } from '../data/index.ts';
import {
  type FoldedAccuracy,
  foldedAccuracy,
  packEmbeddings,
  pairDistances,
  requireDistinctNames,
} from '../eval/index.ts';
import { embedFaces } from '../features/index.ts';
import { textTable } from '../report/index.ts';
import { embedderOf, loadModel } from '../train/run.ts';
import { command, force, print, several, threads, useThreads, wholeNumber, workers } from './context.ts';
import { type ModelSource, modelSource, type PixelMap, pixels } from './model-features.ts';

/** One model's queries, the second picture of each pair, on one model's gallery, the first. */
type PackResult = FoldedAccuracy & {
  readonly pack: string;
  readonly query: string;
  readonly gallery: string;
  /** Mean length of an embedding of the query's model: XNorm in the reference's logs. */
  readonly meanNorm: number;
};

type PackOptions = {
  readonly pack: readonly string[];
  readonly model: readonly string[];
  readonly old?: string;
  readonly out?: string;
  readonly pixels: PixelMap;
  readonly batchSize: number;
  readonly workers: number;
  readonly threads: number;
  readonly force: boolean;
};

export function evaluatePackCommand(): Command {
  return command(
    'pack',
    'judge models on verification packs such as lfw.bin: accuracy in ten folds',
    'mixbct evaluate pack --pack packs/lfw.bin --pack packs/cfp_fp.bin --model runs/new --old runs/old',
  )
    .requiredOption('--pack <file>', 'a .bin of encoded images and labels; may be repeated', several, [])
    .requiredOption('--model <[name=]run>', 'a model to judge; may be repeated', several, [])
    .option('--old <[name=]run>', 'the model of the old gallery: the first picture of each pair')
    .option('--out <folder>', 'write accuracy.json with every fold there')
    .addOption(pixels())
    .option('--batch-size <n>', 'images at a time', wholeNumber, 128)
    .addOption(workers())
    .addOption(threads())
    .addOption(force())
    .action(async (options: PackOptions & { readonly json: boolean }) => {
      useThreads(options.threads);
      const { out } = options;
      const results =
        out === undefined ? await evaluatePacks(options) : await written(out, options.force, evaluatePacks, options);
      const percent = (x: number): string => (100 * x).toFixed(2);
      const rows = results.map(({ pack, query, gallery, mean, std, meanNorm }) => [
        pack,
        `${query} → ${gallery}`,
        `${percent(mean)} ± ${percent(std)}`,
        meanNorm.toFixed(2),
      ]);
      print(options, results, textTable(['pack', 'query → gallery', 'accuracy ± std', 'mean norm'], rows));
    });
}

async function written(
  out: string,
  replace: boolean,
  make: (options: PackOptions) => Promise<PackResult[]>,
  options: PackOptions,
): Promise<PackResult[]> {
  const inputs = [...options.pack, ...[options.old, ...options.model].map((text) => text && modelSource(text).path)];
  let results: PackResult[] = [];
  await writeArtifact(out, { kind: 'pack-accuracy', force: replace, inputs }, async (folder) => {
    results = await make(options);
    writeJson(join(folder, 'accuracy.json'), results);
    return { kind: 'pack-accuracy', version: 1, mixbct: version };
  });
  return results;
}

/** Each model on itself, and each new one on the old one's gallery. Source: methods.md 2.11. */
async function evaluatePacks(options: PackOptions): Promise<PackResult[]> {
  if (options.pack.length === 0 || options.model.length === 0)
    throw new UserError('nothing to judge: wanted --pack file and --model run, each once or more');
  const old = options.old === undefined ? null : modelSource(options.old);
  const sources = [...(old ? [old] : []), ...options.model.map(modelSource)];
  requireDistinctNames(
    sources.map(({ name }) => name),
    '--model',
  );
  const stray = sources.find(({ kind }) => kind !== 'run');
  if (stray) throw new UserError(`${stray.path}: holds features, wanted the folder of a run`);
  const results: PackResult[] = [];
  for (const path of options.pack) {
    const pack = readPack(path);
    const rows = new Map<string, Awaited<ReturnType<typeof unitRows>>>();
    for (const source of sources) rows.set(source.name, await unitRows(source, pack, old !== null, options));
    const oldRows = old && rows.get(old.name)!;
    for (const { name } of sources) {
      const of = rows.get(name)!;
      const about = { pack: basename(path), query: name, meanNorm: of.meanNorm };
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
  { path, projected }: ModelSource,
  pack: ReturnType<typeof readPack>,
  meetsOld: boolean,
  options: PackOptions,
) {
  const model = loadModel(path);
  try {
    using images = packDataset(pack);
    const embed = async (space: 'own' | 'old') =>
      packEmbeddings(
        await embedFaces(images, embedderOf(model, space, { divisor: PIXEL_DIVISOR[options.pixels] }), options),
      );
    const { rows: own, meanNorm } = await embed('own');
    const meeting = projected && meetsOld ? (await embed('old')).rows : own;
    return { own, meeting, meanNorm, dim: own.length / pack.images.length };
  } finally {
    model.dispose();
  }
}
