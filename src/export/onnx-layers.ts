import { BatchNorm, Conv2d, Flatten, type LayerNorm, Linear, type Module, PReLU } from '../nn/index.ts';
import { scope, type Tensor, toFloat32 } from '../torch/index.ts';
import { float, int, ints } from './onnx-file.ts';
import type { OnnxGraph, Value } from './onnx-graph.ts';

/** The numbers of a tensor, row-major, on whatever device it lives. */
export const numbersOf = (x: Tensor): Float32Array => scope(() => toFloat32(x));

/** What a batch norm does in evaluation mode: x · scale + shift, for each channel. */
type Affine = { readonly scale: Float64Array; readonly shift: Float64Array };

function affineOf(norm: BatchNorm): Affine {
  const [weight, bias] = [numbersOf(norm.weight), numbersOf(norm.bias)];
  const [mean, variance] = [numbersOf(norm.runningMean), numbersOf(norm.runningVar)];
  const scale = Float64Array.from(weight, (w, c) => w / Math.sqrt(variance[c]! + norm.options.eps));
  return { scale, shift: Float64Array.from(bias, (b, c) => b - mean[c]! * scale[c]!) };
}

const identity = (channels: number): Affine => ({
  scale: new Float64Array(channels).fill(1),
  shift: new Float64Array(channels),
});

/**
 * A weight [out, in] (kernels: in = in/groups · k · k) and its bias with the batch norms around them, computed in float64.
 * `before` is exact only where nothing is padded: its channels are equal runs of the inputs.
 */
function folded(
  layer: Conv2d | Linear,
  { before, after }: { readonly before?: BatchNorm | undefined; readonly after?: BatchNorm | undefined },
): { weight: Float32Array; bias: Float32Array | null } {
  const weight = numbersOf(layer.weight);
  const outputs = layer.weight.shape[0]!;
  const inputs = weight.length / outputs;
  const bias = layer.bias ? numbersOf(layer.bias) : new Float32Array(outputs);
  if (!before && !after) return { weight, bias: layer.bias && bias };
  const out = after ? affineOf(after) : identity(outputs);
  const first = before ? affineOf(before) : identity(1);
  const run = inputs / first.scale.length;
  const sums = Float64Array.from(bias);
  for (let o = 0, at = 0; o < outputs; o++)
    for (let i = 0; i < inputs; i++, at++) {
      const channel = Math.floor(i / run);
      sums[o]! += weight[at]! * first.shift[channel]!;
      weight[at] = out.scale[o]! * weight[at]! * first.scale[channel]!;
    }
  return { weight, bias: Float32Array.from(sums, (sum, o) => sum * out.scale[o]! + out.shift[o]!) };
}

const withBias = (graph: OnnxGraph, path: string, bias: Float32Array | null): Value[] =>
  bias ? [graph.weights(`${path}.bias`, [bias.length], bias)] : [];

/** [B, in, H, W] → [B, out, H', W'], with the batch norm behind it. */
export function convolution(graph: OnnxGraph, path: string, x: Value, conv: Conv2d, after?: BatchNorm): Value {
  const { weight, bias } = folded(conv, { after });
  const { stride, padding, groups } = conv.geometry;
  const inputs = [x, graph.weights(`${path}.weight`, conv.weight.shape, weight), ...withBias(graph, path, bias)];
  return graph.node(path, 'Conv', inputs, {
    kernel_shape: ints(...conv.weight.shape.slice(2)),
    strides: ints(stride, stride),
    pads: ints(padding, padding, padding, padding),
    group: int(groups),
  });
}

/** [B, in] → [B, out], with the batch norms around it. */
export function linear(
  graph: OnnxGraph,
  path: string,
  x: Value,
  layer: Linear,
  around: { readonly before?: BatchNorm; readonly after?: BatchNorm | undefined } = {},
): Value {
  const { weight, bias } = folded(layer, around);
  const inputs = [x, graph.weights(`${path}.weight`, layer.weight.shape, weight), ...withBias(graph, path, bias)];
  return graph.node(path, 'Gemm', inputs, { transB: int(1) });
}

/** [B, T, in] → [B, T, out] */
export function tokenwise(graph: OnnxGraph, path: string, x: Value, layer: Linear): Value {
  const [outputs, inputs] = layer.weight.shape as [number, number];
  const weight = numbersOf(layer.weight);
  const transposed = new Float32Array(weight.length);
  for (let o = 0, at = 0; o < outputs; o++)
    for (let i = 0; i < inputs; i++) transposed[i * outputs + o] = weight[at++]!;
  const matrix = graph.weights(`${path}.weight`, [inputs, outputs], transposed);
  if (!layer.bias) return graph.node(path, 'MatMul', [x, matrix]);
  const product = graph.node(`${path}.product`, 'MatMul', [x, matrix]);
  return graph.node(path, 'Add', [product, ...withBias(graph, path, numbersOf(layer.bias))]);
}

/** A batch norm of its own: the convolution behind it pads with zeros that the norm does not see. */
export function batchNorm(graph: OnnxGraph, path: string, x: Value, norm: BatchNorm): Value {
  const parts = { weight: norm.weight, bias: norm.bias, running_mean: norm.runningMean, running_var: norm.runningVar };
  const inputs = Object.entries(parts).map(([name, value]) =>
    graph.weights(`${path}.${name}`, value.shape, numbersOf(value)),
  );
  return graph.node(path, 'BatchNormalization', [x, ...inputs], { epsilon: float(norm.options.eps) });
}

export function layerNorm(graph: OnnxGraph, path: string, x: Value, norm: LayerNorm): Value {
  const inputs = Object.entries({ weight: norm.weight, bias: norm.bias }).map(([name, value]) =>
    graph.weights(`${path}.${name}`, value.shape, numbersOf(value)),
  );
  return graph.node(path, 'LayerNormalization', [x, ...inputs], { axis: int(-1), epsilon: float(norm.eps) });
}

/** Of [B, C, H, W]. */
export const prelu = (graph: OnnxGraph, path: string, x: Value, { weight }: PReLU): Value =>
  graph.node(path, 'PRelu', [x, graph.weights(`${path}.weight`, [weight.numel, 1, 1], numbersOf(weight))]);

export const add = (graph: OnnxGraph, path: string, a: Value, b: Value): Value => graph.node(path, 'Add', [a, b]);

export const flatten = (graph: OnnxGraph, path: string, x: Value): Value =>
  graph.node(path, 'Flatten', [x], { axis: int(1) });

/** The graph of a module that is no single layer. */
export type Nested = (path: string, x: Value, module: Module) => Value;

const refuse: Nested = (path, _, module) => {
  throw new TypeError(`${path}: no ONNX form of ${module.constructor.name}`);
};

/** Layers one after the other: a batch norm behind a convolution or a linear layer becomes part of it. */
export function sequence(graph: OnnxGraph, path: string, x: Value, layers: readonly Module[], nested = refuse): Value {
  return layers.reduce((value, layer, i) => {
    const at = `${path}.${i}`;
    const [previous, next] = [layers[i - 1], layers[i + 1]];
    const after = next instanceof BatchNorm ? next : undefined;
    if (layer instanceof Conv2d) return convolution(graph, at, value, layer, after);
    if (layer instanceof Linear) return linear(graph, at, value, layer, { after });
    if (layer instanceof BatchNorm && (previous instanceof Conv2d || previous instanceof Linear)) return value;
    if (layer instanceof PReLU) return prelu(graph, at, value, layer);
    if (layer instanceof Flatten) return flatten(graph, at, value);
    return nested(at, value, layer);
  }, x);
}
