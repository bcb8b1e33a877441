import { optionHint, UserError } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import { evaluationArtifact } from '../eval/evaluation-artifact.ts';
import {
  defaultMemory,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evaluationBytes,
  type ModelFeatures,
  memoryError,
  RESAMPLES,
  relateTrainingData,
  SAMPLE_SIZES,
  withholdVerdicts,
} from '../eval/index.ts';
import { FeatureSet } from '../features/index.ts';
import { crossedSpace, crossingAdapter, requireOwnSpace } from './adapted-sets.ts';
import { writeReports } from './reports.ts';
import { openSameImages } from './same-images.ts';

export type EvaluateSetsOptions = Pick<
  EvaluateOptions,
  'title' | 'far' | 'genuines' | 'impostors' | 'probes' | 'resamples' | 'maxZeroShare'
> & {
  /** Folders of feature sets of one evaluation set. */
  readonly old: string;
  readonly oracle?: string | undefined;
  readonly candidates: readonly {
    readonly name: string;
    readonly features: string;
    /** Feature set of a model with a projection in the old space, or one that went through an adapter. */
    readonly inOldSpace?: string;
    /** Folder of an adapter to compare through, instead. */
    readonly adapter?: string | undefined;
  }[];
  readonly seed: number;
  /** Bytes that the evaluation may take. */
  readonly memoryBytes?: number;
  /** Write the figures as files too. */
  readonly figures?: boolean;
  /** Whether the page shows images of the dataset and names of its classes. */
  readonly pictures?: boolean | undefined;
  /** The models are those of a trial run: no verdict. */
  readonly trial?: boolean | undefined;
  readonly out: string;
  readonly force?: boolean;
};

/** Evaluates feature sets and writes evaluation.json, report.html, report.md and, if asked, the figures to one folder. */
export async function evaluateSets({ out, force = false, ...stage }: EvaluateSetsOptions): Promise<Evaluation> {
  if (stage.candidates.length === 0 && stage.oracle === undefined)
    throw new UserError('nothing to judge: wanted a new model or an oracle', {
      hint: optionHint('--new name=features (once or more) or --oracle'),
    });
  using old = FeatureSet.open(stage.old);
  const paths = pathsOf(stage);
  using described = openSameImages(paths);
  for (const role of ['old', 'oracle'] as const) {
    const own = stage[role];
    if (own !== undefined) requireOwnSpace({ own, old: stage.old }, role);
  }
  const crossings = stage.candidates.map(({ features: own, ...crossing }) => {
    const compared = { own, old: stage.old };
    requireOwnSpace(compared, 'new');
    return crossedSpace(compared, crossing);
  });
  const { dataset } = described.info;
  const { title, far, seed, genuines, impostors, probes, resamples, maxZeroShare } = stage;
  const present = presentRows(described.info.count, paths);
  const column = (all: Int32Array): Int32Array => (present ? Int32Array.from(present, (row) => all[row]!) : all);
  const labels = column(described.labels());
  requireMemory(stage, { paths, labels });
  const evaluationData = dataset && { dataset, classKeys: described.classKeys(), labels };
  const features = (name: string, path: string): ModelFeatures => {
    using set = FeatureSet.open(path);
    const { model, dim, adapter } = set.info;
    const trainedOn = model?.trainedOn;
    const training = trainedOn ? { dataset: trainedOn, classKeys: set.trainedClassKeys() } : null;
    return {
      name,
      rows: () => readRows(path, present),
      dim,
      ...(model && { digest: model.digest, preset: model.preset, differences: model.differences }),
      trainingData: relateTrainingData(training, evaluationData),
      ...(adapter && { adapter: crossingAdapter(adapter, [set, old]) }),
    };
  };
  let evaluation: Evaluation | undefined;
  await evaluationArtifact.write(out, { force, inputs: paths }, async (directory) => {
    const bar = progress('evaluate', 2 + 2 * stage.candidates.length);
    const judged = evaluate({
      title,
      dataset: { path: dataset?.path ?? stage.old, digest: dataset?.digest ?? described.digest },
      old: features('old', stage.old),
      oracle: stage.oracle === undefined ? undefined : features('oracle', stage.oracle),
      candidates: stage.candidates.map(({ name, features: path }, i) => {
        const crossing = crossings[i];
        if (!crossing) return features(name, path);
        const { role, dim, path: at, map = (rows) => rows, adapter, projection } = crossing;
        const crossed = { [role]: { rows: () => map(readRows(at, present)), dim } };
        return { ...features(name, path), ...crossed, projection, ...(adapter && { adapter }) };
      }),
      labels,
      families: column(described.families()),
      missing: described.info.count - labels.length,
      positions: present ?? undefined,
      ...{ far, seed, genuines, impostors, probes, resamples, maxZeroShare },
      onTest: (done, _, name) => bar.update(done, name),
    });
    bar.stop();
    evaluation = withholdVerdicts(judged, stage);
    await writeReports(directory, evaluation, stage);
    return { seed, old: old.digest };
  });
  return evaluation!;
}

/** Positions of which every set has an embedding; null if these are all. */
export function presentRows(count: number, paths: readonly string[]): Int32Array | null {
  const missing = new Set<number>();
  for (const path of paths) {
    using set = FeatureSet.open(path);
    for (const row of set.missing()) missing.add(row);
  }
  return missing.size === 0 ? null : Int32Array.from({ length: count }, (_, i) => i).filter((i) => !missing.has(i));
}

/** Rows read at a time. */
const BLOCK = 8192;

/** The embeddings at positions, or all. [N · D] */
export function readRows(path: string, positions: Int32Array | null): Float32Array {
  using set = FeatureSet.open(path);
  const { count, dim } = set.info;
  const rows = new Float32Array((positions?.length ?? count) * dim);
  for (let from = 0, at = 0; at < rows.length; from += BLOCK) {
    const size = Math.min(BLOCK, rows.length / dim - from);
    const block = positions ? set.rows(positions.subarray(from, from + size)) : set.block(from, size);
    rows.set(block, at);
    at += block.length;
  }
  return rows;
}

/** @throws UserError if the evaluation would take more memory than it may. */
function requireMemory(
  {
    memoryBytes = defaultMemory(),
    genuines = SAMPLE_SIZES.genuines,
    impostors = SAMPLE_SIZES.impostors,
    resamples = RESAMPLES,
  }: Pick<EvaluateSetsOptions, 'memoryBytes' | 'genuines' | 'impostors' | 'resamples'>,
  { paths, labels }: { readonly paths: readonly string[]; readonly labels: Int32Array },
): void {
  const dims = paths.map((path) => {
    using set = FeatureSet.open(path);
    return set.info.dim;
  });
  const classes = new Set(labels).size;
  const needed = evaluationBytes({ count: labels.length, classes, dims, pairs: genuines + impostors, resamples });
  if (needed <= memoryBytes) return;
  throw memoryError(`evaluating ${labels.length} embeddings takes about`, { needed, allowed: memoryBytes }, [
    optionHint(`--memory ${Math.ceil(needed / 1e9)}`),
    optionHint('fewer --genuines, --impostors or --resamples'),
    optionHint(
      `--force --set stages.STAGE.memory=${Math.ceil(needed / 1e9)}, or fewer genuines, impostors or resamples there`,
    ),
  ]);
}

const pathsOf = ({ old, oracle, candidates }: Pick<EvaluateSetsOptions, 'old' | 'oracle' | 'candidates'>): string[] => [
  old,
  ...(oracle === undefined ? [] : [oracle]),
  ...candidates.flatMap(({ features, inOldSpace }) => [features, ...(inOldSpace === undefined ? [] : [inOldSpace])]),
];
