import { native, type ScriptHandle } from './native.ts';
import { keep } from './scope.ts';
import type { Tensor } from './tensor-types.ts';

type Named = readonly (readonly [name: string, value: Tensor])[];

/**
 * A program of TorchScript with its tensors. Its operators run one by one, as in PyTorch's eager mode, so that a pass gives the
 * same bits whenever it is made. **It runs the code of the file**: operators of PyTorch, which can read and write files.
 */
export class ScriptedModule {
  /** The module's own tensors: what is written into them counts in the next pass. Tied tensors are there once. */
  readonly parameters: Named;
  readonly buffers: Named;
  readonly #handle: ScriptHandle;
  #disposed = false;

  /** @throws Error of libtorch if the bytes are no program */
  constructor(bytes: Uint8Array, device: string) {
    this.#handle = native.scriptLoad(bytes, device);
    const own = (isBuffer: boolean): Named =>
      native.scriptState(this.#handle, isBuffer).map(([name, value]) => [name, keep(value)]);
    this.parameters = own(false);
    this.buffers = own(true);
  }

  /** Keeps the submodules that `covers` accepts by their paths in evaluation mode. */
  freeze(covers: (path: string) => boolean): void {
    for (const [i, path] of native.scriptParts(this.#handle).entries())
      if (covers(path)) native.scriptFreeze(this.#handle, i);
  }

  /** One pass. With `again`, buffers do not change. @throws Error of libtorch, also if the result is no tensor */
  forward(x: Tensor, { train, again = false }: { readonly train: boolean; readonly again?: boolean }): Tensor {
    return native.scriptForward(this.#handle, x, train, again);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const [, value] of [...this.parameters, ...this.buffers]) value.dispose();
    native.scriptClose(this.#handle);
  }
}
