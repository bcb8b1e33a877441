import { channelOrders, pixelPresets, resizeRules } from '../data/pixels.ts';
import { backboneNames } from '../models/names.ts';
import { command } from './context.ts';

const NETWORK = 'backbone of a state_dict; torchscript: the file is a program, which is run';
const SIDE = 'height and width of its input (default: 112; most ONNX files state it)';
const WIDTH = 'factor on the channel counts of the full network (default: 1)';
const BYTE = { whole: true, least: 0, most: 255 };

export const importModelCommand = () =>
  command('import-model', 'import a model that was trained elsewhere (a PyTorch, safetensors or ONNX file)')
    .example(
      'mixbct import-model model.pt --network r50 --out runs/old',
      'mixbct import-model model.onnx --mean 127.5 --std 128 --out runs/old',
    )
    .argument('<file>', 'state_dict saved by torch.save (.pt, .pth), .safetensors, or .onnx')
    .choiceOption('--network <name>', NETWORK, [...backboneNames, 'torchscript'])
    .requiredOption('--out <folder>', 'folder of the run')
    .option('--name <text>', 'name of the model (default: that in an ONNX file, else the name of that folder)')
    .wholeOption('--side <pixels>', SIDE, { least: 1, most: 1024 })
    .numberOption('--width <factor>', WIDTH, { above: 0, most: 4 })
    .choiceOption('--pixels <name>', 'mean and std by name', Object.keys(pixelPresets))
    .perChannelOption('--mean <numbers>', 'subtracted from pixels of 0 to 255', { least: 0, most: 255 })
    .perChannelOption('--std <numbers>', 'the difference is divided by it', { least: 1, most: 1000 })
    .choiceOption('--channels <order>', 'order of channels, --mean and --std', channelOrders)
    .choiceOption('--resize <rule>', 'how pictures become squares', resizeRules)
    .perChannelOption('--background <numbers>', 'RGB of the margins of --resize fit', BYTE)
    .choiceOption('--layout <order>', 'ONNX: dimensions of the input', ['NCHW', 'NHWC'])
    .option('--output <name>', 'ONNX: output with the embeddings (default: the only one with two dimensions)')
    .shared('force')
    .prints(async (file: string, options) => {
      const { importModelFile, importNotes } = await import('../runs/import-model-file.ts');
      const manifest = await importModelFile(file, options, options.out, options);
      const { name, embeddingDim } = manifest.recipe.network;
      const model = `${options.out}: ${name} with embeddings of ${embeddingDim} dimensions`;
      return [manifest, [model, ...importNotes(manifest)].join('; ')];
    });
