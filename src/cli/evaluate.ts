import { writeArtifact } from '../base/artifact.ts';
import { progress } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { type Evaluation, evaluate, type ModelFeatures, relateTrainingData, withholdVerdicts } from '../eval/index.ts';
import { FeatureSet } from '../features/index.ts';
import { writeReports } from './report.ts';
import { openSameImages, requireSameModel } from './same-images.ts';

export type EvaluateStage = {
  readonly title: string;
  /** Folders of feature sets of one evaluation set. */
  readonly old: string;
  readonly oracle?: string | undefined;
  readonly candidates: readonly {
    readonly name: string;
    readonly features: string;
    /** Of a model with a projection: its embeddings in the old space. */
    readonly inOldSpace?: string;
  }[];
  readonly seed: number;
  readonly impostors?: number;
  readonly resamples?: number;
  /** Share of a model's embeddings that may be zeros. */
  readonly maxZeroShare?: number;
  /** Write the figures as files too. */
  readonly figures?: boolean;
  /** The models are those of a trial run: no verdict. */
  readonly trial?: boolean;
  readonly out: string;
  readonly force: boolean;
};

/** Evaluates feature sets and writes evaluation.json, report.html, report.md and, if asked, the figures to one folder. */
export async function evaluateStage({ out, force, ...stage }: EvaluateStage): Promise<Evaluation> {
  using old = FeatureSet.open(stage.old);
  const paths = pathsOf(stage);
  using described = openSameImages(paths);
  for (const { features, inOldSpace } of stage.candidates)
    if (inOldSpace !== undefined) requireSameModel(features, inOldSpace);
  const { dataset } = described.info;
  const labels = described.labels();
  const evaluationData = dataset && { dataset, classKeys: described.classKeys(), labels };
  const features = (name: string, path: string): ModelFeatures => {
    using set = FeatureSet.open(path);
    const { model, dim } = set.info;
    const trainedOn = model?.trainedOn;
    const training = trainedOn ? { dataset: trainedOn, classKeys: set.trainedClassKeys() } : null;
    return {
      name,
      rows: set.all(),
      dim,
      ...(model && { preset: model.preset, differences: model.differences }),
      trainingData: relateTrainingData(training, evaluationData),
    };
  };
  let evaluation: Evaluation | undefined;
  await writeArtifact(out, { kind: 'evaluation', force, inputs: paths }, async (directory) => {
    const bar = progress('evaluate', 2 + 2 * stage.candidates.length);
    const judged = evaluate({
      title: stage.title,
      dataset: { path: dataset?.path ?? stage.old, digest: dataset?.digest ?? described.digest },
      old: features('old', stage.old),
      oracle: stage.oracle === undefined ? undefined : features('oracle', stage.oracle),
      candidates: stage.candidates.map(({ name, features: path, inOldSpace }) => ({
        ...features(name, path),
        ...(inOldSpace !== undefined && { inOldSpace: features(name, inOldSpace) }),
      })),
      labels,
      families: described.families(),
      seed: stage.seed,
      ...(stage.impostors !== undefined && { impostors: stage.impostors }),
      ...(stage.resamples !== undefined && { resamples: stage.resamples }),
      maxZeroShare: stage.maxZeroShare,
      onTest: (done, _, name) => bar.update(done, name),
    });
    bar.stop();
    evaluation = withholdVerdicts(judged, stage);
    await writeReports(directory, evaluation, stage);
    return { kind: 'evaluation', version: 1, seed: stage.seed, old: old.digest, mixbct: version };
  });
  return evaluation!;
}

const pathsOf = ({ old, oracle, candidates }: Pick<EvaluateStage, 'old' | 'oracle' | 'candidates'>): string[] => [
  old,
  ...(oracle === undefined ? [] : [oracle]),
  ...candidates.flatMap(({ features, inOldSpace }) => [features, ...(inOldSpace === undefined ? [] : [inOldSpace])]),
];
