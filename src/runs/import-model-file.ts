import { optionHint, UserError } from '../base/errors.ts';
import { describeIssues } from '../base/settings.ts';
import { type InputDeclaration, inputSchema } from '../data/model-input.ts';
import { SCRIPTED } from '../models/scripted.ts';
import { importModel } from './import-model.ts';
import { importOnnx, type OnnxDeclaration } from './import-onnx.ts';
import { importScripted } from './import-scripted.ts';
import type { RunManifest } from './run-artifact.ts';

/** What may be said of a model that was trained elsewhere, whatever its file is. */
export type ModelDeclaration = { readonly [Key in keyof InputDeclaration]?: InputDeclaration[Key] | undefined } & Omit<
  OnnxDeclaration,
  'input'
> & {
    /** A backbone's name, and the factor on its channel counts: of a PyTorch or safetensors file. */
    readonly network?: string | undefined;
    readonly width?: number | undefined;
  };

/**
 * Makes a run of a PyTorch, safetensors, TorchScript or ONNX file.
 * @throws UserError if a declaration is missing, wrong or of another kind of file; FileError as `importModel` and `importOnnx`
 */
export async function importModelFile(
  path: string,
  { network, width, side, name, layout, output, ...rest }: ModelDeclaration,
  out: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<RunManifest> {
  const isOnnx = /\.onnx$/i.test(path);
  const others = isOnnx ? { network, width } : { layout, output };
  const idle = Object.entries(others).flatMap(([key, value]) => (value === undefined ? [] : `--${key}`));
  if (idle.length > 0)
    throw new UserError(`${path}: ${idle.join(' and ')} is for ${isOnnx ? 'PyTorch and safetensors' : 'ONNX'} files`, {
      hint: 'leave it out',
    });
  if (name !== undefined && name.trim() === '') throw new UserError('--name: wanted a name, got an empty text');
  const input = inputOf(path, rest);
  if (isOnnx) return await importOnnx(path, { input, side, name, layout, output }, out, { force });
  if (network === undefined)
    throw new UserError(`${path}: the backbone of a PyTorch or safetensors file is not known`, {
      hint: optionHint('name it with --network'),
    });
  if (network === SCRIPTED) {
    if (width !== undefined)
      throw new UserError(`${path}: --width is for the backbones of mixbct`, { hint: 'leave it out' });
    return await importScripted(path, { ...(side !== undefined && { side }), input, name }, out, { force });
  }
  const about = { ...(side !== undefined && { side }), ...(width !== undefined && { width }) };
  return await importModel(path, { network, ...about, input, name }, out, { force });
}

/** What is declared of the input; undefined: nothing. */
function inputOf(
  path: string,
  { pixels, mean, std, channels, resize, background }: ModelDeclaration,
): InputDeclaration | undefined {
  const given = Object.entries({ pixels, mean, std, channels, resize, background });
  const declared: InputDeclaration = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  if (Object.keys(declared).length === 0) return undefined;
  const result = inputSchema.safeParse(declared);
  if (result.success) return declared;
  throw new UserError(`${path}: the input that is declared has ${describeIssues(result.error, inputSchema)}`);
}

/** How an ONNX model is run, or what an import left out or renamed, for a person. */
export function importNotes({ imported, onnx }: RunManifest): string[] {
  const { leftOut, prefix, skipped } = imported!;
  const parts = [...new Set(leftOut.map((name) => name.split('.', 1)[0]!))];
  return [
    ...(onnx
      ? [`input ${onnx.input} (${onnx.type} ${onnx.layout}, ${onnx.batch ?? 'any'} at a time), output ${onnx.output}`]
      : []),
    ...(prefix ? [`names taken without ${prefix}`] : []),
    ...(parts.length > 0 ? [`left out, as only training needs them: ${parts.join(', ')}`] : []),
    ...(skipped.length > 0 ? [`skipped, as they are no plain tensors: ${skipped.join(', ')}`] : []),
  ];
}
