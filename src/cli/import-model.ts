import { type Command, Option } from 'commander';
import { backboneNames } from '../models/index.ts';
import { importModel } from '../train/import.ts';
import { command, decimal, force, print, wholeNumber } from './context.ts';

export function importModelCommand(): Command {
  return command(
    'import-model',
    'take in a model that was trained elsewhere, as a PyTorch or safetensors file',
    'mixbct import-model model.pt --network r50 --out runs/old',
  )
    .argument('<file>', 'state_dict saved by torch.save (.pt, .pth), or .safetensors')
    .addOption(
      new Option('--network <name>', 'backbone it is the state of').choices(backboneNames).makeOptionMandatory(),
    )
    .requiredOption('--out <folder>', 'folder of the run')
    .option('--side <pixels>', 'height and width of its input', wholeNumber, 112)
    .option('--width <factor>', 'its channel counts, times those of the full network', decimal, 1)
    .addOption(force())
    .action(async (file: string, options) => {
      const manifest = await importModel(file, options, options.out, options);
      const parts = [...new Set(manifest.imported!.leftOut.map((name) => name.split('.', 1)[0]!))];
      const { name, embeddingDim } = manifest.recipe.network;
      print(
        options,
        manifest,
        `${options.out}: ${name} with embeddings of ${embeddingDim} dimensions${
          parts.length > 0 ? `; left out, as only training needs them: ${parts.join(', ')}` : ''
        }`,
      );
    });
}
