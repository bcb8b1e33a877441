import { exportFormats } from '../export/export-files.ts';
import { command } from './context.ts';
import { REQUIRED } from './options.ts';

const PIXELS = 'ONNX: numbers mapped by the caller, or bytes of RGB pictures';

export const exportCommand = () =>
  command('export', 'write a trained model as a file that other programs read, with a model card beside it')
    .example('mixbct export runs/new --to onnx --out new.onnx --unit-length --check data/k12/k12_32_eval')
    .argument('<run>', 'folder of a finished run')
    .choiceOption('--to <format>', 'format of the file', exportFormats, REQUIRED)
    .requiredOption('--out <file>', 'file to write; the card is named after it')
    .shared('space')
    .option('--unit-length', 'ONNX: scale embeddings to length 1', false)
    .choiceOption('--pixels <input>', PIXELS, ['mapped', 'uint8-nhwc'], 'mapped')
    .option('--half', 'store the weights in float16: half the size', false)
    .option('--check <dataset>', 'ONNX: embed some of its images both ways first, through ONNX Runtime')
    .option('--evaluation <evaluation>', 'evaluation whose figures go into the model card')
    .shared('threads', 'force')
    .computes(async (run: string, options) => {
      const { exportModel } = await import('../export/export-model.ts');
      const result = await exportModel(run, options);
      const { metadata, check: checked } = result;
      const text = `${result.file}: ${metadata['name']} with embeddings of ${metadata['embedding_dim']} dimensions, ${(result.bytes / 1e6).toFixed(1)} MB; ${result.card}`;
      const shown = checked
        ? `; ONNX Runtime on ${checked.images} images: largest difference of unit embeddings ${checked.largest.toExponential(1)}, smallest cosine ${checked.cosine.toFixed(6)}`
        : '';
      return [result, text + shown];
    });
