import { join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact } from '../artifacts/define-artifact.ts';
import { readJson } from '../artifacts/json-file.ts';
import type { TrialScore, TuneMetric } from './score.ts';
import type { MethodOptions } from './searched.ts';

/** One training of a trial. */
export type TrialRound = TrialScore & { readonly epochs: number };

export type Trial = {
  /** From 0: the options of the experiment, or the method's defaults. */
  readonly trial: number;
  readonly options: MethodOptions;
  readonly rounds: readonly TrialRound[];
  /** Why it went no further. */
  readonly problem?: string;
};

export type TunedMethod = {
  readonly method: string;
  /** No stage of the experiment has the method: trial 0 has its defaults. */
  readonly defaults?: boolean;
  readonly trials: readonly Trial[];
  /** The best trial of the last round; null if the training of each diverged. */
  readonly chosen: number | null;
};

export type Tuning = {
  readonly title: string;
  readonly seed: number;
  /** The stage whose recipe all trials share, but for the method. */
  readonly stage: string;
  readonly metric: TuneMetric;
  /** Epochs of each round. */
  readonly rounds: readonly number[];
  readonly validation: { readonly classes: number; readonly images: number };
  /** Of the old model and the oracle on their own galleries, by the metrics that gains are made of. */
  readonly oldOld: readonly number[];
  readonly oracle: readonly number[];
  readonly methods: readonly TunedMethod[];
};

export const tuningFiles = (folder: string) => ({
  result: join(folder, 'tuning.json'),
  figure: join(folder, 'trials.svg'),
  /** The shared recipe with the chosen options of a method. */
  recipe: (method: string) => join(folder, `${method}.yaml`),
});

const fields = z.object({ key: z.string(), digest: z.string(), metric: z.string(), methods: z.array(z.string()) });

export const tuningArtifact = defineArtifact<z.infer<typeof fields>>({
  kind: 'tuning',
  name: 'a search for options of methods',
  command: 'mixbct tune',
  check: checkedBySchema(fields),
  describe: (_, path) => {
    const { metric, rounds, validation, methods } = readTuning(path);
    const chosen = methods.map(({ method, trials, chosen }) => [
      method,
      chosen === null
        ? `every trial of ${trials.length} diverged`
        : `trial ${chosen} of ${trials.length}: ${settingsText(trials[chosen]!.options)}`,
    ]);
    return {
      facts: {
        metric,
        rounds: `${rounds.join(', ')} epochs`,
        validation: `${validation.images} images of ${validation.classes} classes`,
        ...Object.fromEntries(chosen),
      },
      sources: [],
    };
  },
  digests: ({ digest }) => ({ 'tuning.json': digest }),
});

export const readTuning = (folder: string): Tuning => readJson(tuningFiles(folder).result) as Tuning;

/** `weight=3 scale=16`; with `base`, only what differs from it. */
export const settingsText = (options: MethodOptions, base: MethodOptions = {}): string =>
  Object.entries(options)
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(base[name]))
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(' ');
