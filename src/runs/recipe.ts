import { z } from 'zod';
import { inputSchema } from '../data/model-input.ts';
import { headSchema } from '../heads/index.ts';
import {
  COMPOSE,
  compositionProblem,
  knownMethods,
  type MethodName,
  methodNamed,
  whenRegistered,
} from '../methods/index.ts';
import { backboneNames } from '../models/index.ts';
import { precisions } from '../models/precisions.ts';

/** Larger than any embedding in use, so that a typing error cannot exhaust memory. */
export const MOST_DIM = 65_536;

/** Null: the backbone's own default. */
const open = <T extends z.ZodType>(schema: T) => schema.nullable().default(null);
const inEpochs = 'in epochs; fractions are allowed';

export const networkSchema = z.strictObject({
  name: z
    .enum([...backboneNames, 'torchscript'])
    .describe('backbone; torchscript: any network of PyTorch, as the file that torch.jit.script(model).save wrote'),
  file: z
    .string()
    .min(1)
    .optional()
    .describe('of torchscript: the file, from the working folder or from the recipe’s; its code is run, so trust it'),
  embeddingDim: z.int().positive().max(MOST_DIM).describe('D, size of an embedding'),
  inputSide: z
    .int()
    .positive()
    .max(1024)
    .default(112)
    .describe('height and width of the input, in pixels: a multiple of 16, but for torchscript'),
  width: z.number().positive().max(4).default(1).describe('multiplies the channel counts'),
  dropout: z.number().min(0).lt(1).default(0).describe('before the last layer (iresnet)'),
  dropPath: open(z.number().min(0).lt(1)).describe('largest share of samples that skip a branch (vit)'),
  maskRatio: open(z.number().min(0).lt(1)).describe('share of the tokens that training leaves out (vit)'),
  checkpointEvery: open(z.int().min(0)).describe(
    'activation checkpointing: blocks that backward computes again together instead of remembering them; 0: none',
  ),
});
export type NetworkRecipe = z.infer<typeof networkSchema>;

function methodSection() {
  const sections = knownMethods().map((method) =>
    method.options.extend({ kind: z.literal(method.name as MethodName) }),
  ) as unknown as [z.ZodObject<{ kind: z.ZodLiteral<MethodName> }>];
  const composition = z
    .strictObject({
      kind: z.literal(COMPOSE),
      of: z.array(z.discriminatedUnion('kind', sections)).min(1).describe('sections of methods whose terms add up'),
    })
    .superRefine(({ of }, { addIssue }) => {
      const parts = of.map(({ kind }) => methodNamed(kind));
      const message = compositionProblem(parts.map(({ name, replacesRows = false }) => ({ name, replacesRows })));
      if (message !== undefined) addIssue({ code: 'custom', path: ['of'], message });
    });
  return z.discriminatedUnion('kind', [...sections, composition]).default({ kind: 'independent' });
}

const optimizerSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sgd'),
    lr: z.number().positive().default(0.1).describe('peak learning rate'),
    momentum: z.number().min(0).lt(1).default(0.9),
    weightDecay: z.number().min(0).default(5e-4).describe('on every parameter'),
  }),
  z.strictObject({
    kind: z.literal('adamw'),
    lr: z.number().positive().default(1e-3).describe('peak learning rate'),
    weightDecay: z.number().min(0).default(0.1).describe('decoupled'),
  }),
]);

const warmupEpochs = z.number().default(0).describe(inEpochs);
const scheduleSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('polynomial'), power: z.number().positive().default(2), warmupEpochs }),
  z.strictObject({ kind: z.literal('cosine'), warmupEpochs }),
  z.strictObject({
    kind: z.literal('step'),
    milestoneEpochs: z.array(z.number().positive()).default([20, 26, 32]),
    factor: z.number().positive().lt(1).default(0.1),
    warmupEpochs,
  }),
  z.strictObject({ kind: z.literal('constant'), warmupEpochs }),
]);

const augmentSchema = z.strictObject({
  flip: z.boolean().default(true).describe('mirror half of the images'),
  rotateDeg: z.number().min(0).max(180).default(0).describe('turn by up to ± this'),
  scale: z.number().min(0).lt(1).default(0).describe('size times 1 ± this'),
  shift: z.number().min(0).lt(1).default(0).describe('move by up to ± this share of the side'),
});

const projectionSchema = z.strictObject({
  dim: z
    .int()
    .positive()
    .max(MOST_DIM)
    .describe('size of the old embeddings: a learned linear map leads there from the new ones'),
  orthonormal: z.boolean().optional().describe('the map is a slice of a learned rotation of the new embeddings (bt2)'),
});

/** Parts of a run that a training can begin from. */
export const initParts = ['backbone', 'projection', 'head'] as const;
const initSchema = z.strictObject({
  from: z
    .string()
    .min(1)
    .describe('a finished run, or a PyTorch or safetensors file; from the working folder, or from the recipe’s'),
  parts: z
    .array(z.enum(initParts))
    .min(1)
    .default(['backbone'])
    .describe('what is taken of a run; a file is the state of a backbone'),
  partial: z.boolean().default(false).describe('take the tensors that fit by name and shape; the others are drawn'),
});

const validationSchema = z.strictObject({
  every: z
    .int()
    .positive()
    .max(1_000_000)
    .default(1)
    .describe('epochs between two validations; there is one at the end, too'),
  metric: z
    .enum(['rank-1', 'TAR@FAR=1e-3'])
    .default('rank-1')
    .describe('the metric that early and keepBest decide by; all are logged'),
  gallery: z
    .enum(['old', 'new'])
    .optional()
    .describe('whose gallery it searches; default: old if there are features of the old model, else new'),
  early: z
    .int()
    .positive()
    .max(1_000_000)
    .optional()
    .describe('training ends after so many validations in a row without a better one; default: never'),
  keepBest: z.boolean().default(false).describe('the finished model is that of the best validation, not the last'),
});
export type ValidationRecipe = z.infer<typeof validationSchema>;

const pretendSchema = z.strictObject({
  classes: z.int().positive().max(1_000_000_000).optional().describe('classes of the head, at least those of the data'),
  images: z.int().positive().optional().describe('images in an epoch, as the learning-rate schedule counts them'),
});

/** A training run without its data; with the methods that are known when it is read. */
export let recipeSchema = z.strictObject({
  name: z.string().min(1).optional(),
  preset: z
    .enum(['default', 'reference'])
    .default('default')
    .describe('reference: what the recipe leaves open is as the reference code has it, defects included'),
  network: networkSchema,
  input: inputSchema.optional().describe('how pictures become numbers; default: (x - 127.5) / 127.5 of stretched ones'),
  init: initSchema.optional().describe('what training begins from, instead of random weights'),
  freeze: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe(
      'parameters and stages of the backbone that do not train, by name (layer1); their batch norms stay in evaluation mode',
    ),
  backboneLr: z
    .number()
    .positive()
    .max(1000)
    .optional()
    .describe('learning rate of the backbone, as a factor of the learning rate'),
  projection: projectionSchema.nullable().default(null).describe('for an old model of another dimension'),
  head: headSchema.prefault({ kind: 'arcface' }),
  method: methodSection(),
  optimizer: optimizerSchema.default({ kind: 'sgd', lr: 0.1, momentum: 0.9, weightDecay: 5e-4 }),
  schedule: scheduleSchema.default({ kind: 'polynomial', power: 2, warmupEpochs: 0 }),
  epochs: z.int().positive().max(1_000_000).default(35),
  batchSize: z.int().positive().max(1_048_576).default(128).describe('B, over all processes: each has an equal share'),
  syncBatchNorm: z
    .boolean()
    .default(false)
    .describe('batch statistics of the whole batch, where each process would take those of its share'),
  accumulate: z
    .int()
    .positive()
    .default(1)
    .describe(
      'parts in which a batch goes through the backbone: memory of one part, time of one more forward pass; methods see the whole batch, batch norms a part',
    ),
  precision: z
    .enum(precisions)
    .default('float32')
    .describe('of the backbone, whatever the method (D-03); bf16 pays on processors that have it, fp16 on CUDA'),
  clipNorm: z
    .number()
    .positive()
    .nullable()
    .default(5)
    .describe('largest joint gradient norm of the backbone; null: no clipping'),
  augment: augmentSchema.default({ flip: true, rotateDeg: 0, scale: 0, shift: 0 }),
  pretend: pretendSchema.optional().describe('numbers of another data set than the one trained on (D-10)'),
  validation: validationSchema
    .optional()
    .describe('measures the model on held-out images while it trains; absent: it does not'),
  logs: z.enum(['tensorboard']).optional().describe('another form of the log: event files of TensorBoard'),
  seed: z.int().min(0).default(666),
});
export type Recipe = z.infer<typeof recipeSchema>;
whenRegistered(() => {
  recipeSchema = recipeSchema.extend({ method: methodSection() });
});

/** What of a recipe a model depends on: places of files do not count, whose digests say what they are, nor does the form of the log. */
export const withoutPlaces = ({ init, logs: _, ...recipe }: Recipe): object => ({
  ...recipe,
  ...(recipe.network.file !== undefined && { network: { ...recipe.network, file: null } }),
  ...(init && { init: { ...init, from: null } }),
});

/** The recipe in the manifest of an ONNX model. Its network is no backbone that training could begin with. */
export const onnxRecipeSchema = recipeSchema.extend({
  network: networkSchema.extend({ name: z.literal('onnx'), inputSide: z.int().positive().max(1024) }),
}) as unknown as typeof recipeSchema;
