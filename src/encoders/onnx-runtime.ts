import type * as OnnxRuntime from 'onnxruntime-node';
import { optionalPackage } from '../base/optional-package.ts';

/**
 * ONNX Runtime, an optional package. `purpose` says what needs it, as the subject of a sentence.
 * @throws UserError that tells how to install it.
 */
export async function loadOnnxRuntime(purpose: string): Promise<typeof OnnxRuntime> {
  const install = 'ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node';
  const loaded = await optionalPackage('onnxruntime-node', () => import('onnxruntime-node'), { purpose, install });
  return 'default' in loaded ? (loaded.default as typeof OnnxRuntime) : loaded;
}
