import { join } from 'node:path';
import type { Command } from 'commander';
import { writeArtifact } from '../base/artifact.ts';
import { UserError } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { type Evaluation, evaluate, type ModelFeatures } from '../eval/index.ts';
import { FeatureSet, requireSamePreprocessing } from '../features/index.ts';
import { renderTerminal } from '../report/index.ts';
import { command, force, group, print, seed, several, wholeNumber } from './context.ts';
import { evaluateIjbCommand } from './evaluate-ijb.ts';
import { evaluatePackCommand } from './evaluate-pack.ts';
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

export function evaluateCommand(): Command {
  return group(
    'evaluate',
    'judge new models against the old one',
    'mixbct evaluate --old features/old-eval --new mixbct=features/mixbct-eval --out runs/evaluation\nmixbct evaluate ijb --data ijb --model runs/new --old runs/old --out runs/ijbc',
  )
    .addCommand(evaluateSetsCommand(), { isDefault: true })
    .addCommand(evaluateIjbCommand())
    .addCommand(evaluatePackCommand());
}

function evaluateSetsCommand(): Command {
  return command(
    'sets',
    'judge models by feature sets of classes that none was trained on (what evaluate does if no other is named)',
    'mixbct evaluate --old features/old-eval --oracle features/oracle-eval --new mixbct=features/mixbct-eval --out runs/evaluation',
  )
    .requiredOption('--old <features>', "the old model's feature set")
    .option('--oracle <features>', 'feature set of a new model trained without regard to the old one')
    .option(
      '--new <name=features>',
      'feature set of a new model, or own,old if it has a projection: the sets in both spaces; may be repeated',
      several,
      [],
    )
    .requiredOption('--out <folder>', 'folder for evaluation.json, report.html and report.md')
    .option('--figures', 'write each curve of the report as an SVG and a PNG file, too', false)
    .option('--title <text>', 'title of the report', 'Backward compatibility')
    .option('--impostors <n>', 'impostor pairs to draw', wholeNumber, 2_000_000)
    .option('--resamples <n>', 'bootstrap resamples', wholeNumber, 500)
    .addOption(seed())
    .addOption(force())
    .action(async (options) => {
      const candidates = (options.new as string[]).map((text) => {
        const at = text.indexOf('=');
        if (at < 1) throw new UserError(`--new ${text}: wanted name=folder`);
        const [features, inOldSpace] = text.slice(at + 1).split(',') as [string, string?];
        return { name: text.slice(0, at), features, ...(inOldSpace !== undefined && { inOldSpace }) };
      });
      if (candidates.length === 0 && options.oracle === undefined)
        throw new UserError('nothing to judge: wanted --new name=features (once or more) or --oracle');
      const evaluation = await evaluateStage({ ...options, candidates });
      print(options, evaluation, `${renderTerminal(evaluation)}\nreport: ${join(options.out, 'report.html')}`);
    });
}
