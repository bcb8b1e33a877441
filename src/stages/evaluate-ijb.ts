import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { optionHint, UserError } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import {
  alignedDataset,
  cropFilesDigest,
  cropsChangedMs,
  cropsDigest,
  type Ijb,
  openIjb,
  type PixelMappingName,
} from '../data/index.ts';
import type { Space } from '../encoders/index.ts';
import { evaluationArtifact } from '../eval/evaluation-artifact.ts';
import {
  type Evaluation,
  evaluateTemplates,
  poolTemplates,
  requireDistinctNames,
  type TemplateModel,
  type Templates,
  withholdVerdicts,
} from '../eval/index.ts';
import { claimOnRankZero, type FeatureSet, NpyWriter, writeNpz } from '../features/index.ts';
import type { DistributedContext } from '../torch/index.ts';
import { crossingAdapter, requireSpacesOfTemplates } from './adapted-sets.ts';
import { cachedFeatures, type KeptDataset, type ModelSource, modelSource } from './model-features.ts';
import { writeReports } from './reports.ts';

export type IjbOptions = {
  readonly data: string;
  readonly subset: 'IJBC' | 'IJBB';
  readonly model: readonly string[];
  readonly old?: string;
  readonly oracle?: string;
  readonly protocol: readonly string[];
  /** The FAR that the old system runs at. */
  readonly far?: number;
  readonly features: string;
  readonly pixels: PixelMappingName;
  readonly out: string;
  readonly scores: boolean;
  readonly figures: boolean;
  readonly seed: number;
  readonly resamples: number;
  readonly maxZeroShare: number;
  readonly batchSize: number;
  readonly workers: number;
  readonly threads: number;
  readonly device: 'cpu' | 'cuda';
  readonly force: boolean;
};

/** Several processes share the extraction of features. Rank 0 alone then evaluates, and returns the result. */
export async function evaluateIjb(
  options: IjbOptions & { readonly distributed: DistributedContext | null },
): Promise<Evaluation | undefined> {
  const { model, old, oracle, protocol, out } = options;
  if (model.length === 0) throw new UserError('nothing to judge', { hint: optionHint('--model run, once or more') });
  const [oldSource, oracleSource] = [old, oracle].map((text) => (text === undefined ? undefined : modelSource(text)));
  const sources = model.map(modelSource);
  const present = [oldSource, oracleSource, ...sources].filter((source) => source !== undefined);
  requireDistinctNames(present.map(({ name }) => name));
  requireSpacesOfTemplates({ old: oldSource, oracle: oracleSource, models: sources });
  const ijb = openIjb(options.data, options.subset, { cache: options.features });
  const identification = protocol.includes('1N') ? ijb.identification() : null;
  let files: string | null | undefined;
  const crops = {
    path: ijb.path,
    digest: cropsDigest(ijb),
    files: () => {
      files ??= cropFilesDigest(ijb);
      return files;
    },
    changedMs: () => cropsChangedMs(ijb),
    open: () => alignedDataset(ijb),
  };
  const { distributed } = options;
  const replacing = { force: options.force, inputs: [options.data, ...present.map(({ path }) => path)] };
  using lock = claimOnRankZero(distributed, () => evaluationArtifact.claim(out, replacing));
  if (distributed) {
    await extractAll(distributed, present, crops, options);
    if (distributed.group.rank > 0) return undefined;
  }
  let evaluation: Evaluation | undefined;
  await evaluationArtifact.write(out, { ...replacing, lock: lock! }, async (directory) => {
    const pooled = (source: ModelSource): Promise<TemplateModel> => templatesOf(source, ijb, crops, options);
    // one after the other: two extractions at once would be slower
    const models = {
      old: oldSource && (await pooled(oldSource)),
      oracle: oracleSource && (await pooled(oracleSource)),
    };
    const candidates: TemplateModel[] = [];
    for (const source of sources) candidates.push(await pooled(source));
    using scores = options.scores ? new ScoreFiles(directory) : null;
    const bar = progress('evaluate', 1);
    evaluation = evaluateTemplates({
      ...models,
      candidates,
      title: `Backward compatibility on ${options.subset}`,
      protocol: options.subset,
      dataset: {
        path: ijb.path,
        digest: ijb.digest,
        images: ijb.images.templates.length,
        classes: ijb.templateIds.length,
        families: null,
      },
      pairs: protocol.includes('11') ? { blocks: () => ijb.pairs(), genuine: () => ijb.genuinePairs() } : null,
      identification,
      ...(options.far !== undefined && { far: options.far }),
      seed: options.seed,
      resamples: options.resamples,
      maxZeroShare: options.maxZeroShare,
      onStep: (done, total, name) => bar.update(done / total, name),
      ...(scores && { onScores: (query, gallery, block) => scores.append(query, gallery, block) }),
    });
    bar.stop();
    evaluation = withholdVerdicts(evaluation);
    await scores?.pack();
    await writeReports(directory, evaluation, options);
    return { seed: options.seed, data: evaluation.dataset.digest };
  });
  return evaluation!;
}

/** Keeps the features of all models, each process embedding a part of the images. */
async function extractAll(
  distributed: DistributedContext,
  sources: readonly ModelSource[],
  crops: KeptDataset,
  options: IjbOptions,
): Promise<void> {
  for (const source of sources)
    for (const space of source.projected ? (['own', 'old'] as const) : (['own'] as const)) {
      using _ = await keptFeatures(source, space, crops, { ...options, distributed });
    }
}

const keptFeatures = (
  source: ModelSource,
  space: Space,
  crops: KeptDataset,
  options: IjbOptions & { readonly distributed: DistributedContext | null },
): Promise<FeatureSet> => cachedFeatures(source, crops, { ...options, flip: 'mean', space });

/** A model's templates, of features that are kept. */
async function templatesOf(
  source: ModelSource,
  ijb: Ijb,
  crops: KeptDataset,
  options: IjbOptions,
): Promise<TemplateModel> {
  const pool = async (space: Space): Promise<Templates & Pick<TemplateModel, 'preset' | 'differences' | 'adapter'>> => {
    using set = await keptFeatures(source, space, crops, { ...options, distributed: null });
    const { count, dim, model, adapter } = set.info;
    const faces = { count, dim, block: (from: number, rows: number) => set.block(from, rows), missing: set.missing() };
    return {
      ...poolTemplates(faces, ijb.images),
      ...(model && { preset: model.preset, differences: model.differences }),
      ...(adapter && { adapter: crossingAdapter(adapter, [set]) }),
    };
  };
  const { preset, differences, adapter, ...templates } = await pool('own');
  return {
    name: source.name,
    templates,
    ...(source.projected && { inOldSpace: await pool('old') }),
    ...(preset !== undefined && { preset }),
    ...(differences !== undefined && { differences }),
    ...(adapter && { adapter }),
  };
}

/** The scores of every test and the labels of the pairs, as .npz files of `scores` (float64 [K]) and `label` (bool [K]). */
class ScoreFiles implements Disposable {
  readonly #folder: string;
  readonly #tests = new Map<string, { readonly scores: NpyWriter<'<f8'>; readonly labels: NpyWriter<'|b1'> }>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  append(
    query: string,
    gallery: string,
    { scores, same }: { readonly scores: Float64Array; readonly same: Uint8Array },
  ): void {
    const name = `scores-${query}-on-${gallery}`;
    let files = this.#tests.get(name);
    if (!files) {
      files = {
        scores: new NpyWriter(this.#part(name, 'scores'), '<f8'),
        labels: new NpyWriter(this.#part(name, 'label'), '|b1'),
      };
      this.#tests.set(name, files);
    }
    files.scores.append(scores);
    files.labels.append(same);
  }

  readonly #part = (name: string, array: string): string => join(this.#folder, `${name}.${array}.npy`);

  async pack(): Promise<void> {
    const names = [...this.#tests.keys()];
    this[Symbol.dispose]();
    for (const name of names) {
      const parts = { scores: this.#part(name, 'scores'), label: this.#part(name, 'label') };
      await writeNpz(join(this.#folder, `${name}.npz`), parts);
      for (const part of Object.values(parts)) rmSync(part);
    }
  }

  /** Ends the files that are open. */
  [Symbol.dispose](): void {
    for (const { scores, labels } of this.#tests.values()) {
      scores.close();
      labels.close();
    }
    this.#tests.clear();
  }
}
