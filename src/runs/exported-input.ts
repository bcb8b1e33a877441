import { canonicalJson } from '../artifacts/digest.ts';
import { FileError, optionHint } from '../base/errors.ts';
import { type InputDeclaration, type InputRecipe, inputSchema, modelInput } from '../data/model-input.ts';

/** What a file says of itself: metadata of `mixbct export`, or none. */
type Metadata = Readonly<Record<string, string>>;

/** What `mixbct export` wrote of the mapping into the metadata of a file; null: the file is not one of its own. */
export function inputOfExport(path: string, metadata: Metadata): InputRecipe | null {
  if (metadata['mixbct'] === undefined) return null;
  try {
    return inputSchema.parse(JSON.parse(metadata['input'] ?? '{}'));
  } catch {
    throw new FileError(path, 'its metadata "input" is damaged', 'export the model again: mixbct export');
  }
}

/** Whether an input declares how pixels are mapped, not only how pictures are resized. */
export const declaresMapping = ({ pixels, mean, channels }: InputDeclaration): boolean =>
  pixels !== undefined || mean !== undefined || channels === 'BGR';

/** The input of a file of `mixbct export`, with the resize rule that is declared, if one is. */
export const withResizeOf = (ours: InputRecipe, { resize, background }: InputDeclaration): InputRecipe =>
  resize === undefined ? ours : inputSchema.parse({ ...ours, resize, background });

/**
 * How pictures become the input of weights: as it is declared, else as `mixbct export` wrote into their file. Undefined: neither.
 * @throws FileError if both are there and map pixels in different ways
 */
export function inputOfWeights(
  path: string,
  metadata: Metadata,
  declared: InputDeclaration | undefined,
): InputRecipe | undefined {
  const ours = inputOfExport(path, metadata);
  if (!ours) return declared && inputSchema.parse(declared);
  if (!declared) return metadata['input'] === undefined ? undefined : ours;
  if (!declaresMapping(declared)) return withResizeOf(ours, declared);
  const [wanted, found] = [inputSchema.parse(declared), ours].map((input) => modelInput(input).pixels);
  if (canonicalJson(wanted) !== canonicalJson(found))
    throw new FileError(
      path,
      `says how it maps pixels itself (${canonicalJson(found)}), and another mapping is declared (${canonicalJson(wanted)})`,
      optionHint('leave out', ['--pixels', '--mean', '--std', '--channels']),
    );
  return withResizeOf(ours, declared);
}
