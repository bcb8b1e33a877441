import { basename } from 'node:path';
import { fileDigest } from '../artifacts/digest.ts';
import { inputSchema } from '../data/model-input.ts';
import { SCRIPTED, ScriptedBackbone } from '../models/scripted.ts';
import { type ImportedNetwork, importedRunFields } from './import-model.ts';
import { parseRecipe } from './load-recipe.ts';
import { identityOf } from './model-identity.ts';
import { type RunManifest, runArtifact, runFiles } from './run-artifact.ts';
import { requireFinite } from './weights-file.ts';
import { copyScript, writeBackbone } from './write-model.ts';

/**
 * Makes a finished run from a TorchScript file, with its weights. D is what it makes of an image. It runs the code of the file.
 * @throws FileError if the file is no such program, does not run on images of this side, or holds non-finite numbers.
 */
export async function importScripted(
  path: string,
  { side = 112, input: declared, name }: Omit<ImportedNetwork, 'network' | 'width'>,
  out: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<RunManifest> {
  const input = declared && inputSchema.parse(declared);
  return await runArtifact.write(out, { force, inputs: [path] }, (folder) => {
    const backbone = new ScriptedBackbone({ file: path, embeddingDim: null, inputSide: side });
    try {
      const { embeddingDim } = backbone;
      const network = { name: SCRIPTED, file: path, embeddingDim, inputSide: side };
      const recipe = parseRecipe({ network, ...(input && { input }) }, `--network ${SCRIPTED} --side ${side}`);
      requireFinite(path, new Map(backbone.state()));
      copyScript(folder, recipe.network);
      writeBackbone(folder, backbone, recipe.network);
      return {
        name: name ?? basename(out),
        ...identityOf(fileDigest(runFiles(folder).model), { input }),
        script: fileDigest(runFiles(folder).script),
        recipe,
        ...importedRunFields(path),
      };
    } finally {
      backbone.dispose();
    }
  });
}
