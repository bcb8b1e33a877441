import { z } from 'zod';
import type { Space } from '../encoders/index.ts';
import { datasetReference, defineStage, reference } from '../experiment/stage.ts';
import type { ExtractOptions, FeaturesInfo } from '../features/index.ts';
import { type PrecisionChoice, precisionChoices, requireNamed } from '../models/precisions.ts';
import type { DistributedContext } from '../torch/index.ts';
import { processesOption, runTogether, threadsOfEach, wordsOf } from './together.ts';

export type EmbedDatasetOptions = ExtractOptions & {
  /** Folder of a finished run. */
  readonly model: string;
  /** Folder, or prefix of a .rec and .idx. */
  readonly dataset: string;
  /** old: through the projection of the recipe. */
  readonly space?: Space;
  /** What the backbone computes in. */
  readonly precision?: PrecisionChoice;
  /** The processes that extract together, each a part of the images. */
  readonly distributed?: DistributedContext | null;
};

/** Embeds a dataset with a trained model into a feature set. */
export async function embedDataset({
  model: run,
  dataset: path,
  space = 'own',
  precision = 'float32',
  distributed = null,
  ...options
}: EmbedDatasetOptions): Promise<FeaturesInfo> {
  const [{ openInputDataset }, { extractFeatures, extractSharded }, { openEncoder }] = await Promise.all([
    import('../data/input-dataset.ts'),
    import('../features/index.ts'),
    import('../runs/open-encoder.ts'),
  ]);
  if (distributed) requireNamed(precision, 'several processes');
  using dataset = openInputDataset(path, { report: !distributed || distributed.group.rank === 0 });
  using encoder = await openEncoder(run, { space, precision });
  const to = { ...options, inputs: [run] };
  if (!distributed) return await extractFeatures(dataset, encoder, to);
  return await extractSharded(dataset, encoder, to, distributed);
}

export const extractStage = defineStage({
  kind: 'extract',
  summary: 'embed a data set with a trained model',
  inputs: { model: reference, of: datasetReference },
  options: {
    flip: z.enum(['none', 'mean', 'random']).default('none'),
    space: z.enum(['own', 'old']).default('own').describe('old: through the projection of the recipe'),
    // without defaults: what was made before they were settings stays as it is
    precision: z.enum(precisionChoices).optional().describe('what the backbone computes in'),
    half: z.boolean().optional().describe('features in float16'),
    processes: processesOption,
  },
  complete: async (stage, { id, file }) => {
    const { precision = 'float32', processes = 1 } = stage;
    if (processes > 1) requireNamed(precision, `${file}: stage ${id}: several processes`);
    return stage;
  },
  describe: ({ model, of }) => `embed ${of} with ${model}`,
  run: async ({ model, of, processes = 1, precision, half, flip, space }, { seed, out, force, workers, signal }) => {
    const how = { flip, space, ...(precision && { precision }), ...(half && { half }), seed, out, force, workers };
    if (processes === 1) return await embedDataset({ ...how, model, dataset: of, signal });
    const words = wordsOf(['extract', model], { data: of, ...how, ...(await threadsOfEach(processes)) });
    await runTogether(processes, words, signal);
    return undefined;
  },
});
