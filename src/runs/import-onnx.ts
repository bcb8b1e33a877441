import { copyFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { canonicalJson, digestOf, fileDigest } from '../artifacts/digest.ts';
import { requireDiskSpace } from '../artifacts/durable-write.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { type InputDeclaration, type InputRecipe, inputSchema, modelInput } from '../data/model-input.ts';
import { loadOnnxRuntime } from '../encoders/onnx-runtime.ts';
import { readOnnxFile } from '../encoders/onnx-schema.ts';
import { type OnnxInterface, OnnxSession, type OnnxValue, onnxMessage } from '../encoders/onnx-session.ts';
import { inputOfExport, withResizeOf } from './exported-input.ts';
import { importedRunFields } from './import-model.ts';
import { MOST_DIM, onnxRecipeSchema } from './recipe.ts';
import { type RunManifest, runArtifact, runFiles } from './run-artifact.ts';

/** What an ONNX file does not say of itself. */
export type OnnxDeclaration = {
  /** How pictures become its input; absent only where the file has metadata of `mixbct export`, or takes bytes. */
  readonly input?: InputDeclaration | undefined;
  /** Default: the name in the metadata of `mixbct export`, or of the run's folder. */
  readonly name?: string | undefined;
  /** Height and width of its input, where the file leaves them open. */
  readonly side?: number | undefined;
  readonly layout?: OnnxInterface['layout'] | undefined;
  /** Name of the output with the embeddings; default: the only one with two dimensions. */
  readonly output?: string | undefined;
};

/** Largest side of an input, and pixels of a batch of fixed size: a file must not ask for any amount of memory. */
const [MOST_SIDE, MOST_PIXELS] = [1024, 2 ** 26];
/** Images of the first run of a model whose batch has any size. */
const TRIED = 2;

/**
 * Makes a run of an ONNX file: it embeds through ONNX Runtime, and cannot be trained. The file and the files of weights
 * beside it are copied into the run, and the model embeds a few images once.
 * @throws UserError if ONNX Runtime is missing or a declaration is; FileError if the file is damaged, or is no model from
 * square RGB pictures to vectors.
 */
export async function importOnnx(
  path: string,
  declared: OnnxDeclaration,
  out: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<RunManifest> {
  await loadOnnxRuntime('an ONNX model');
  const file = readOnnxFile(path);
  const taken = new Set([MANIFEST, ...Object.values(runFiles('')).map((name) => basename(name))]);
  const clash = file.weightFiles.find((name) => taken.has(name));
  if (clash !== undefined)
    throw new FileError(path, `keeps weights in ${clash}, which is the name of a file of a run`, ONE_FILE);
  const ours = inputOfExport(path, file.metadata);
  return await runArtifact.write(out, { force, inputs: [path] }, async (folder) => {
    const beside = (name: string): string => join(dirname(path), name);
    const sizes = file.weightFiles.map((name) => statSync(beside(name)).size);
    requireDiskSpace(
      out,
      sizes.reduce((sum, size) => sum + size, file.bytes.length),
    );
    const model = runFiles(folder).onnx;
    writeFileSync(model, file.bytes);
    for (const name of file.weightFiles) copyFileSync(beside(name), join(folder, name));
    using session = await openSession(path, model);
    const { side, ...about } = interfaceOf(path, session, declared);
    const input = inputOf(path, about, declared.input, ours);
    const dim = await dimensionOf(path, session, { ...about, side, pixels: modelInput(input).pixels });
    const files = Object.fromEntries(
      [basename(model), ...file.weightFiles].map((name) => [name, fileDigest(join(folder, name))]),
    );
    const network = { name: 'onnx', embeddingDim: dim, inputSide: side };
    return {
      name: declared.name ?? file.metadata['name'] ?? basename(out),
      model: digestOf(canonicalJson({ ...about, files, side, ...modelInput(input) })),
      onnx: { ...about, files },
      recipe: onnxRecipeSchema.parse({ network, input }),
      ...importedRunFields(path),
    };
  });
}

const ONE_FILE = 'put the model into one file, in Python: onnx.save(onnx.load("model.onnx"), "one.onnx")';

async function openSession(path: string, model: string): Promise<OnnxSession> {
  try {
    return await OnnxSession.open(model, 'an ONNX model');
  } catch (error) {
    if (error instanceof UserError) throw error;
    const said = onnxMessage(error).replace(/^Load model from .*? failed:/, '');
    throw new FileError(
      path,
      `ONNX Runtime cannot load it (${said.replaceAll(model, path)})`,
      'export it again, with operators of the ONNX standard and an opset that this ONNX Runtime has',
    );
  }
}

/** `pixels: float32 [batch, 3, 112, 112]` */
const valueText = ({ name, type, shape }: OnnxValue): string =>
  `${name}: ${type} [${shape.map((size) => (size === '' ? '?' : size)).join(', ')}]`;

/** What the model takes and gives, as far as the file says it, and declarations where it does not. */
function interfaceOf(
  path: string,
  { inputs, outputs }: OnnxSession,
  { side: wantedSide, layout: wantedLayout, output: wantedOutput }: OnnxDeclaration,
): OnnxInterface & { readonly side: number } {
  const [input] = inputs;
  if (!input || inputs.length > 1)
    throw new FileError(
      path,
      `has ${inputs.length} inputs (${inputs.map(valueText).join('; ')}), wanted one of images`,
    );
  const { type, shape } = input;
  if ((type !== 'float32' && type !== 'float16' && type !== 'uint8') || shape.length !== 4)
    throw new FileError(
      path,
      `its input is ${valueText(input)}, wanted float32, float16 or uint8 with four dimensions`,
      'export it with images [B, 3, S, S] or [B, S, S, 3] as its input',
    );
  const layout = wantedLayout ?? (shape[1] === 3 ? 'NCHW' : shape[3] === 3 ? 'NHWC' : undefined);
  if (layout === undefined)
    throw new FileError(
      path,
      `its input ${valueText(input)} leaves open where the channels are`,
      optionHint('say it with --layout'),
    );
  const [channels, height, width] = layout === 'NCHW' ? shape.slice(1) : [shape[3], shape[1], shape[2]];
  if (isFixed(channels) && channels !== 3)
    throw new FileError(path, `its input ${valueText(input)} has ${channels} channels as ${layout}, wanted 3`);
  const stated = isFixed(height) ? height : isFixed(width) ? width : undefined;
  const side = stated ?? wantedSide;
  if (side === undefined)
    throw new FileError(path, `its input ${valueText(input)} leaves its side open`, optionHint('say it with --side'));
  if ([height, width].some((size) => isFixed(size) && size !== side))
    throw new FileError(path, `its input ${valueText(input)} is no square, wanted as many rows as columns`);
  if (wantedSide !== undefined && wantedSide !== side)
    throw new FileError(path, `its input has ${side} rows and columns, --side ${wantedSide} was given`);
  const batch = isFixed(shape[0]) ? shape[0] : null;
  if (side > MOST_SIDE || (batch ?? 1) * side * side > MOST_PIXELS)
    throw new FileError(
      path,
      `its input ${valueText(input)} is too large, wanted a side of at most ${MOST_SIDE} and at most ${MOST_PIXELS} pixels in a batch`,
    );
  return { input: input.name, type, layout, batch, output: outputOf(path, outputs, wantedOutput).name, side };
}

const isFixed = (size: number | string | undefined): size is number => typeof size === 'number' && size > 0;

function outputOf(path: string, outputs: readonly OnnxValue[], wanted: string | undefined): OnnxValue {
  const all = outputs.map(valueText).join('; ');
  // a shape that is not stated is empty
  const flat = outputs.filter(({ shape }) => shape.length === 2 || (shape.length === 0 && outputs.length === 1));
  const [output] = wanted === undefined ? flat : outputs.filter(({ name }) => name === wanted);
  if (wanted === undefined && flat.length > 1)
    throw new FileError(
      path,
      `has several outputs with two dimensions (${all})`,
      optionHint('choose one with --output'),
    );
  if (!output)
    throw new FileError(
      path,
      wanted === undefined ? `has no output with two dimensions (${all})` : `has no output ${wanted} (${all})`,
      wanted === undefined ? 'export it with embeddings [B, D] as an output' : optionHint('choose one with --output'),
    );
  if (!['float32', 'float16'].includes(output.type) || ![0, 2].includes(output.shape.length))
    throw new FileError(
      path,
      `its output ${valueText(output)} are no embeddings, wanted float32 or float16 [B, D]`,
      'export it with embeddings [B, D] in float32 or float16 as an output',
    );
  return output;
}

/**
 * How pictures become the input. The mapping is what the file does itself, or the metadata of `mixbct export` say, else what is
 * declared; the resize rule is declared, else of the metadata.
 */
function inputOf(
  path: string,
  { type }: OnnxInterface,
  declared: InputDeclaration | undefined,
  ours: InputRecipe | null,
): InputRecipe {
  const resized = ours ? withResizeOf(ours, declared ?? {}) : declared;
  const mapped = declared?.pixels !== undefined || declared?.mean !== undefined;
  const turned = declared?.channels === 'BGR';
  if (mapped ? ours || type === 'uint8' : ours && turned)
    throw new FileError(
      path,
      `${type === 'uint8' ? 'maps' : 'says how it maps'} pixels itself, and a mapping is declared`,
      optionHint('leave out', ['--pixels', '--mean', '--std', '--channels']),
    );
  const { resize, background } = resized ?? {};
  if (type === 'uint8') return inputSchema.parse({ resize, background, mean: 0, std: 1, channels: declared?.channels });
  if (resized && (ours || mapped)) return inputSchema.parse(resized);
  throw new FileError(path, 'does not say how pixels become its input', [
    optionHint('name it with --pixels'),
    optionHint('give --mean and --std, in units of bytes'),
  ]);
}

/** Embeds a few images of noise. → D */
async function dimensionOf(
  path: string,
  session: OnnxSession,
  about: Parameters<OnnxSession['embed']>[2],
): Promise<number> {
  const rng = new Rng(0);
  const count = about.batch ?? TRIED;
  const images = Uint8Array.from({ length: count * about.side ** 2 * 3 }, () => rng.integer(256));
  let rows: Float32Array;
  try {
    rows = await session.embed(images, count, about);
  } catch (error) {
    if (error instanceof UserError)
      throw new FileError(
        path,
        error.problem,
        'export it with a dynamic batch dimension, or a fixed one that it states',
      );
    throw new FileError(
      path,
      `ONNX Runtime fails to embed ${count} images of ${about.side} × ${about.side} pixels (${onnxMessage(error)})`,
      optionHint('give the side that it was made for with --side'),
    );
  }
  const dim = rows.length / count;
  if (dim < 1 || dim > MOST_DIM)
    throw new FileError(path, `its embeddings have ${dim} dimensions, wanted 1 to ${MOST_DIM}`);
  if (!rows.every(Number.isFinite))
    throw new FileError(path, 'its embeddings of noise are not finite', 'this model has diverged: use another');
  return dim;
}
