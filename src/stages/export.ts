import { basename, join } from 'node:path';
import { z } from 'zod';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { datasetReference, defineStage, reference } from '../experiment/stage.ts';
import { exportArtifact } from '../export/export-artifact.ts';
import { type ExportFormat, exportFormats } from '../export/export-files.ts';

const files: Readonly<Record<ExportFormat, string>> = {
  onnx: 'model.onnx',
  pytorch: 'model.pt',
  safetensors: 'model.safetensors',
};

export const exportStage = defineStage({
  kind: 'export',
  summary: 'write a trained model as a file that other programs read, with a model card',
  inputs: { model: reference, check: datasetReference.optional(), evaluation: reference.optional() },
  options: {
    to: z.enum(exportFormats),
    space: z.enum(['own', 'old']).default('own').describe('old: through the projection of the recipe'),
    unitLength: z.boolean().default(false),
    pixels: z.enum(['mapped', 'uint8-nhwc']).default('mapped'),
    half: z.boolean().default(false).describe('weights in float16'),
  },
  describe: ({ model, to }) => `write ${model} as ${to}`,
  run: async ({ model, check, evaluation, ...options }, { out, force }) => {
    const { exportModel } = await import('../export/export-model.ts');
    return await exportArtifact.write(out, { force, inputs: [model, check, evaluation] }, async (folder) => {
      const file = join(folder, files[options.to]);
      const given = {
        ...options,
        ...(check !== undefined && { check }),
        ...(evaluation !== undefined && { evaluation }),
      };
      const { metadata } = await exportModel(model, { ...given, out: file });
      const { name, network, space } = metadata as Readonly<Record<'name' | 'network' | 'space', string>>;
      const about = { name, network, space, dim: Number(metadata['embedding_dim']) };
      return { file: basename(file), format: options.to, digest: cachedFileDigest(file), ...about };
    });
  },
});
