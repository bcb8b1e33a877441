import { type Command, Option } from 'commander';
import { channelOrders, pixelPresets, resizeRules } from '../data/pixels.ts';
import { backboneNames } from '../models/names.ts';
import { command, print } from './context.ts';
import { numberOption, perChannelOption, wholeOption } from './options.ts';

const SIDE = 'height and width of its input (default: 112; most ONNX files state it)';
const WIDTH = 'factor on the channel counts of the full network (default: 1)';
const BYTE = { whole: true, least: 0, most: 255 };

export function importModelCommand(): Command {
  return command(
    'import-model',
    'import a model that was trained elsewhere (a PyTorch, safetensors or ONNX file)',
    'mixbct import-model model.pt --network r50 --out runs/old\nmixbct import-model model.onnx --mean 127.5 --std 128 --out runs/old',
  )
    .argument('<file>', 'state_dict saved by torch.save (.pt, .pth), .safetensors, or .onnx')
    .addOption(
      new Option(
        '--network <name>',
        'backbone of a state_dict; torchscript: the file is a program, which is run',
      ).choices([...backboneNames, 'torchscript']),
    )
    .requiredOption('--out <folder>', 'folder of the run')
    .option('--name <text>', 'name of the model (default: the name of that folder)')
    .addOption(wholeOption('--side <pixels>', SIDE, { least: 1, most: 1024 }))
    .addOption(numberOption('--width <factor>', WIDTH, { above: 0, most: 4 }))
    .addOption(new Option('--pixels <name>', 'mean and std by name').choices(Object.keys(pixelPresets)))
    .addOption(perChannelOption('--mean <numbers>', 'subtracted from pixels of 0 to 255', { least: 0, most: 255 }))
    .addOption(perChannelOption('--std <numbers>', 'the difference is divided by it', { least: 1, most: 1000 }))
    .addOption(new Option('--channels <order>', 'order of channels, --mean and --std').choices(channelOrders))
    .addOption(new Option('--resize <rule>', 'how pictures become squares').choices(resizeRules))
    .addOption(perChannelOption('--background <numbers>', 'RGB of the margins of --resize fit', BYTE))
    .addOption(new Option('--layout <order>', 'ONNX: dimensions of the input').choices(['NCHW', 'NHWC']))
    .option('--output <name>', 'ONNX: output with the embeddings (default: the only one with two dimensions)')
    .shared('force')
    .action(async (file: string, options) => {
      const { importModelFile, importNotes } = await import('../runs/import-model-file.ts');
      const manifest = await importModelFile(file, options, options.out, options);
      const { name, embeddingDim } = manifest.recipe.network;
      const model = `${options.out}: ${name} with embeddings of ${embeddingDim} dimensions`;
      print(options, manifest, [model, ...importNotes(manifest)].join('; '));
    });
}
