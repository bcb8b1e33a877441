import { optionHint, UserError } from '../base/errors.ts';
import { type Block, Iresnet } from '../models/iresnet.ts';
import { MobileFaceNet, Residual, Stack } from '../models/mobilefacenet.ts';
import { HEADS, Vit } from '../models/vit.ts';
import type { BatchNorm, Conv2d, Module } from '../nn/index.ts';
import { int, ints } from './onnx-file.ts';
import type { OnnxGraph, Value } from './onnx-graph.ts';
import {
  add,
  batchNorm,
  convolution,
  flatten,
  layerNorm,
  linear,
  type Nested,
  numbersOf,
  prelu,
  sequence,
  tokenwise,
} from './onnx-layers.ts';

/**
 * The graph of a backbone in evaluation mode: images [B, 3, S, S] → embeddings [B, D]. What its `forward` does, with
 * batch norms folded into the layers that touch them, where no padding lies between.
 */
export function backboneGraph(graph: OnnxGraph, images: Value, backbone: Module): Value {
  if (backbone instanceof Iresnet) return iresnet(graph, images, backbone);
  if (backbone instanceof MobileFaceNet) return mobileFaceNet(graph, images, backbone);
  if (backbone instanceof Vit) return vit(graph, images, backbone);
  throw new UserError(`there is no ONNX graph of ${backbone.constructor.name} yet`, {
    hint: [optionHint('choose another format with --to'), 'add its graph to src/export/onnx-backbones.ts'],
  });
}

function iresnet(graph: OnnxGraph, images: Value, net: Iresnet): Value {
  let x = prelu(graph, 'prelu', convolution(graph, 'conv1', images, net.conv1, net.bn1), net.prelu);
  for (const name of ['layer1', 'layer2', 'layer3', 'layer4'] as const)
    for (const [i, block] of net[name].entries()) x = residualBlock(graph, `${name}.${i}`, x, block);
  return linear(graph, 'fc', flatten(graph, 'flatten', x), net.fc, { before: net.bn2, after: net.features });
}

function residualBlock(graph: OnnxGraph, path: string, x: Value, block: Block): Value {
  const normed = batchNorm(graph, `${path}.bn1`, x, block.bn1);
  const inner = convolution(graph, `${path}.conv1`, normed, block.conv1, block.bn2);
  const activated = prelu(graph, `${path}.prelu`, inner, block.prelu);
  const out = convolution(graph, `${path}.conv2`, activated, block.conv2, block.bn3);
  const [conv, norm] = block.downsample as readonly [Conv2d, BatchNorm] | readonly [];
  const shortcut = conv ? convolution(graph, `${path}.downsample.0`, x, conv, norm) : x;
  return add(graph, path, out, shortcut);
}

function mobileFaceNet(graph: OnnxGraph, images: Value, net: MobileFaceNet): Value {
  const stacked: Nested = (path, x, module) => {
    if (!(module instanceof Stack)) throw new TypeError(`${path}: no ONNX form of ${module.constructor.name}`);
    const inner = `${path}.layers`;
    if (!(module instanceof Residual)) return sequence(graph, inner, x, module.layers, stacked);
    return module.layers.reduce(
      (value, block, i) => add(graph, `${inner}.${i}`, value, stacked(`${inner}.${i}`, value, block)),
      x,
    );
  };
  const trunk = sequence(graph, 'layers', images, net.layers, stacked);
  return stacked('features', stacked('conv_sep', trunk, net.convSep), net.features);
}

function vit(graph: OnnxGraph, images: Value, net: Vit): Value {
  const [, tokens, dim] = net.posEmbed.shape as [number, number, number];
  const patches = convolution(graph, 'patch_embed.proj', images, net.patchEmbed.proj);
  const shape = graph.integers('patch_embed.shape', [0, dim, tokens]);
  const rows = graph.node('patch_embed.rows', 'Reshape', [patches, shape]);
  const columns = graph.node('patch_embed', 'Transpose', [rows], { perm: ints(0, 2, 1) });
  const places = graph.weights('pos_embed', net.posEmbed.shape, numbersOf(net.posEmbed));
  let x = add(graph, 'tokens', columns, places);
  for (const [i, block] of net.blocks.entries()) x = transformerBlock(graph, `blocks.${i}`, x, block, { tokens, dim });
  const flat = flatten(graph, 'flatten', layerNorm(graph, 'norm', x, net.norm));
  return sequence(graph, 'feature', flat, net.feature.modules);
}

type TokenShape = { readonly tokens: number; readonly dim: number };

function transformerBlock(
  graph: OnnxGraph,
  path: string,
  x: Value,
  block: Vit['blocks'][number],
  shape: TokenShape,
): Value {
  const normed = layerNorm(graph, `${path}.norm1`, x, block.norm1);
  const attended = add(graph, `${path}.attended`, x, attention(graph, `${path}.attn`, normed, block.attn, shape));
  const inner = tokenwise(
    graph,
    `${path}.mlp.fc1`,
    layerNorm(graph, `${path}.norm2`, attended, block.norm2),
    block.mlp.fc1,
  );
  const bounds = [graph.scalar(`${path}.mlp.least`, 0), graph.scalar(`${path}.mlp.most`, 6)];
  const activated = graph.node(`${path}.mlp.relu6`, 'Clip', [inner, ...bounds]);
  return add(graph, path, attended, tokenwise(graph, `${path}.mlp.fc2`, activated, block.mlp.fc2));
}

/** Self-attention. [B, T, E] → [B, T, E] */
function attention(
  graph: OnnxGraph,
  path: string,
  x: Value,
  { qkv, proj }: Vit['blocks'][number]['attn'],
  { tokens, dim }: TokenShape,
): Value {
  const size = dim / HEADS;
  const perHead = graph.integers(`${path}.heads`, [0, tokens, HEADS, size]);
  const [q, k, v] = graph.split(`${path}.split`, tokenwise(graph, `${path}.qkv`, x, qkv), 3).map((part, i) => {
    const heads = graph.node(`${part}.heads`, 'Reshape', [part, perHead]);
    return graph.node(`${part}.part`, 'Transpose', [heads], { perm: i === 1 ? ints(0, 2, 3, 1) : ints(0, 2, 1, 3) });
  }) as [Value, Value, Value];
  const products = graph.node(`${path}.products`, 'MatMul', [q, k]);
  const scaled = graph.node(`${path}.scaled`, 'Mul', [products, graph.scalar(`${path}.scale`, size ** -0.5)]);
  const weights = graph.node(`${path}.weights`, 'Softmax', [scaled], { axis: int(-1) });
  const seen = graph.node(`${path}.seen`, 'MatMul', [weights, v]);
  const tokensFirst = graph.node(`${path}.tokens`, 'Transpose', [seen], { perm: ints(0, 2, 1, 3) });
  const joined = graph.node(`${path}.joined`, 'Reshape', [
    tokensFirst,
    graph.integers(`${path}.shape`, [0, tokens, dim]),
  ]);
  return tokenwise(graph, `${path}.proj`, joined, proj);
}
