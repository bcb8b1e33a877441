import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { FileError, UserError } from '../base/errors.ts';
import { headSchema } from '../heads/index.ts';
import { type MethodName, methods } from '../methods/index.ts';
import { backboneNames } from '../models/index.ts';
import { applySettings, describeIssues } from './settings.ts';

const inEpochs = 'in epochs; fractions are allowed';

export const networkSchema = z.strictObject({
  name: z.enum(backboneNames as [string, ...string[]]).describe('backbone'),
  embeddingDim: z.int().positive().describe('D, size of an embedding'),
  inputSide: z.int().positive().multipleOf(16).default(112).describe('height and width of the input, in pixels'),
  width: z.number().positive().max(4).default(1).describe('multiplies the channel counts'),
  dropout: z.number().min(0).lt(1).default(0),
});
export type NetworkRecipe = z.infer<typeof networkSchema>;

const methodSchema = z.discriminatedUnion(
  'kind',
  Object.values(methods).map((method) =>
    method.options.extend({ kind: z.literal(method.name as MethodName) }),
  ) as unknown as [z.ZodObject<{ kind: z.ZodLiteral<MethodName> }>],
);

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

/** The full description of one training run, but for the data it runs on. */
export const recipeSchema = z.strictObject({
  name: z.string().min(1).optional(),
  network: networkSchema,
  head: headSchema.default({ kind: 'arcface', marginRad: 0.5, scale: 64 }),
  method: methodSchema.default({ kind: 'independent' }),
  optimizer: optimizerSchema.default({ kind: 'sgd', lr: 0.1, momentum: 0.9, weightDecay: 5e-4 }),
  schedule: scheduleSchema.default({ kind: 'polynomial', power: 2, warmupEpochs: 0 }),
  epochs: z.int().positive().default(35),
  batchSize: z.int().positive().default(128).describe('B'),
  clipNorm: z
    .number()
    .positive()
    .nullable()
    .default(5)
    .describe('largest joint gradient norm of the backbone; null: no clipping'),
  augment: augmentSchema.default({ flip: true, rotateDeg: 0, scale: 0, shift: 0 }),
  seed: z.int().min(0).default(666),
});
export type Recipe = z.infer<typeof recipeSchema>;

/** Reads a recipe and applies `--set` settings. @throws UserError listing every problem at once. */
export function loadRecipe(path: string, settings: readonly string[] = []): Recipe {
  return parseRecipe(readYaml(path), path, settings);
}

export function parseRecipe(raw: unknown, where: string, settings: readonly string[] = []): Recipe {
  const result = recipeSchema.safeParse(applySettings(raw, settings));
  if (result.success) return result.data;
  throw new UserError(`${where}: ${describeIssues(result.error, recipeSchema)}`, {
    hint: 'every option with its default: mixbct schema recipe',
  });
}

/** Parses a YAML file. @throws FileError with line and column. */
export function readYaml(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new FileError(path, `cannot be read (${(error as Error).message})`);
  }
  const document = parseDocument(text, { prettyErrors: true, merge: true });
  const [problem] = document.errors;
  if (problem) throw new FileError(path, `not valid YAML: ${problem.message}`);
  return document.toJS();
}
