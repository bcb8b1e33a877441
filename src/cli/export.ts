import { type Command, Option } from 'commander';
import { exportFormats } from '../export/export-files.ts';
import { command, print, useThreads } from './context.ts';

export function exportCommand(): Command {
  return command(
    'export',
    'write a trained model as a file that other programs read, with a model card beside it',
    'mixbct export runs/new --to onnx --out new.onnx --unit-length --check data/k12/k12_32_eval',
  )
    .argument('<run>', 'folder of a finished run')
    .addOption(new Option('--to <format>', 'format of the file').choices(exportFormats).makeOptionMandatory())
    .requiredOption('--out <file>', 'file to write; the card is named after it')
    .shared('space')
    .option('--unit-length', 'ONNX: scale embeddings to length 1', false)
    .addOption(
      new Option('--pixels <input>', 'ONNX: numbers mapped by the caller, or bytes of RGB pictures')
        .choices(['mapped', 'uint8-nhwc'])
        .default('mapped'),
    )
    .option('--half', 'store the weights in float16: half the size', false)
    .option('--check <dataset>', 'ONNX: embed some of its images both ways first, through ONNX Runtime')
    .option('--evaluation <folder>', 'evaluation whose figures go into the model card')
    .shared('threads', 'force')
    .action(async (run: string, options) => {
      await useThreads(options.threads);
      const { exportModel } = await import('../export/export-model.ts');
      const result = await exportModel(run, options);
      const { metadata, check: checked } = result;
      const text = `${result.file}: ${metadata['name']} with embeddings of ${metadata['embedding_dim']} dimensions, ${(result.bytes / 1e6).toFixed(1)} MB; ${result.card}`;
      const shown = checked
        ? `; ONNX Runtime on ${checked.images} images: largest difference of unit embeddings ${checked.largest.toExponential(1)}, smallest cosine ${checked.cosine.toFixed(6)}`
        : '';
      print(options, result, text + shown);
    });
}
