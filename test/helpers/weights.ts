import type { Rng } from '../../src/base/rng.ts';
import type { Module } from '../../src/nn/index.ts';
import { copy_, noGrad, scope, type Tensor, tensor, to } from '../../src/torch/index.ts';

/**
 * Fills a network by the weight rule of the parity vectors (methods.md 8.13): each entry of the state, but for
 * `num_batches_tracked`, is a formula of its position. Returns the number of entries.
 */
export function applyWeightRule(net: Module): number {
  let entry = 0;
  const state = [...net.state()];
  const names = new Set(state.map(([path]) => path));
  for (const [path, value] of state) {
    if (path.endsWith('num_batches_tracked')) continue;
    const at = path.slice(0, path.lastIndexOf('.'));
    const single = value.shape.length === 1 && path.endsWith('.weight');
    const kind =
      names.has(`${at}.running_mean`) || (single && names.has(`${at}.bias`)) ? 'norm' : single ? 'slope' : null;
    const formula = ruleFor(path, value, kind, entry++);
    scope(() => {
      const numbers = Float64Array.from({ length: value.numel }, (_, k) => formula(k));
      noGrad(() => copy_(value, to(tensor(numbers, { shape: value.shape }), { dtype: value.dtype })));
    });
  }
  return entry;
}

/** `norm`: of a batch or layer norm; `slope`: of a PReLU, the only other weight of one dimension. */
function ruleFor(path: string, { shape }: Tensor, kind: 'norm' | 'slope' | null, e: number): (k: number) => number {
  const wave = (k: number): number => Math.sin(e + 0.5 * k);
  const name = path.slice(path.lastIndexOf('.') + 1);
  if (name === 'running_var') return (k) => 1 + 0.1 * wave(k);
  if (name === 'running_mean') return (k) => 0.05 * wave(k);
  if (path === 'pos_embed' || path === 'mask_token') return (k) => 0.02 * wave(k);
  if (kind === 'norm') return name === 'weight' ? (k) => 1 + 0.1 * wave(k) : (k) => 0.05 * wave(k);
  if (kind === 'slope') return (k) => 0.25 + 0.05 * wave(k);
  if (shape.length >= 2) {
    const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
    return (k) => Math.sqrt(2 / fanIn) * Math.sin(e + 0.37 * k);
  }
  return (k) => 0.05 * wave(k);
}

/**
 * Fills a network as a trained one may be: weights of the size that keeps values in range, batch norms with means, variances
 * and factors far from 0 and 1.
 */
export function drawState(net: Module, rng: Rng): void {
  for (const [path, value] of net.state()) {
    if (path.endsWith('num_batches_tracked')) continue;
    const draw = rng.split(path);
    const fanIn = value.shape.slice(1).reduce((product, size) => product * size, 1);
    const scale = value.shape.length > 1 ? Math.sqrt(2 / fanIn) : 0.3;
    const positive = path.endsWith('running_var') || (value.shape.length === 1 && path.endsWith('.weight'));
    const last = path.endsWith('bn3.weight') ? 0.2 : 1; // a thousand blocks, each added to what enters it
    const numbers = Float64Array.from({ length: value.numel }, () => {
      const x = 2 * draw.uniform() - 1;
      return positive ? last * Math.exp(x) : scale * x;
    });
    scope(() => noGrad(() => copy_(value, to(tensor(numbers, { shape: value.shape }), { dtype: value.dtype }))));
  }
}
