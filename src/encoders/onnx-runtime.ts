import type * as OnnxRuntime from 'onnxruntime-node';
import { codeOf, messageOf, UserError } from '../base/errors.ts';

/**
 * ONNX Runtime, an optional package. `purpose` says what needs it, as the subject of a sentence.
 * @throws UserError that tells how to install it.
 */
export async function loadOnnxRuntime(purpose: string): Promise<typeof OnnxRuntime> {
  try {
    const loaded = await import('onnxruntime-node');
    return 'default' in loaded ? (loaded.default as typeof OnnxRuntime) : loaded;
  } catch (error) {
    const missing = codeOf(error) === 'ERR_MODULE_NOT_FOUND';
    const how = missing ? 'is not installed' : `does not load (${messageOf(error).split('\n', 1)[0]})`;
    throw new UserError(`${purpose} needs the package onnxruntime-node, which ${how}`, {
      hint: 'ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node',
    });
  }
}
