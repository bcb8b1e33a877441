import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  dataType,
  encodeOnnx,
  int,
  ints,
  type OnnxModel,
  type OnnxNode,
  valueInfo,
} from '../../src/export/onnx-file.ts';
import { golden } from './golden.ts';

/** A file that PyTorch wrote, what it must be told, and the embeddings that PyTorch has of `onnxPictures`. */
export type OnnxFixture = {
  readonly file: string;
  readonly layout: 'NCHW' | 'NHWC';
  readonly channels: 'RGB' | 'BGR';
  readonly batch: number | null;
  /** It computes in float16, with pixels and embeddings of it. */
  readonly half?: boolean;
  readonly mean: number[];
  readonly std: number[];
  readonly embeddings: readonly number[];
};
type Golden = {
  count: number;
  side: number;
  dim: number;
  files: readonly [rgb: OnnxFixture, bgr: OnnxFixture, half: OnnxFixture];
};

export const onnxGolden = golden('onnx.json') as Golden;
export const onnxPath = (file: string): string => resolve(import.meta.dirname, '../../../test/golden/onnx', file);

/** Bytes [count, side, side, 3] in RGB, as test/golden/make_onnx.py has them. */
export function onnxPictures({ count, side }: Golden): Uint8Array {
  return Uint8Array.from({ length: count * side * side * 3 }, (_, k) => 97 * k + Math.floor(k / 7));
}

type Dimensions = readonly (string | number)[];
export type TinyOnnx = {
  readonly input?: Dimensions;
  readonly type?: number;
  /** The outputs' names and shapes: those with two dimensions are the mean of each channel, others the images. */
  readonly outputs?: Readonly<Record<string, Dimensions>>;
  readonly domain?: string;
  /** Weights in a file of their own that are added to the embeddings. */
  readonly weightsIn?: string;
  readonly metadata?: Readonly<Record<string, string>>;
};

/** Writes a small model: images [B, 3, S, S] → the mean of each channel [B, 3], unless told otherwise. */
export function writeTinyOnnx(
  path: string,
  {
    input = ['batch', 3, 8, 8],
    type = dataType.float32,
    outputs = { embedding: ['batch', 3] },
    domain = '',
    weightsIn,
    metadata = {},
  }: TinyOnnx = {},
): void {
  const outside = weightsIn !== undefined;
  const node = (opType: string, inputs: readonly string[], output: string, attribute: OnnxNode['attribute'] = []) => ({
    ...{ name: output, opType, input: inputs, output: [output], attribute },
    ...(domain && opType === 'Sum' && { domain }),
  });
  const axes = { name: 'axes', ...ints(input[3] === 3 ? 1 : 2, input[3] === 3 ? 2 : 3) };
  const nodes = [
    node('Cast', ['images'], 'floats', [{ name: 'to', ...int(dataType.float32) }]),
    node('ReduceMean', ['floats'], 'means', [axes, { name: 'keepdims', ...int(0) }]),
    ...Object.entries(outputs).map(([name, shape]) =>
      node('Sum', [shape.length === 2 ? 'means' : 'floats', ...(outside ? ['weights'] : [])], name),
    ),
  ];
  const weights = {
    ...{ name: 'weights', dataType: dataType.float32, dims: [3] },
    ...{ dataLocation: 1, externalData: [{ key: 'location', value: weightsIn ?? '' }] },
  };
  const model = {
    ...{ irVersion: 8, producerName: 'test', producerVersion: '1' },
    opsetImport: [{ domain: '', version: 17 }, ...(domain ? [{ domain, version: 1 }] : [])],
    graph: {
      name: 'tiny',
      node: nodes,
      initializer: outside ? [weights] : [],
      input: [valueInfo('images', type, input)],
      output: Object.entries(outputs).map(([name, shape]) => valueInfo(name, dataType.float32, shape)),
    },
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
  };
  writeFileSync(path, encodeOnnx(model as unknown as OnnxModel));
}
