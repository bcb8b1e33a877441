import { FileError, messageOf } from '../base/errors.ts';
import { readRegularFile } from '../base/regular-file.ts';
import { Module, type Pass } from '../nn/index.ts';
import {
  BYTES,
  buildInfo,
  defaultDevice,
  inference,
  requireGrad,
  ScriptedModule,
  scope,
  type Tensor,
  to,
  zeros,
} from '../torch/index.ts';

/** The name that recipes give it. */
export const SCRIPTED = 'torchscript';

/** Characters of libtorch's words that a message repeats. */
const MOST_SAID = 160;
const SCRIPT = 'in Python: torch.jit.script(model.eval()).save("backbone.pt")';

export type ScriptedOptions = {
  /** Made by `torch.jit.script(model).save(file)`. */
  readonly file: string;
  /** D; null: what it makes. */
  readonly embeddingDim: number | null;
  /** S */
  readonly inputSide: number;
};

/**
 * Any network of PyTorch, as a TorchScript file. images [B, 3, S, S] → embeddings [B, D] in float32, not normalised. Its
 * weights begin as the file has them, and are named as PyTorch names them.
 *
 * Its batch norms use the images that a process has, its precision under autocast is libtorch's choice for each operator. What
 * it remembers in attributes that are neither parameters nor buffers is in no checkpoint.
 *
 * It runs the code of the file: operators of PyTorch alone, which can read and write files.
 */
export class ScriptedBackbone extends Module {
  readonly embeddingDim: number;
  readonly #module: ScriptedModule;

  /** @throws FileError if the file is no such program, or makes something else of [1, 3, S, S] */
  constructor({ file, embeddingDim, inputSide }: ScriptedOptions) {
    super();
    this.#module = opened(file);
    try {
      this.embeddingDim = this.#dimension(file, inputSide);
      requireState(file, this.#module);
      if (embeddingDim !== null && embeddingDim !== this.embeddingDim)
        throw new FileError(
          file,
          `makes embeddings of ${this.embeddingDim} dimensions, wanted ${embeddingDim}`,
          `set network.embeddingDim to ${this.embeddingDim}`,
        );
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** D of what it makes of one image. */
  #dimension(file: string, side: number): number {
    const asked = `[1, 3, ${side}, ${side}]`;
    let shape: readonly number[];
    try {
      shape = inference(() => scope(() => this.forward(zeros([1, 3, side, side]), { train: false }).shape));
    } catch (error) {
      throw new FileError(file, `does not run on images ${asked} (${lineOf(error, -1)})`, [
        'set network.inputSide to what it was made for',
        'it must map one tensor [B, 3, S, S] to one tensor [B, D]',
      ]);
    }
    if (shape.length === 2 && shape[0] === 1) return shape[1]!;
    throw new FileError(
      file,
      `makes [${shape.join(', ')}] of images ${asked}, wanted [1, D]`,
      'pool and flatten in its forward',
    );
  }

  override forward(images: Tensor, { train, again = false }: Pass): Tensor {
    return to(this.#module.forward(images, { train, again }), { dtype: 'float32' });
  }

  override *state(prefix = ''): Generator<[string, Tensor]> {
    yield* this.parameters(prefix);
    for (const [name, value] of this.#module.buffers) yield [prefix + name, value];
  }

  override *parameters(prefix = ''): Generator<[string, Tensor]> {
    for (const [name, value] of this.#module.parameters) yield [prefix + name, value];
  }

  override freeze(covers: (path: string) => boolean): void {
    for (const [name, value] of this.#module.parameters) if (covers(name)) requireGrad(value, false);
    this.#module.freeze(covers);
  }

  override dispose(): void {
    this.#module.dispose();
  }
}

function opened(file: string): ScriptedModule {
  const bytes = readRegularFile(file);
  try {
    return new ScriptedModule(bytes, defaultDevice());
  } catch (error) {
    const unknown = /Unknown builtin op: ([\w:]+)/.exec(messageOf(error))?.[1];
    if (unknown !== undefined)
      throw new FileError(file, `uses ${unknown}, which libtorch ${buildInfo().libtorch} does not have`, [
        'write the file with an older PyTorch, or without this operator',
        'build mixbct on a newer libtorch: MIXBCT_LIBTORCH=wheel npm run setup',
      ]);
    throw new FileError(file, `is no TorchScript program (${lineOf(error, 0)})`, SCRIPT);
  }
}

/** @throws FileError if there is nothing to train, or something that no checkpoint can hold */
function requireState(file: string, { parameters, buffers }: ScriptedModule): void {
  if (parameters.length === 0)
    throw new FileError(file, 'has no parameters: torch.jit.freeze and optimize_for_inference remove them', SCRIPT);
  for (const [name, { dtype }] of [...parameters, ...buffers])
    if (BYTES[dtype] === undefined) throw new FileError(file, `${name} has type ${dtype}, which no checkpoint holds`);
}

/** A line of what libtorch says: the first of a loader, the last behind the traceback of a program. */
const lineOf = (error: unknown, at: 0 | -1): string =>
  messageOf(error)
    .trim()
    .split('\n')
    .at(at)!
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/ This is an internal .*/, '')
    .slice(0, MOST_SAID)
    .trim();
