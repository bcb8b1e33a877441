import { toHalf } from '../base/half.ts';
import { isStoredAsHalf } from './half-weights.ts';
import { dataType, int, type OnnxAttribute, type OnnxNode, type OnnxTensor } from './onnx-file.ts';

/** Name of a value in the graph. */
export type Value = string;
type Attributes = Readonly<Record<string, OnnxAttribute>>;

/** Builds a graph node by node. Names are those of the network's state: `layer1.0.conv1`, `layer1.0.conv1.weight`. */
export class OnnxGraph {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  readonly #half: boolean;

  /** `half`: kernels and matrices are stored in float16, and computed with in float32. */
  constructor({ half = false }: { readonly half?: boolean } = {}) {
    this.#half = half;
  }

  /** Adds a node of one output, which has the node's name. */
  node(name: string, opType: string, input: readonly Value[], attributes: Attributes = {}): Value {
    this.#add(name, opType, input, attributes, [name]);
    return name;
  }

  /** Splits the last dimension into `parts` of one size. */
  split(name: string, x: Value, parts: number): Value[] {
    const output = Array.from({ length: parts }, (_, i) => `${name}.${i}`);
    this.#add(name, 'Split', [x], { axis: int(-1) }, output);
    return output;
  }

  #add(name: string, opType: string, input: readonly Value[], attributes: Attributes, output: readonly Value[]): void {
    const attribute = Object.entries(attributes).map(([key, value]) => ({ name: key, ...value }));
    this.nodes.push({ name, opType, input, output, attribute });
  }

  /** Learned numbers. Vectors, and what float16 cannot hold, stay float32. */
  weights(name: string, dims: readonly number[], numbers: Float32Array): Value {
    if (!this.#half || !isStoredAsHalf(dims, numbers)) return this.#constant(name, 'float32', dims, numbers);
    const stored = this.#constant(`${name}.half`, 'float16', dims, toHalf(numbers));
    return this.node(name, 'Cast', [stored], { to: int(dataType.float32) });
  }

  /** A number that is broadcast. */
  scalar(name: string, value: number): Value {
    return this.#constant(name, 'float32', [], Float32Array.of(value));
  }

  /** A number for each channel of [B, C, H, W]; one that is broadcast where they agree. */
  perChannel(name: string, values: readonly number[]): Value {
    const [first] = values;
    if (values.every((value) => value === first)) return this.#constant(name, 'float32', [], Float32Array.of(first!));
    return this.#constant(name, 'float32', [values.length, 1, 1], Float32Array.from(values));
  }

  /** A list of integers, such as a shape. */
  integers(name: string, values: readonly number[]): Value {
    return this.#constant(name, 'int64', [values.length], BigInt64Array.from(values, BigInt));
  }

  #constant(name: string, type: keyof typeof dataType, dims: readonly number[], numbers: ArrayBufferView): Value {
    const rawData = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
    this.initializers.push({ name, dataType: dataType[type], dims, rawData });
    return name;
  }
}
