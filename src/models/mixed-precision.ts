import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { autocast, bf16Instructions, buildInfo, type Dtype, defaultDevice, type Tensor } from '../torch/index.ts';
import type { Precision } from './precisions.ts';

const HALF: Readonly<Record<Exclude<Precision, 'float32'>, Dtype>> = { bf16: 'bfloat16', fp16: 'float16' };

/** Runs `forward` on images (or what else a backbone takes) in a precision. Source: methods.md 2.7; the same for every method (D-03). */
export function inPrecision(precision: Precision, images: Tensor, forward: (images: Tensor) => Tensor): Tensor {
  if (precision === 'float32') return forward(images);
  const device = images.device.startsWith('cuda') ? 'cuda' : 'cpu';
  return autocast(() => forward(images), { device, dtype: HALF[precision] });
}

/**
 * Says where a precision costs time instead of saving it.
 * @throws UserError if the linked libtorch cannot compute in it on this device.
 */
export function checkPrecision(precision: Precision): void {
  if (precision === 'float32' || defaultDevice().startsWith('cuda')) return;
  const { libtorch } = buildInfo();
  if (precision === 'fp16' && libtorch.startsWith('1.'))
    throw new UserError(`precision fp16: libtorch ${libtorch} computes in it on CUDA devices only`, {
      hint: 'set precision to float32 or bf16',
    });
  if (precision === 'fp16') logLine('precision fp16 is made for CUDA devices: on a processor expect it to be slow');
  else if (bf16Instructions().length === 0)
    logLine('this processor has no instructions for bf16: precision float32 is faster here');
}
