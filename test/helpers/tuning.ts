import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readEvaluation } from '../../src/eval/evaluation-artifact.ts';

/** How the training data of every model relates to the images that it is judged on, of all trials of a tuning. */
export const relateClasses = (out: string): string[] =>
  readdirSync(out)
    .filter((name) => name.endsWith('-judged'))
    .flatMap((name) => readEvaluation(join(out, name)).models.map(({ trainingData }) => trainingData!.relation));
