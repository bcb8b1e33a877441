// Trains a compatibility method of one's own on one's own pictures, and says whether the new model can serve the old gallery.
// The folder has one folder of pictures for each class. A fifth of the classes is for evaluation: no model sees them.
//
//   npm install zod
//   npx tsx train-own-method.ts PICTURES OUT [EPOCHS]
import { join } from 'node:path';
import { evaluate, extract, type TrainOptions, terminalReporter, train } from 'mixbct';
import { holdOut, openDataset } from 'mixbct/data';
import { defineMethod, registerMethod } from 'mixbct/methods';
import { mean, normalizeRows, square, sub, sum } from 'mixbct/torch';
import { z } from 'zod';

const [pictures, out, epochs = '20'] = process.argv.slice(2);
if (!pictures || !out) throw new Error('wanted: PICTURES OUT [EPOCHS]');

/** Draws each new embedding to the old one of the same picture. */
const pull = defineMethod({
  name: 'pull',
  source: 'squared distance of unit embeddings',
  needs: ['oldEmbedding'], // what `terms` may read of `old`
  projects: true,
  options: z.strictObject({ weight: z.number().min(0).default(1) }),
  start: ({ weight }) => ({
    terms: ({ embeddings, inOldSpace, labels, head, old }) => ({
      classify: { value: head.loss(embeddings, labels), weight: 1 },
      pull: { value: mean(sum(square(sub(normalizeRows(inOldSpace), old.oldEmbedding)), { dim: 1 })), weight },
    }),
  }),
});
registerMethod(pull);

const at = (name: string): string => join(out, name);
const reporter = terminalReporter;
using all = openDataset(pictures);
const [evaluation, training] = await holdOut(all, { classes: Math.ceil(all.classes / 5), seed: 1, out: at('data') });
if (!evaluation || !training) throw new Error('no parts');

const shared = {
  head: { kind: 'arcface', marginRad: 0.3, scale: 32 },
  optimizer: { kind: 'adamw', lr: 3e-3, weightDecay: 0.05 },
  epochs: Number(epochs),
  batchSize: 32,
};
const network = { embeddingDim: 64, inputSide: 32, width: 0.25 };
const trained = (name: string, recipe: TrainOptions['recipe'], old?: TrainOptions['old']) =>
  train({ recipe, dataset: training.prefix, out: at(name), reporter, resume: 'auto', ...(old && { old }) });
const embedded = (model: string, dataset: string, name: string) =>
  extract({ model: at(model), dataset, out: at(name), reporter, force: true });

await trained('old', { ...shared, network: { ...network, name: 'mbf' } });
await embedded('old', training.prefix, 'old-training');
const recipe = { ...shared, network: { ...network, name: 'r18' }, method: { kind: 'pull', weight: 4 } };
await trained('new', recipe, { features: at('old-training') });

await embedded('old', evaluation.prefix, 'old-evaluation');
await embedded('new', evaluation.prefix, 'new-evaluation');
const { candidates } = await evaluate({
  title: 'A method of my own',
  old: at('old-evaluation'),
  candidates: [{ name: 'pull', features: at('new-evaluation') }],
  seed: 1,
  out: at('judged'),
  force: true,
});
for (const { metric, oldOld, newOld, criterion } of candidates[0]!.comparisons)
  console.log(`${metric}: old → old ${oldOld.toFixed(4)}, new → old ${newOld.toFixed(4)}, ${criterion}`);
console.log(`read ${at('judged/report.html')}`);
