import { z } from 'zod';
import type { Rng } from '../base/rng.ts';
import { singleProcess } from '../torch/index.ts';
import type { Head } from './head.ts';
import { ArcFace, CosFace, SINE_SQUARED_FLOOR } from './margin.ts';
import { Simplex } from './simplex.ts';
import { Softmax } from './softmax.ts';

export { saturatedCrossEntropy } from './cross-entropy.ts';
export { Head, type StepHead } from './head.ts';
export { ArcFace, type ArcFaceOptions, arcfaceLogits, CosFace, type CosFaceOptions, cosfaceLogits } from './margin.ts';
export { sampleClasses } from './sampling.ts';
export {
  labelsInShard,
  type Reductions,
  type Shard,
  type ShardLogits,
  shardedCrossEntropy,
  shardOf,
} from './shards.ts';
export { Simplex, simplexVertices } from './simplex.ts';
export { Softmax } from './softmax.ts';

const scale = z.number().positive().default(64).describe('factor on the cosines');
const sampleRate = z
  .number()
  .positive()
  .max(1)
  .default(1)
  .describe(
    'share of the classes that each step samples: those of the batch and random others; only these are updated',
  );

/** The `head` section of a recipe. */
export const headSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('arcface'),
    marginRad: z.number().min(0).max(1.5).default(0.5).describe('additive angular margin, in radians'),
    scale,
    sampleRate,
    sineFloor: z
      .number()
      .min(0)
      .default(SINE_SQUARED_FLOOR)
      .describe('1 - cos² is held above this; 0 as the reference, whose gradient is infinite at cos = ±1 (D-29)'),
  }),
  z.strictObject({
    kind: z.literal('cosface'),
    marginCos: z.number().min(0).max(1).default(0.4).describe('margin on the cosine'),
    scale,
    sampleRate,
  }),
  z.strictObject({ kind: z.literal('softmax') }),
  z.strictObject({
    kind: z.literal('simplex').describe('not learned: classes are vertices of a regular simplex'),
    firstVertex: z
      .int()
      .min(0)
      .default(0)
      .describe('vertex of the first class, of embeddingDim + 1: models that share a class share its vertex'),
  }),
]);
export type HeadRecipe = z.infer<typeof headSchema>;

/** Makes a head. The classes of a margin head are sharded over `group`; a softmax head is replicated. */
export function makeHead(
  recipe: HeadRecipe,
  embeddingDim: number,
  classes: number,
  rng: Rng,
  group = singleProcess,
): Head {
  switch (recipe.kind) {
    case 'arcface':
      return new ArcFace(embeddingDim, classes, recipe, rng, group);
    case 'cosface':
      return new CosFace(embeddingDim, classes, recipe, rng, group);
    case 'softmax':
      return new Softmax(embeddingDim, classes, rng);
    case 'simplex':
      return new Simplex(embeddingDim, classes, recipe);
  }
}
