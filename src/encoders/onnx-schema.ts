import { closeSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import protobuf from 'protobufjs';
import { FileError } from '../base/errors.ts';
import { openRegularFile, readRegularFile } from '../base/regular-file.ts';
import { packageRoot } from '../base/version.ts';

/** `ModelProto` of the published schema (third_party/onnx). */
export function modelProto(): protobuf.Type {
  const schema = readFileSync(join(packageRoot, 'third_party/onnx/onnx.proto'), 'utf8');
  return protobuf.parse(schema).root.lookupType('onnx.ModelProto');
}

type Entry = { readonly key: string; readonly value: string };

/** What an ONNX file says of itself, and what lies outside of it. */
export type OnnxFile = {
  readonly bytes: Uint8Array;
  readonly metadata: Readonly<Record<string, string>>;
  /** Files beside it that hold weights (external data): their names. */
  readonly weightFiles: readonly string[];
};

/** Largest message of protobuf. */
const MOST_BYTES = 2 ** 31 - 1;
const WANTED = 'wanted an ONNX model, as torch.onnx.export writes one';

/** Reads an ONNX file without computing anything. @throws FileError if it is damaged, or names weights outside of its folder. */
export function readOnnxFile(path: string): OnnxFile {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > MOST_BYTES) throw new FileError(path, `has ${size} bytes, and an ONNX file holds less than 2 GiB`, WANTED);
  const bytes = readRegularFile(path);
  if (bytes.length === 0) throw new FileError(path, 'is empty', WANTED);
  const model = decoded(path, bytes);
  const metadata = Object.fromEntries(model.metadataProps.map(({ key, value }) => [key, value]));
  const weightFiles = [...new Set(locationsIn(model))];
  for (const name of weightFiles) requireBeside(path, name);
  return { bytes, metadata, weightFiles };
}

function decoded(path: string, bytes: Uint8Array): { readonly metadataProps: readonly Entry[] } {
  let message: protobuf.Message;
  try {
    message = modelProto().decode(bytes);
  } catch {
    throw new FileError(path, 'is no ONNX file, or is damaged', WANTED);
  }
  if (!('graph' in message) || !message.graph) throw new FileError(path, 'holds no graph', WANTED);
  return message as unknown as { readonly metadataProps: readonly Entry[] };
}

/** Where tensors say that their numbers lie, in graphs, subgraphs and functions alike. */
function* locationsIn(node: unknown): Generator<string> {
  if (node === null || typeof node !== 'object' || ArrayBuffer.isView(node)) return;
  if (Array.isArray(node)) {
    if (typeof node[0] === 'object') for (const item of node) yield* locationsIn(item);
    return;
  }
  for (const [key, value] of Object.entries(node))
    if (key === 'externalData')
      yield* (value as readonly Entry[]).filter((entry) => entry.key === 'location').map((entry) => entry.value);
    else yield* locationsIn(value);
}

/** @throws FileError unless `name` is a file in the folder of the ONNX file itself. */
function requireBeside(path: string, name: string): void {
  const hint = 'put the model into one file, in Python: onnx.save(onnx.load("model.onnx"), "one.onnx")';
  if (name === '' || name !== basename(name) || name.includes('\\') || name === '..' || name === '.')
    throw new FileError(path, `keeps weights in ${JSON.stringify(name)}, wanted a file beside it`, hint);
  const file = join(dirname(path), name);
  let [folder, wanted]: (string | null)[] = [null, null];
  try {
    [folder, wanted] = [dirname(realpathSync(file)), dirname(realpathSync(path))];
  } catch {
    throw new FileError(file, `no such file, and ${path} keeps weights in it`, 'bring both files together');
  }
  closeSync(openRegularFile(file));
  if (folder !== wanted) throw new FileError(file, `is a link out of the folder of ${path}`, hint);
}
