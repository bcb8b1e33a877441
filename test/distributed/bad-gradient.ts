// One training step in which the last process's rows of the head have a gradient that is not a number.
import { Rng } from '../../src/base/rng.ts';
import type { DistributedContext } from '../../src/torch/index.ts';
import { noOldModelInputs } from '../../src/train/old-model-inputs.ts';
import { disposeSession, openSession } from '../../src/train/session.ts';
import { trainStep } from '../../src/train/train-step.ts';
import { tinyRecipe } from '../helpers/recipes.ts';
import { CLASSES, sessionNumbers, spoiltHead, stepAt, tinyBatch } from '../helpers/session.ts';

export function run({ group }: DistributedContext) {
  const session = openSession(tinyRecipe({}), CLASSES, new Rng(1), { group });
  const learned = () => sessionNumbers({ ...session, backbone: session.head }); // statistics are put back elsewhere
  const before = JSON.stringify(learned());
  const head = group.rank === group.processes - 1 ? spoiltHead(session.head, 'weight') : session.head;
  const { loss, finite } = trainStep({ ...session, head }, tinyBatch(6), noOldModelInputs, stepAt());
  const same = JSON.stringify(learned()) === before;
  disposeSession(session);
  return { same, finite, loss };
}
