import { type Command, Option } from 'commander';
import { backboneNames } from '../models/names.ts';
import { command, print } from './context.ts';
import { numberOption, wholeOption } from './options.ts';

export function importModelCommand(): Command {
  return command(
    'import-model',
    'import a model that was trained elsewhere (a PyTorch or safetensors file)',
    'mixbct import-model model.pt --network r50 --out runs/old',
  )
    .argument('<file>', 'state_dict saved by torch.save (.pt, .pth), or .safetensors')
    .addOption(new Option('--network <name>', 'backbone of the model').choices(backboneNames).makeOptionMandatory())
    .requiredOption('--out <folder>', 'folder of the run')
    .addOption(wholeOption('--side <pixels>', 'height and width of its input', { least: 1, most: 1024 }, 112))
    .addOption(
      numberOption('--width <factor>', 'factor on the channel counts of the full network', { above: 0, most: 4 }, 1),
    )
    .shared('force')
    .action(async (file: string, options) => {
      const { importModel, importNotes } = await import('../runs/import-model.ts');
      const manifest = await importModel(file, options, options.out, options);
      const { name, embeddingDim } = manifest.recipe.network;
      const model = `${options.out}: ${name} with embeddings of ${embeddingDim} dimensions`;
      print(options, manifest, [model, ...importNotes(manifest.imported!)].join('; '));
    });
}
