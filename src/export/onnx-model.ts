import { optionHint, UserError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import type { PixelMapping } from '../data/pixels.ts';
import type { Linear, Module } from '../nn/index.ts';
import { backboneGraph } from './onnx-backbones.ts';
import { dataType, int, ints, type OnnxModel, valueInfo } from './onnx-file.ts';
import { OnnxGraph, type Value } from './onnx-graph.ts';
import { linear } from './onnx-layers.ts';

/** What goes into an ONNX model: `mapped` floats [B, 3, S, S], or the bytes of RGB pictures [B, S, S, 3]. */
export const pixelInputs = ['mapped', 'uint8-nhwc'] as const;
export type PixelInput = (typeof pixelInputs)[number];

/** Names of the graph's input and output. */
export const IMAGES = 'images';
export const EMBEDDINGS = 'embeddings';

/** LayerNormalization came with 17. IR version 8 is that of its time. */
const [OPSET, IR_VERSION] = [17, 8];
/** Embeddings shorter than this stay as they are, zeros above all: PyTorch's `normalize` has the same number. */
const LEAST_NORM = 1e-12;
/** Largest message of protobuf, less what is no weight. */
const MOST_BYTES = 2 ** 31 - 2 ** 20;

export type OnnxOptions = {
  /** Height and width of the input. */
  readonly side: number;
  /** D of what comes out. */
  readonly dim: number;
  readonly pixels: PixelInput;
  /** What the graph does to bytes. */
  readonly mapping: PixelMapping;
  readonly unitLength: boolean;
  /** Store kernels and matrices in float16. */
  readonly half: boolean;
  readonly metadata: Readonly<Record<string, string>>;
};

/**
 * A backbone in evaluation mode, and a projection behind it if there is one, as an ONNX model: images → embeddings [B, D],
 * float32, for any B.
 * @throws UserError if it does not fit into one file.
 */
export function onnxModel(
  { backbone, projection }: { readonly backbone: Module; readonly projection: Linear | null },
  { side, dim, pixels, mapping, unitLength, half, metadata }: OnnxOptions,
): OnnxModel {
  const numbers = [...backbone.state()].reduce((sum, [, value]) => sum + value.numel, 0);
  const bytes = numbers * (half ? 2 : 4);
  if (bytes > MOST_BYTES)
    throw new UserError(`the weights take ${bytes} bytes, and an ONNX file holds less than 2 GiB`, {
      hint: [
        ...(half ? [] : [optionHint('store them as float16: --half')]),
        optionHint('choose another format with --to'),
      ],
    });
  const graph = new OnnxGraph({ half });
  const embedded = backboneGraph(graph, pixels === 'mapped' ? IMAGES : mapped(graph, IMAGES, mapping), backbone);
  const projected = projection ? linear(graph, 'projection', embedded, projection) : embedded;
  const last = unitLength ? unit(graph, projected) : projected;
  graph.node(EMBEDDINGS, 'Identity', [last]);
  const input =
    pixels === 'mapped'
      ? valueInfo(IMAGES, dataType.float32, ['batch', 3, side, side])
      : valueInfo(IMAGES, dataType.uint8, ['batch', side, side, 3]);
  return {
    irVersion: IR_VERSION,
    producerName: 'mixbct',
    producerVersion: version,
    opsetImport: [{ domain: '', version: OPSET }],
    graph: {
      name: metadata['name'] ?? 'embedder',
      node: graph.nodes,
      initializer: graph.initializers,
      input: [input],
      output: [valueInfo(EMBEDDINGS, dataType.float32, ['batch', dim])],
    },
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
  };
}

/** Bytes [B, S, S, 3] in RGB → (x - mean) / std [B, 3, S, S], by the operations of data/collate.ts. */
function mapped(graph: OnnxGraph, images: Value, { channels, mean, std }: PixelMapping): Value {
  const floats = graph.node('pixels.float', 'Cast', [images], { to: int(dataType.float32) });
  const planes = graph.node('pixels.planes', 'Transpose', [floats], { perm: ints(0, 3, 1, 2) });
  const ordered =
    channels === 'RGB'
      ? planes
      : graph.node('pixels.bgr', 'Gather', [planes, graph.integers('pixels.order', [2, 1, 0])], { axis: int(1) });
  const offset = mean.map((value, i) => -value / std[i]!);
  const divided = graph.node('pixels.divided', 'Div', [ordered, graph.perChannel('pixels.divisor', std)]);
  return graph.node('pixels.mapped', 'Add', [divided, graph.perChannel('pixels.offset', offset)]);
}

/** Rows [B, D] of length 1; zeros stay zeros. */
function unit(graph: OnnxGraph, x: Value): Value {
  const norms = graph.node('unit.norms', 'ReduceL2', [x], { axes: ints(1), keepdims: int(1) });
  const positive = graph.node('unit.positive', 'Max', [norms, graph.scalar('unit.least', LEAST_NORM)]);
  return graph.node('unit', 'Div', [x, positive]);
}
