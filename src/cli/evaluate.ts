import { writeArtifact } from '../base/artifact.ts';
import { UserError } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { type Evaluation, evaluate, type ModelFeatures } from '../eval/index.ts';
import { FeatureSet, requireSamePreprocessing } from '../features/index.ts';
import { writeReports } from './report.ts';

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
  /** Write the figures as files too. */
  readonly figures?: boolean;
  readonly out: string;
  readonly force: boolean;
};

/** Evaluates feature sets and writes evaluation.json, report.html, report.md and, if asked, the figures to one folder. */
export async function evaluateStage({ out, force, ...stage }: EvaluateStage): Promise<Evaluation> {
  using old = FeatureSet.open(stage.old);
  const features = (name: string, path: string): ModelFeatures => {
    using set = FeatureSet.open(path);
    requireSameSet(old, set);
    requireSamePreprocessing(old, set);
    const { model, dim } = set.info;
    return { name, rows: set.all(), dim, ...(model && { preset: model.preset, differences: model.differences }) };
  };
  const inputs = [
    stage.old,
    stage.oracle,
    ...stage.candidates.flatMap(({ features: own, inOldSpace }) => [own, inOldSpace]),
  ];
  let evaluation: Evaluation | undefined;
  await writeArtifact(out, { kind: 'evaluation', force, inputs }, async (directory) => {
    const bar = progress('evaluate', 2 + 2 * stage.candidates.length);
    evaluation = evaluate({
      title: stage.title,
      dataset: { path: old.info.dataset?.path ?? stage.old, digest: old.info.dataset?.digest ?? old.digest },
      old: features('old', stage.old),
      oracle: stage.oracle === undefined ? undefined : features('oracle', stage.oracle),
      candidates: stage.candidates.map(({ name, features: path, inOldSpace }) => ({
        ...features(name, path),
        ...(inOldSpace !== undefined && { inOldSpace: features(name, inOldSpace) }),
      })),
      labels: old.labels(),
      families: old.families(),
      seed: stage.seed,
      ...(stage.impostors !== undefined && { impostors: stage.impostors }),
      ...(stage.resamples !== undefined && { resamples: stage.resamples }),
      onTest: (done, _, name) => bar.update(done, name),
    });
    bar.stop();
    await writeReports(directory, evaluation, stage);
    return { kind: 'evaluation', version: 1, seed: stage.seed, old: old.digest, mixbct: version };
  });
  return evaluation!;
}

/** Rows of all sets must be the same images in the same order. */
function requireSameSet(old: FeatureSet, other: FeatureSet): void {
  const [a, b] = [old.info.dataset, other.info.dataset];
  const same =
    a && b
      ? a.digest === b.digest
      : old.info.count === other.info.count && old.labels().every((label, i) => label === other.labels()[i]);
  if (!same)
    throw new UserError(
      `${other.path} (${b?.path ?? 'unknown origin'}, ${other.info.count} rows) and ${old.path} (${a?.path ?? 'unknown origin'}, ${old.info.count} rows) are not embeddings of the same images`,
      {
        hint: 'extract both from one evaluation set',
      },
    );
}
