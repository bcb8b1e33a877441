import { modelProto } from '../encoders/onnx-schema.ts';

// The messages of third_party/onnx/onnx.proto, as far as they are written here, in protobufjs's spelling.

/** `TensorProto.DataType` */
export const dataType = { float32: 1, uint8: 2, int64: 7, float16: 10 } as const;
/** `AttributeProto.AttributeType` */
const attributeType = { float: 1, int: 2, ints: 7 } as const;

export type OnnxAttribute = {
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly ints?: readonly number[];
};
export const float = (f: number): OnnxAttribute => ({ type: attributeType.float, f });
export const int = (i: number): OnnxAttribute => ({ type: attributeType.int, i });
export const ints = (...values: readonly number[]): OnnxAttribute => ({ type: attributeType.ints, ints: values });

export type OnnxNode = {
  readonly name: string;
  readonly opType: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly (OnnxAttribute & { readonly name: string })[];
};
export type OnnxTensor = {
  readonly name: string;
  readonly dataType: number;
  readonly dims: readonly number[];
  /** Row-major, little-endian. */
  readonly rawData: Uint8Array;
};
type Dimension = { readonly dimParam: string } | { readonly dimValue: number };
export type OnnxValueInfo = {
  readonly name: string;
  readonly type: {
    readonly tensorType: { readonly elemType: number; readonly shape: { readonly dim: readonly Dimension[] } };
  };
};
export type OnnxModel = {
  readonly irVersion: number;
  readonly opsetImport: readonly { readonly domain: string; readonly version: number }[];
  readonly producerName: string;
  readonly producerVersion: string;
  readonly graph: {
    readonly name: string;
    readonly node: readonly OnnxNode[];
    readonly initializer: readonly OnnxTensor[];
    readonly input: readonly OnnxValueInfo[];
    readonly output: readonly OnnxValueInfo[];
  };
  readonly metadataProps: readonly { readonly key: string; readonly value: string }[];
};

/** A value of the graph's interface. A dimension that is a text is any number, of that name. */
export const valueInfo = (name: string, elemType: number, shape: readonly (string | number)[]): OnnxValueInfo => ({
  name,
  type: {
    tensorType: {
      elemType,
      shape: { dim: shape.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: size })) },
    },
  },
});

/** The bytes of an ONNX file. */
export const encodeOnnx = (model: OnnxModel): Uint8Array => modelProto().encode(model).finish();
