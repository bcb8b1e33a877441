import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import { StagedFiles } from '../artifacts/durable-write.ts';
import { kindAt } from '../artifacts/manifest.ts';
import { claimOutput, type OverwriteOptions, requireReplaceable } from '../artifacts/output-claim.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { openInputDataset } from '../data/input-dataset.ts';
import { modelInput } from '../data/model-input.ts';
import { embedWith, type Space } from '../encoders/index.ts';
import { loadOnnxRuntime } from '../encoders/onnx-runtime.ts';
import { readEvaluation } from '../eval/evaluation-artifact.ts';
import type { Evaluation } from '../eval/index.ts';
import { type PackResult, packAccuracyArtifact, readPackAccuracies } from '../eval/pack-accuracy-artifact.ts';
import { SCRIPTED } from '../models/scripted.ts';
import type { Linear } from '../nn/index.ts';
import { type LoadedModel, loadModel } from '../runs/load-model.ts';
import type { RunManifest } from '../runs/run-artifact.ts';
import {
  type HostTensor,
  hostTensor,
  pytorchArchive,
  safetensorsChunks,
  scope,
  type Tensor,
  to,
  toFloat32,
} from '../torch/index.ts';
import { cardPath, type ExportFormat, exportFiles } from './export-files.ts';
import { isStoredAsHalf } from './half-weights.ts';
import { modelCard } from './model-card.ts';
import { checkOnnx, type OnnxCheck } from './onnx-check.ts';
import { encodeOnnx } from './onnx-file.ts';
import { onnxModel, type PixelInput } from './onnx-model.ts';

export type ExportOptions = Pick<OverwriteOptions, 'force'> & {
  readonly to: ExportFormat;
  /** The file; its model card is written beside it. */
  readonly out: string;
  /** `old`: with the projection to the old model's space. */
  readonly space?: Space;
  /** ONNX: embeddings come out with length 1. */
  readonly unitLength?: boolean;
  /** ONNX: what goes in. */
  readonly pixels?: PixelInput;
  /** Store kernels and matrices in float16. */
  readonly half?: boolean;
  /** ONNX: dataset of which some images are embedded both ways before anything is written. */
  readonly check?: string;
  /** Folder of an evaluation (of labelled sets, IJB or packs) of this model, for the model card. */
  readonly evaluation?: string;
};

export type ExportResult = {
  readonly file: string;
  readonly card: string;
  readonly bytes: number;
  /** What the file says of itself: name, digests, side, pixel mapping, D, space, version. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly check: OnnxCheck | null;
};

/**
 * Writes the backbone of a finished run, in evaluation mode, as a file that other programs read, and a model card beside it.
 * @throws UserError if an option is none of the format's, the output may not be replaced, the evaluation is of other models or a
 * check fails; FileError if the run is damaged.
 */
export async function exportModel(run: string, options: ExportOptions): Promise<ExportResult> {
  const { to: format, out, space = 'own', check, force = false } = options;
  requireOptionsOf(options);
  if (check !== undefined) await loadOnnxRuntime('the check');
  using dataset = check === undefined ? null : openInputDataset(check);
  const evaluation = options.evaluation === undefined ? null : readJudgement(options.evaluation);
  const card = cardPath(out);
  const inputs = [run, check, options.evaluation];
  using _ = claimOutput(out, exportFiles[format], { force, inputs });
  requireReplaceable(card, exportFiles.card, { force: true, inputs });
  const model = loadModel(run, { space });
  try {
    const isOfModel = evaluation !== null && judgesModel(evaluation, model.manifest, options.evaluation!);
    const metadata = metadataOf(model, options);
    const chunks = await encoded(model, options, metadata);
    const { pixels = 'mapped' } = options;
    const checked = dataset && (await checkOnnx(chunks[0]!, pixels, encoderOf(model), dataset));
    using files = new StagedFiles();
    files.write(card, modelCard({ manifest: model.manifest, file: out, metadata, evaluation, isOfModel }));
    files.write(out, chunks);
    files.replace();
    return { file: out, card, bytes: chunks.reduce((sum, { length }) => sum + length, 0), metadata, check: checked };
  } finally {
    model.dispose();
  }
}

type Judgement = Evaluation | readonly PackResult[];

/** An evaluation of labelled sets or of IJB, or accuracies on packs. @throws FileError if it is neither */
const readJudgement = (folder: string): Judgement =>
  kindAt(folder) === packAccuracyArtifact.kind ? readPackAccuracies(folder) : readEvaluation(folder);

/**
 * Whether the models of an evaluation are known, and the exported one is among them, in one of its spaces.
 * @throws UserError if they are known to be others
 */
function judgesModel(judgement: Judgement, { name, model }: RunManifest, folder: string): boolean {
  const models = 'tests' in judgement ? judgement.models : [];
  const own = new Set<string | undefined>([model, digestOf(model, 'old')]);
  if (models.some(({ digest }) => own.has(digest))) return true;
  if (models.length === 0 || models.some(({ digest }) => digest === undefined)) return false;
  const others = models.map((other) => `${other.name} (digest ${other.digest})`).join(', ');
  throw new UserError(`${folder} judges ${others}, and not ${name} (digest ${model}), which is exported`, {
    hint: optionHint('name an evaluation of this model with --evaluation, or leave it out'),
  });
}

/** @throws UserError if an option is given that only ONNX files have. */
function requireOptionsOf({ to: format, unitLength = false, pixels = 'mapped', check }: ExportOptions): void {
  const options = [
    unitLength && 'unit length',
    pixels !== 'mapped' && 'pixels in bytes',
    check !== undefined && 'a check',
  ].filter(Boolean);
  if (format !== 'onnx' && options.length > 0)
    throw new UserError(`${options.join(', ')}: only an ONNX file has this, and ${format} was asked for`, {
      hint: optionHint('choose another format with --to'),
    });
}

const dimOf = ({ manifest: { recipe }, projection }: LoadedModel): number =>
  projection ? recipe.projection!.dim : recipe.network.embeddingDim;

const encoderOf = (model: LoadedModel) => {
  const side = model.manifest.recipe.network.inputSide;
  const input = modelInput(model.manifest.recipe.input);
  return { side, dim: dimOf(model), ...input, embed: embedWith(model, { side, pixels: input.pixels }) };
};

/** What a file says of itself. The key `mixbct` comes first: by it the file is known again. */
function metadataOf(model: LoadedModel, options: ExportOptions): Record<string, string> {
  const { to: format, space = 'own', unitLength = false, pixels = 'mapped', half = false } = options;
  const { manifest } = model;
  const { network } = manifest.recipe;
  const { inputSide: side } = network;
  const { input } = manifest.recipe;
  const { channels, mean, std } = modelInput(input).pixels;
  const floats = `${channels}, float32 [B, 3, ${side}, ${side}], (x - ${perChannel(mean)}) / ${perChannel(std)}`;
  return {
    mixbct: version,
    name: manifest.name,
    model: space === 'old' ? digestOf(manifest.model, 'old') : manifest.model,
    weights: manifest.weights ?? manifest.model,
    weights_type: half ? 'float16' : 'float32',
    recipe: digestOf(canonicalJson(manifest.recipe)),
    network: network.name,
    width: String(network.width),
    embedding_dim: String(dimOf(model)),
    side: String(side),
    pixels: pixels === 'mapped' ? floats : `RGB, uint8 [B, ${side}, ${side}, 3]`,
    ...(input && { input: canonicalJson(input) }),
    space,
    ...(format === 'onnx' && { unit_length: String(unitLength) }),
    preset: manifest.preset,
    ...(manifest.dataset && { trained_on: manifest.dataset.digest }),
  };
}

/** 127.5, or [123.675, 116.28, 103.53] */
const perChannel = (values: readonly number[]): string =>
  values.every((value) => value === values[0]) ? String(values[0]) : `[${values.join(', ')}]`;

/** The file's bytes, in chunks. */
async function encoded(
  model: LoadedModel,
  options: ExportOptions,
  metadata: Record<string, string>,
): Promise<Uint8Array[]> {
  const { to: format, unitLength = false, pixels = 'mapped', half = false } = options;
  if (format === 'onnx' && model.manifest.recipe.network.name === SCRIPTED)
    throw new UserError(
      `${model.manifest.name} has a scripted network, whose operators mixbct does not write as ONNX`,
      {
        hint: [
          optionHint('write its weights with --to pytorch'),
          'load them into the model in Python, then torch.onnx.export',
        ],
      },
    );
  if (format === 'onnx') {
    const { backbone, manifest } = model;
    const projection = model.projection as Linear | null;
    const { inputSide: side } = manifest.recipe.network;
    const { pixels: mapping } = modelInput(manifest.recipe.input);
    const about = { side, dim: dimOf(model), unitLength, pixels, mapping, half, metadata };
    return [encodeOnnx(onnxModel({ backbone, projection }, about))];
  }
  const state = stateOf(model, half);
  return format === 'pytorch' ? await pytorchArchive(state, metadata) : safetensorsChunks(state, metadata);
}

/** The state by the reference's names, and the projection's as `projection.weight`. */
function stateOf({ backbone, projection }: LoadedModel, half: boolean): Map<string, HostTensor> {
  const tensors = [...backbone.state(), ...(projection?.state('projection.') ?? [])];
  const isHalf = (x: Tensor): boolean => half && x.dtype === 'float32' && isStoredAsHalf(x.shape, toFloat32(x));
  const stored = (x: Tensor): HostTensor => scope(() => hostTensor(isHalf(x) ? to(x, { dtype: 'float16' }) : x));
  return new Map(tensors.map(([name, x]) => [name, stored(x)]));
}
