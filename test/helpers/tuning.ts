import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readEvaluation } from '../../src/eval/evaluation-artifact.ts';
import { trialsFolder } from '../../src/tune/tune-experiment.ts';
import { judgedIn } from '../../src/tune/tune-plan.ts';

/** How the training data of every model relates to the images that it is judged on, of all trials of a tuning. */
export const relateClasses = (out: string): string[] =>
  readdirSync(trialsFolder(out)).flatMap((name) =>
    readEvaluation(judgedIn(join(trialsFolder(out), name))).models.map(({ trainingData }) => trainingData!.relation),
  );
