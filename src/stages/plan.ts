import { join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema } from '../artifacts/define-artifact.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { backfillArtifact, backfillFiles } from '../backfill/backfill-artifact.ts';
import type { BackfillSimulation } from '../backfill/simulation.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { evaluationArtifact, readEvaluation } from '../eval/evaluation-artifact.ts';
import { defineStage, reference } from '../experiment/stage.ts';
import { featureSetArtifact } from '../features/feature-set-artifact.ts';
import type { SimulationAt } from '../plan/backfill-evidence.ts';
import type { Gallery } from '../plan/costs.ts';
import { planMetrics } from '../plan/evidence.ts';
import { makePlan } from '../plan/make-plan.ts';
import type { Limits } from '../plan/options.ts';
import { acceptable, PLAN_FILE, type Plan, planArtifact, planSchema, vectorTypes } from '../plan/plan-artifact.ts';

export type PlanUpgradeOptions = Partial<Limits> & {
  /** Folders of evaluations of the same old model on the same set. */
  readonly evaluations: readonly string[];
  /** Folders of simulated backfills. */
  readonly backfills?: readonly string[] | undefined;
  /** What ways are judged by: a name among `planMetrics`. */
  readonly metric?: string | undefined;
  /** Folder of a feature set: the gallery. */
  readonly gallery?: string | undefined;
  /** Number of its vectors, if there is no such set. */
  readonly gallerySize?: number | undefined;
  readonly vectorType?: Gallery['type'] | undefined;
  /** Or what measures it: that is called when the evidence has been read and nothing stands at `out`. */
  readonly imagesPerSecond?: number | (() => Promise<number>) | undefined;
  /** Folder of the plan; absent: nothing is written. */
  readonly out?: string | undefined;
  readonly force?: boolean;
};

export const USUAL_METRIC = 'TAR@FAR=1e-3';

/**
 * Makes a plan from evidence on disk and, if `out` is given, writes it there.
 * @throws UserError if the evidence does not belong together, or `out` may not be replaced.
 */
export async function planUpgrade(options: PlanUpgradeOptions): Promise<Plan> {
  const { evaluations, backfills = [], gallery, out, force = false } = options;
  if (out === undefined) return await makeChecked(options);
  let plan: Plan | undefined;
  const how = { force, inputs: [...evaluations, ...backfills, gallery] };
  await planArtifact.write(out, how, async (directory) => {
    plan = await makeChecked(options);
    const file = join(directory, PLAN_FILE);
    writeJson(file, plan);
    return { metric: plan.metric, way: plan.verdict.way, digest: fileDigest(file) };
  });
  return plan!;
}

/** Makes a plan that follows its schema. */
async function makeChecked({
  evaluations: paths,
  backfills = [],
  metric = USUAL_METRIC,
  gallery,
  gallerySize,
  vectorType,
  imagesPerSecond,
  minGain = 0,
  maxLoss = 0,
  maxHours = null,
  accept = acceptable,
}: PlanUpgradeOptions): Promise<Plan> {
  const evaluations = paths.map((path) => {
    evaluationArtifact.open(path);
    return { path, evaluation: readEvaluation(path) };
  });
  const size = gallery === undefined ? null : galleryOf(gallery, evaluations);
  if (size && gallerySize !== undefined)
    throw new UserError(`${gallery} has ${size.size} vectors, so that no other size can be given`, {
      hint: optionHint('--gallery or --gallery-size'),
    });
  const simulations = backfills.map(openSimulation);
  const rate = typeof imagesPerSecond === 'function' ? await imagesPerSecond() : imagesPerSecond;
  const plan = makePlan({
    evaluations,
    simulations,
    metric,
    gallery: {
      ...(size ?? { size: gallerySize ?? null }),
      ...(vectorType && { type: vectorType }),
      imagesPerSecond: rate ?? null,
    },
    limits: { minGain, maxLoss, maxHours, accept },
  });
  const checked = checkedBySchema(planSchema)(plan);
  if ('problem' in checked)
    throw new UserError(`${paths.join(', ')}: no plan can be made of this, ${checked.problem}`, {
      hint: evaluationArtifact.again,
    });
  return plan;
}

/** @throws FileError if it is none, or damaged. */
function openSimulation(path: string): SimulationAt {
  const info = backfillArtifact.open(path);
  backfillArtifact.verify(path, info);
  return {
    path,
    simulation: readJson(backfillFiles(path).simulation) as BackfillSimulation,
    model: info.new.model?.digest ?? null,
    adapter: info.adapter?.digest ?? null,
  };
}

/** Size and type of a gallery. @throws UserError if it is not of the old model's dimensions. */
function galleryOf(
  path: string,
  [first]: readonly { readonly path: string; readonly evaluation: ReturnType<typeof readEvaluation> }[],
): Pick<Gallery, 'size' | 'type'> {
  const { count, missing, dim, dtype } = featureSetArtifact.open(path);
  const old = first?.evaluation.models.find(({ role }) => role === 'old');
  if (old && old.dim !== dim)
    throw new UserError(`${path} has ${dim} dimensions, the old model of ${first!.path} ${old.dim}`, {
      hint: optionHint('give the gallery of the old model, or its size by --gallery-size'),
    });
  return { size: count - missing.length, type: dtype };
}

const share = z.number().min(0).max(1);

export const planStage = defineStage({
  kind: 'plan',
  summary: 'draw one verdict on the upgrade from evaluations and simulated backfills',
  inputs: {
    evaluations: z.array(reference).min(1),
    backfills: z.array(reference).optional(),
    gallery: reference.optional(),
  },
  options: {
    metric: z.enum(planMetrics).default(USUAL_METRIC),
    gallerySize: z.int().positive().optional(),
    vectorType: z.enum(Object.keys(vectorTypes) as (keyof typeof vectorTypes)[]).optional(),
    imagesPerSecond: z.number().positive().optional(),
    minGain: share.default(0).describe('a gain that is not larger does not count'),
    maxLoss: share.default(0).describe('how far the metric may fall below the old model on the way'),
    maxHours: z.number().nonnegative().optional().describe('of re-embedding'),
    accept: z
      .array(z.enum(acceptable))
      .min(1)
      .optional()
      .describe('ways to choose from; the run ends if none of them is proven'),
  },
  describe: ({ evaluations }) => `plan the upgrade from ${evaluations.join(', ')}`,
  run: async ({ maxHours = null, accept = acceptable, ...settings }, { out, force, reporter }) => {
    const plan = await planUpgrade({ ...settings, maxHours, accept, out, force });
    reporter.line(plan.verdict.summary);
    if (!plan.verdict.accepted)
      throw new UserError(`none of the ways to accept is proven (${accept.join(', ')})`, {
        hint: `see what speaks against them with: mixbct info ${out}`,
      });
    return out;
  },
});
